"""The report: self-contained pages, one about a campaign, one about a replay."""

from materia.report._costs import totals
from materia.report._ladder import ladder_summary
from materia.report._people import overrides_summary, told
from materia.report._remaining import remaining_summary, told_remaining
from materia.report._replay import write_replay
from materia.report._why import told_mixture
from materia.report._write import write_report

__all__ = [
    "ladder_summary",
    "overrides_summary",
    "remaining_summary",
    "told",
    "told_mixture",
    "told_remaining",
    "totals",
    "write_replay",
    "write_report",
]
