"""Scores over the element tables."""

from materia.sustainability._supply import SupplyPart, supply_parts, supply_risk, supply_risks

__all__ = ["SupplyPart", "supply_parts", "supply_risk", "supply_risks"]
