"""MLflow: a campaign's record, or any tree of runs, projected idempotently."""

from materia.tracking._errors import TrackingError
from materia.tracking._settings import TrackingSettings
from materia.tracking._spec import RunSpec
from materia.tracking._track import TrackingResult, project, track

__all__ = ["RunSpec", "TrackingError", "TrackingResult", "TrackingSettings", "project", "track"]
