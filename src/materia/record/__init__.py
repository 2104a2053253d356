"""The values a campaign is made of."""

from materia.record._campaign_record import AttemptRecord, CampaignRecord, JobRecord, vetoed_key
from materia.record._load import attempt_from_row, load_campaign, pick_from_row
from materia.record._overrides import (
    INBOX,
    SELECT_OVERRIDES,
    Decision,
    Override,
    OverrideKind,
    OverrideState,
    decision_file,
    opened,
    override_from_row,
    waiting_decisions,
    withdrawal_note,
)
from materia.record._redact import redacted
from materia.record._values import (
    Candidate,
    Climb,
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
    "INBOX",
    "SELECT_OVERRIDES",
    "AttemptRecord",
    "CampaignRecord",
    "Candidate",
    "Climb",
    "Decision",
    "JobRecord",
    "JobSpec",
    "Label",
    "Outcome",
    "OutcomeKind",
    "Override",
    "OverrideKind",
    "OverrideState",
    "Pick",
    "PickState",
    "Resources",
    "Round",
    "attempt_from_row",
    "decision_file",
    "load_campaign",
    "opened",
    "override_from_row",
    "pick_from_row",
    "redacted",
    "to_json",
    "vetoed_key",
    "waiting_decisions",
    "withdrawal_note",
]
