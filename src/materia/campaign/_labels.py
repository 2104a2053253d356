"""From what jobs returned to labels: quantities with fidelity, level and source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from materia import quantities as q
from materia.crystal import Crystal
from materia.record import Label
from materia.simulation import Level, level_hash
from materia.stability import References

DIRECT = {
    "gap_pbe": q.GAP_PBE,
    "gap_direct_pbe": q.GAP_DIRECT_PBE,
    "overlap": q.BAND_OVERLAP,
    "volume_per_atom": q.VOLUME,
}
BEYOND = (  # as fields
    q.GAP_SOC,
    q.GAP_HSE06_ON_PBE,
    q.GAP_HSE06_SOC_ON_PBE,
    q.GAP_GLLBSC_OWN,
    q.ELECTRON_MASS_EDGE,
    q.HOLE_MASS_EDGE,
    q.DIELECTRIC_ELECTRONIC_OWN,
    q.DIELECTRIC_STATIC_OWN,
    q.DIELECTRIC_ELECTRONIC_RPA,
)
# What is known of a candidate once a recipe has ended at a level of DFT, and at that of a potential.
_ENERGIES = frozenset({q.ENERGY, q.FORMATION_ENERGY, q.ENERGY_ABOVE_HULL})
_BANDS = _ENERGIES | {q.GAP_PBE, q.GAP_DIRECT_PBE, q.BAND_OVERLAP}
_GIVES = {
    "relax": _ENERGIES | {q.VOLUME},
    "static": _ENERGIES | {q.VOLUME},
    "gap": _BANDS,
    "spin_orbit": _BANDS | {q.GAP_SOC},
    "hybrid": _BANDS | {q.GAP_HSE06_ON_PBE},
    "hybrid_spin_orbit": _BANDS | {q.GAP_HSE06_ON_PBE, q.GAP_HSE06_SOC_ON_PBE},
    "masses": _BANDS | {q.ELECTRON_MASS_EDGE, q.HOLE_MASS_EDGE},
    "gllbsc": frozenset({q.GAP_GLLBSC_OWN}),
    "dielectric": _BANDS | {q.DIELECTRIC_ELECTRONIC_OWN, q.DIELECTRIC_STATIC_OWN},
    "dielectric_rpa": _BANDS | {q.DIELECTRIC_ELECTRONIC_RPA},
}
_POTENTIAL_GIVES = {
    "relax": frozenset({q.ENERGY_POTENTIAL, q.VOLUME_POTENTIAL}),
    "static": frozenset({q.ENERGY_POTENTIAL, q.VOLUME_POTENTIAL}),
    "distorts": frozenset({q.DISTORTION}),
}
OF_POTENTIALS = {
    "energy_per_atom": q.ENERGY_POTENTIAL,
    "volume_per_atom": q.VOLUME_POTENTIAL,
    "distortion_energy": q.DISTORTION,
}


def given_by(recipe: str, *, electrons: bool) -> frozenset[str]:
    """Quantities that a recipe can give, at a level of DFT or (``electrons=False``) at that of a potential."""
    return (_GIVES if electrons else _POTENTIAL_GIVES).get(recipe, frozenset())


def labels_from(
    crystal: Crystal, results: Sequence[tuple[Level, str, Mapping[str, Any]]], references: References | None
) -> tuple[Label, ...]:
    """Labels of one structure, those of DFT first. What a potential gives is a quantity of its own.

    Args:
        crystal: gives the composition.
        results: (level, job key, values) in the order of the ladder; later values replace earlier ones.
        references: elemental energies at the level of DFT, or ``None`` where there are none.
    """
    found: dict[str, Label] = {}
    for level, key, values in sorted(results, key=lambda result: result[0].potential is not None):
        digest = level_hash(level)

        def put(name: str, value: float, key: str = key, level: Level = level, digest: str = digest) -> None:
            fidelity = q.quantity(name).fidelity.value if name in BEYOND else level.fidelity
            found[name] = Label(name, float(value), fidelity, level.name, digest, key)

        if level.potential is not None:
            for field, name in OF_POTENTIALS.items():
                if field in values:
                    put(name, values[field])
            continue
        for field, name in DIRECT.items():
            if field in values:
                put(name, values[field])
        for name in BEYOND:
            if name in values:
                put(name, values[name])
        if "energy_per_atom" in values:
            energy = float(values["energy_per_atom"])
            put(q.ENERGY, energy)
            formation = formation_energy(crystal, energy, references)
            if formation is not None:
                put(q.FORMATION_ENERGY, formation)
    return tuple(found.values())


def formation_energy(crystal: Crystal, energy_per_atom: float, references: References | None) -> float | None:
    """eV/atom against the elemental references; ``None`` where one of them is not known at this level."""
    if references is None or not set(crystal.elements) <= set(references.elements):
        return None
    return references.formation_energy_per_atom(crystal.composition, energy_per_atom)
