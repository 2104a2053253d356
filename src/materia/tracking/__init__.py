"""MLflow: a campaign's record, projected idempotently into a run tree."""

from materia.tracking._errors import TrackingError
from materia.tracking._settings import TrackingSettings
from materia.tracking._track import TrackingResult, track

__all__ = ["TrackingError", "TrackingResult", "TrackingSettings", "track"]
