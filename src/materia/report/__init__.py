"""The report: one self-contained page about a campaign."""

from materia.report._costs import totals
from materia.report._people import overrides_summary, told
from materia.report._write import write_report

__all__ = ["overrides_summary", "told", "totals", "write_report"]
