"""The values a campaign is made of."""

from materia.record._values import (
    Candidate,
    JobSpec,
    Label,
    Outcome,
    OutcomeKind,
    Pick,
    PickState,
    Resources,
    Round,
    to_json,
)

__all__ = [
    "Candidate",
    "JobSpec",
    "Label",
    "Outcome",
    "OutcomeKind",
    "Pick",
    "PickState",
    "Resources",
    "Round",
    "to_json",
]
