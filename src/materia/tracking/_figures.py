"""Figures for MLflow's artifact view, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from materia.quantities import REGISTRY
from materia.record import CampaignRecord, PickState

_BLUE, _AMBER, _GREY, _PALE = "#2f6f8f", "#d08a1d", "#9aa3ab", "#a9cbd9"


def parity_figure(quantity: str, parity: Mapping[str, Any]) -> bytes:
    """Out-of-fold predictions over DFT values with one standard deviation.

    Args:
        quantity: name, for the axes.
        parity: ``observed``, ``predicted``, ``std``: equally long lists in the quantity's unit.
    """
    figure, axes = _subplots(1, (4.6, 4.4))
    observed, predicted = np.asarray(parity["observed"]), np.asarray(parity["predicted"])
    std = np.asarray(parity["std"]) if len(parity.get("std", ())) == len(observed) else None
    axes[0].errorbar(observed, predicted, yerr=std, fmt="o", ms=3, lw=0, elinewidth=0.6, color=_BLUE, ecolor=_GREY)
    low, high = min(observed.min(), predicted.min()), max(observed.max(), predicted.max())
    axes[0].plot([low, high], [low, high], lw=1, color="black")
    label = REGISTRY[quantity].label if quantity in REGISTRY else quantity
    axes[0].set(xlabel=f"{label}: DFT", ylabel=f"{label}: predicted, out of fold")
    axes[0].set_title(f"MAE {np.abs(predicted - observed).mean():.3g}", loc="left", fontsize=10)
    return _png(figure)


def progress_figure(record: CampaignRecord) -> bytes:
    """Computed, stopped, failed and hits over the rounds."""
    figure, axes = _subplots(1, (5.6, 3.4))
    numbers = [r.number for r in record.rounds]
    hit_ids = {row["candidate_id"] for row in record.ranking if row.get("hit")}
    computed, stopped, failed = (
        np.array([sum(p.state is state for p in r.picks) for r in record.rounds])
        for state in (PickState.COMPUTED, PickState.STOPPED, PickState.FAILED)
    )
    hits = np.cumsum(
        [sum(p.candidate_id in hit_ids and p.state is not PickState.VETOED for p in r.picks) for r in record.rounds]
    )
    axes[0].bar(numbers, computed, color=_BLUE, width=0.6, label="computed")
    if stopped.any():
        axes[0].bar(numbers, stopped, bottom=computed, color=_PALE, width=0.6, label="stopped on the ladder")
    axes[0].bar(numbers, failed, bottom=computed + stopped, color=_GREY, width=0.6, label="failed")
    axes[0].plot(numbers, hits, "o-", color=_AMBER, label="hits so far")
    axes[0].set(xlabel="round", ylabel="candidates", xticks=numbers)
    axes[0].legend(frameon=False)
    return _png(figure)


def _subplots(n: int, size: tuple[float, float]) -> tuple[Any, list[Any]]:
    """Without pyplot: no global state, no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="tight")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(1, n, i + 1) for i in range(n)]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
