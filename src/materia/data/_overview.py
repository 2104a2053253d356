"""One figure of what is in a dataset."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from typing import Any

from materia import quantities as q
from materia.data._entry import Entry

_BLUE, _GREY = "#3b6ea5", "#9a9a9a"
_MOST = 25  # prototypes shown by name; of more, the rest together


def overview(entries: Sequence[Entry]) -> bytes:
    """PNG: gaps, formation energies, how often each element and each prototype occurs; what there is of it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8.5), layout="tight")
    FigureCanvasAgg(figure)
    gaps, energies, elements, prototypes = (figure.add_subplot(2, 2, k) for k in (1, 2, 3, 4))
    for axes in (gaps, energies, elements, prototypes):
        axes.spines[["top", "right"]].set_visible(False)
    labels = [entry.values() for entry in entries]
    _histogram(gaps, [v[q.GAP_PBE] for v in labels if q.GAP_PBE in v], "PBE gap, eV")
    energy = [v[q.FORMATION_ENERGY] for v in labels if q.FORMATION_ENERGY in v]
    _histogram(energies, energy, "formation energy, eV/atom")
    _by_element(elements, entries)
    _by_prototype(prototypes, entries)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90, metadata={"Software": None})
    return buffer.getvalue()


def _histogram(axes: Any, values: Sequence[float], label: str) -> None:
    axes.set(xlabel=label, ylabel="structures")
    if values:
        axes.hist(values, bins=30, color=_BLUE)
    else:
        axes.text(0.5, 0.5, "none in this dataset", ha="center", transform=axes.transAxes, color=_GREY)


def _by_element(axes: Any, entries: Sequence[Entry]) -> None:
    counts = Counter(element for entry in entries for element in entry.initial.elements)
    names = [name for name, _ in counts.most_common()]
    axes.bar(range(len(names)), [counts[name] for name in names], color=_BLUE)
    axes.set_xticks(range(len(names)), names, fontsize=7, rotation=90)
    axes.set(ylabel="structures with the element")


def _by_prototype(axes: Any, entries: Sequence[Entry]) -> None:
    counts = Counter(entry.prototype for entry in entries)
    shown = counts.most_common(_MOST)
    if rest := len(entries) - sum(n for _, n in shown):
        shown.append((f"{len(counts) - _MOST} others", rest))
    names, sizes = [name for name, _ in shown], [n for _, n in shown]
    failed = Counter(entry.prototype for entry in entries if entry.status == "failed")
    axes.barh(range(len(names)), sizes, color=_BLUE, label="computed")
    axes.barh(range(len(names)), [failed[name] for name in names], color=_GREY, label="failed")
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="structures")
    axes.legend(frameon=False)
