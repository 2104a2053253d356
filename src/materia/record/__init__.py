"""The values a campaign is made of."""

from materia.record._campaign_record import CampaignRecord, JobRecord
from materia.record._load import load_campaign, pick_from_row
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
    "load_campaign",
    "pick_from_row",
    "redacted",
    "to_json",
]
