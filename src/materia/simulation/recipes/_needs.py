"""What recipes need beyond energies and bands, and at which functional they run."""

from __future__ import annotations

from materia.simulation._levels import Level
from materia.simulation.engines import Capabilities

# recipe -> feature of the engine, by name in ``Capabilities.features``
NEEDS = {
    "spin_orbit": "spin_orbit",
    "masses": "spin_orbit",
    "hybrid": "hybrid",
    "hybrid_spin_orbit": "hybrid_spin_orbit",
    "gllbsc": "gllbsc",
    "dielectric": "dielectric",
    "dielectric_rpa": "screening",
}
IN_WORDS = {
    "spin_orbit": "spin-orbit coupling",
    "hybrid": "HSE06",
    "hybrid_spin_orbit": "HSE06 with spin-orbit coupling",
    "gllbsc": "GLLB-SC",
    "dielectric": "density-functional perturbation theory",
    "screening": "linear response",
}
_ELSEWHERE = {
    "dielectric": "use a level of Quantum ESPRESSO, such as `espresso-standard`, with ph.x beside pw.x, "
    "or the recipe `dielectric_rpa`, of the electrons alone, with GPAW"
}
_BY_GPAW = "use a level of an engine that can, such as GPAW's `standard`"
# Recipes whose electrons are counted in pairs: an odd number of them is an open shell.
CLOSED_SHELL = frozenset({"gap", *NEEDS})
# Their parts beyond PBE were tried on one rank only.
ONE_RANK = frozenset(NEEDS)


def lacking(name: str, engine_name: str, capabilities: Capabilities) -> tuple[str, str] | None:
    """What a recipe needs and an engine does not have here, in words, and the remedy; None where nothing lacks."""
    feature = NEEDS.get(name)
    if feature is None or capabilities.features.get(feature):
        return None
    remedy = capabilities.remedies.get(feature, _ELSEWHERE.get(feature, _BY_GPAW))
    return f"{engine_name} has no {IN_WORDS[feature]} here, and the recipe {name!r} needs it", remedy


def level_for(name: str, level: Level) -> Level:
    """The level a recipe runs at: the ladder's, with the functional (and so the PAW sets) that the recipe is about."""
    if name != "gllbsc" or level.xc == "GLLBSC":
        return level
    return level.model_copy(update={"xc": "GLLBSC", "fidelity": "GLLB-SC"})
