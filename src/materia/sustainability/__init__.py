"""Scores over the element tables."""

from materia.sustainability._supply import supply_risk, supply_risks

__all__ = ["supply_risk", "supply_risks"]
