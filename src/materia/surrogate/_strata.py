"""Errors and coverage apart: of metals and others, of chemical families, of structure types.

A 90 % interval that holds for all formulas together may fail where it matters. Each label that members have not seen
belongs to several strata; a stratum that is large enough gets figures of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from materia.crystal import electronegativity
from materia.quantities import GAPS, IS_METAL, Form
from materia.surrogate._calibration import COVERAGE
from materia.surrogate._example import Example

SMALLEST = 20  # labels in a stratum: of fewer, coverage says next to nothing
LARGEST_TYPES = 12  # structure types in a card
DOUBT = 0.05  # chance that any stratum of a quantity is called badly covered although all are covered as promised

_FAMILIES = {
    "H": "hydrides",
    "B": "borides",
    "C": "carbides",
    "N": "nitrides",
    "O": "oxides",
    "F": "fluorides",
    "Si": "silicides",
    "P": "phosphides",
    "S": "sulfides",
    "Cl": "chlorides",
    "Ge": "germanides",
    "As": "arsenides",
    "Se": "selenides",
    "Br": "bromides",
    "Sb": "antimonides",
    "Te": "tellurides",
    "I": "iodides",
}


def family(elements: Sequence[str]) -> str:
    """Chemical family by the most electronegative element (Pauling); without one that forms anions: intermetallics."""
    anion = max(elements, key=lambda name: (name in _FAMILIES, electronegativity(name)))
    return _FAMILIES.get(anion, "intermetallics")


def metallic(targets: Mapping[str, Any]) -> bool | None:
    """Whether labels say that a crystal is a metal: by its class, else by a gap of zero; None where they do not say."""
    if IS_METAL in targets:
        return bool(targets[IS_METAL])
    gaps = [float(targets[name]) for name in GAPS if name in targets]
    return all(gap == 0.0 for gap in gaps) if gaps else None


def strata(examples: Sequence[Example], types: NDArray[np.str_]) -> dict[str, NDArray[np.str_]]:
    """What each example belongs to, "" where nothing is known, in three divisions: ``metal``, ``family``, ``type``.

    Args:
        examples: n of them.
        types: (n) their structure types.
    """
    kinds = {True: "metals", False: "non-metals", None: ""}
    return {
        "metal": np.array([kinds[metallic(e.targets)] for e in examples], dtype=str),
        "family": np.array([family(e.crystal.elements) for e in examples], dtype=str),
        "type": types,
    }


def by_stratum(
    parity: Mapping[str, Any], divisions: Mapping[str, NDArray[np.str_]], form: Form
) -> dict[str, dict[str, dict[str, float]]]:
    """Figures of one quantity by division and stratum, those with most labels first.

    Args:
        parity: ``observed``, ``predicted`` and ``inside`` (whether the interval held; may be missing) of m labels.
        divisions: (m,) of :func:`strata`.
        form: of the quantity.

    Returns:
        ``n``, ``mae`` in the unit and ``coverage_90``; of a class ``n`` and ``accuracy``. Strata of less than
        ``SMALLEST`` labels are left out, and so is a division of which one stratum is all.
    """
    observed, predicted = (np.array(parity[name], dtype=float) for name in ("observed", "predicted"))
    inside = parity.get("inside")
    found: dict[str, dict[str, dict[str, float]]] = {}
    for division, names in divisions.items():
        kinds, counts = np.unique(names[names != ""], return_counts=True)
        order = np.argsort(-counts, kind="stable")[: LARGEST_TYPES if division == "type" else None]
        large = [str(kinds[i]) for i in order if counts[i] >= SMALLEST]
        if len(large) < 2 and len(kinds) < 2:
            continue
        for kind in large:
            here = names == kind
            error = np.abs(observed - predicted)[here]
            said: dict[str, float] = {"n": int(here.sum())}
            if form is Form.CLASS:
                said["accuracy"] = round(float((error < 0.5).mean()), 4)
            elif np.isfinite(error).any():
                said["mae"] = float(f"{np.nanmean(error):.6g}")
            if inside is not None:
                said["coverage_90"] = round(float(np.asarray(inside)[here].mean()), 4)
            found.setdefault(division, {})[kind] = said
    return found


def badly_covered(divisions: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[tuple[str, float, int]]:
    """Strata of one quantity whose intervals hold less often than 90 % explains: name, coverage, labels; worst first.

    A stratum is named where so few labels inside would come about in less than ``DOUBT`` over all strata of the
    quantity if each label had a 90 % chance (binomial, Bonferroni).
    """
    judged = [
        (name, said["coverage_90"], int(said["n"]))
        for kinds in divisions.values()
        for name, said in kinds.items()
        if "coverage_90" in said
    ]
    limit = DOUBT / max(1, len(judged))
    bad = [row for row in judged if bdtr(round(row[1] * row[2]), row[2], COVERAGE) < limit]
    return sorted(bad, key=lambda row: row[1])
