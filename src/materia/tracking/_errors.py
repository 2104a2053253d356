"""What can go wrong between a campaign and its MLflow store."""

from __future__ import annotations

from materia.errors import MateriaError


class TrackingError(MateriaError):
    """The tracking store cannot be reached or refused something; the campaign itself is not affected."""
