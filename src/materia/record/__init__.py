"""The values a campaign is made of."""

from materia.record._campaign_record import AttemptRecord, CampaignRecord, JobRecord
from materia.record._load import attempt_from_row, load_campaign, pick_from_row
from materia.record._redact import redacted
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
    "AttemptRecord",
    "CampaignRecord",
    "Candidate",
    "JobRecord",
    "JobSpec",
    "Label",
    "Outcome",
    "OutcomeKind",
    "Pick",
    "PickState",
    "Resources",
    "Round",
    "attempt_from_row",
    "load_campaign",
    "pick_from_row",
    "redacted",
    "to_json",
]
