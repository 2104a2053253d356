"""Numbers, formulas and conditions as people read them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup, escape

from materia.quantities import REGISTRY

_DECIMALS = {"eV": 2, "eV/atom": 3, "Å³/atom": 1, "1": 2}
SHORT = {
    "formation_energy_per_atom": "Formation energy",
    "gap_pbe": "Gap",
    "gap_direct_pbe": "Direct gap",
    "energy_above_hull": "Above known hull",
    "volume_per_atom": "Volume",
    "supply_risk": "Supply risk",
}
PHRASE = {
    "gap_pbe": "a PBE band gap",
    "gap_direct_pbe": "a direct PBE band gap",
    "formation_energy_per_atom": "a formation energy",
    "energy_above_hull": "a distance to the known hull",
    "supply_risk": "a supply risk",
}


def title(quantity: str) -> str:
    """Name of a quantity with its fidelity: ``Band gap, PBE``."""
    return REGISTRY[quantity].title if quantity in REGISTRY else quantity.replace("_", " ")


def unit(quantity: str) -> str:
    """Its unit; empty where it has none."""
    found = REGISTRY[quantity].unit if quantity in REGISTRY else "1"
    return "" if found == "1" else found


def axis(quantity: str) -> str:
    """As put on an axis: title and unit."""
    return f"{title(quantity)} ({unit(quantity)})" if unit(quantity) else title(quantity)


def number(value: Any, quantity: str | None = None, decimals: int | None = None) -> str:
    """A value as printed, with a true minus sign; a dash for what is not there."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        return "–"
    if decimals is None:
        in_registry = quantity is not None and quantity in REGISTRY
        decimals = _DECIMALS.get(REGISTRY[quantity].unit, 3) if in_registry and quantity else 3
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def uncertain(belief: Mapping[str, float]) -> bool:
    """Whether it is a prediction at all: what tables say beforehand has no spread."""
    return "mean" in belief and belief.get("std") != 0


def predicted(belief: Mapping[str, float], quantity: str) -> str:
    """``1.23 ± 0.31``; empty where nothing was predicted."""
    if not uncertain(belief):
        return ""
    return f"{number(belief['mean'], quantity)} ± {number(belief.get('std'), quantity)}"


def count(n: Any) -> str:
    """An integer with thin spaces between thousands."""
    return f"{int(n):,}".replace(",", "\u2009") if isinstance(n, (int, float)) else "–"


def leaves_out_open_shells(settings: Mapping[str, Any]) -> bool:
    """Whether open-shell elements are kept out of the space (they are unless the file says otherwise)."""
    space = campaign_settings(settings).get("space")
    return isinstance(space, Mapping) and "open_shell" in space.get("exclude", ("open_shell",))


def amount(value: float | None) -> str:
    """Three significant digits, thousands apart: ``0.0123``, ``4.50``, ``1\u2009230``; a dash for what is not known."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}".replace(",", "\u2009")


def electricity(kwh: float | None) -> str:
    """``3.03 Wh``, ``1.20 kWh``, ``4.50 MWh``."""
    return _scaled(kwh, ((1e-3, "Wh"), (1.0, "kWh"), (1e3, "MWh")))


def mass(kg: float | None) -> str:
    """``0.607 g``, ``1.20 kg``, ``4.50 t``."""
    return _scaled(kg, ((1e-3, "g"), (1.0, "kg"), (1e3, "t")))


def _scaled(value: float | None, units: tuple[tuple[float, str], ...]) -> str:
    """In the largest unit that it is at least one of."""
    if value is None or not math.isfinite(value):
        return "–"
    size, unit_name = next(((s, u) for s, u in reversed(units) if value >= s), units[0])
    return f"{amount(value / size)} {unit_name}"


def times(asked: float, used: float) -> str:
    """How many times what was used was asked for: ``3.1 ×``."""
    return f"{asked / used:.1f} ×" if used else "–"


def plural(n: int, word: str, many: str | None = None) -> str:
    """``1 round``, ``3 rounds``."""
    return f"{count(n)} {word if n == 1 else many or word + 's'}"


def duration(seconds: float) -> str:
    """``43 s``, ``3.2 min``, ``1.4 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def formula(text: str) -> Markup:
    """A formula with its numbers as subscripts; everything else escaped."""
    parts = re.split(r"(\d+)", str(text))
    return Markup().join(Markup("<sub>%s</sub>") % p if p.isdigit() else escape(p) for p in parts)


def spaced(text: str) -> str:
    """A machine word for people: ``scf_not_converged`` as ``scf not converged``."""
    return text.replace("_", " ")


def score_part(name: str) -> str:
    """A part of the acquisition value: ``p_gap_pbe`` as ``chance of gap wanted``."""
    for prefix, form in (("p_", "chance of {} wanted"), ("prefer_", "preference by {}")):
        quantity = name.removeprefix(prefix)
        if name.startswith(prefix) and quantity in REGISTRY:
            return form.format(SHORT.get(quantity, title(quantity)).lower())
    return "chance that the calculation ends well" if name == "success" else spaced(name)


def reason(text: str) -> str:
    """Why something failed: the machine word before the colon for people, the sentence after it as it is."""
    word, colon, sentence = text.partition(":")
    return spaced(word) + colon + sentence


def campaign_settings(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The campaign file's own content, whether or not versions and digests are stored around it."""
    inner = settings.get("campaign")
    return inner if isinstance(inner, Mapping) else settings


def bounds(settings: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Quantity -> interval a hit must lie in, all written conditions on it taken together."""
    found: dict[str, tuple[float, float]] = {}
    for wanted in _wanted(settings):
        low, high = -math.inf, math.inf
        if wanted.get("window") is not None:
            low, high = (float(edge) for edge in wanted["window"])
        if wanted.get("above") is not None:
            low = float(wanted["above"])
        if wanted.get("below") is not None:
            high = float(wanted["below"])
        if math.isfinite(low) or math.isfinite(high):
            before = found.get(str(wanted["quantity"]), (-math.inf, math.inf))
            found[str(wanted["quantity"])] = (max(low, before[0]), min(high, before[1]))
    return found


def asked_quantities(settings: Mapping[str, Any]) -> list[str]:
    """Every quantity the campaign asks about, in the order written."""
    return list(dict.fromkeys(str(w["quantity"]) for w in _wanted(settings)))


def conditions(settings: Mapping[str, Any]) -> list[dict[str, str]]:
    """What a hit must meet, in words: ``{"title", "phrase", "text"}``."""
    words = []
    for quantity, (low, high) in bounds(settings).items():
        suffix = f" {unit(quantity)}" if unit(quantity) else ""
        if math.isfinite(low) and math.isfinite(high):
            text = f"between {_plain(low)} and {_plain(high)}{suffix}"
        else:
            text = f"at most {_plain(high)}{suffix}" if math.isfinite(high) else f"at least {_plain(low)}{suffix}"
        words.append({"title": title(quantity), "phrase": PHRASE.get(quantity, title(quantity)), "text": text})
    return words


def wishes(settings: Mapping[str, Any]) -> list[dict[str, str]]:
    """What should be small or large, without being a condition."""
    words = {"minimize": "as small as possible", "maximize": "as large as possible"}
    found = []
    for wanted in _wanted(settings):
        goal = wanted.get("goal") or wanted.get("direction")
        if goal in words:
            found.append({"title": title(str(wanted["quantity"])), "text": words[goal]})
    return found


def _wanted(settings: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    inner = campaign_settings(settings)
    entries = [*(inner.get("objectives") or ()), *(inner.get("constraints") or ())]
    return [e for e in entries if isinstance(e, Mapping) and "quantity" in e]


def _plain(value: float) -> str:
    return f"{value:g}".replace("-", "−")
