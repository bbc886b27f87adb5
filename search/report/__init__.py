"""Shows a run: one HTML page, several runs side by side, and the table at the end in the terminal."""

from search.report.comparison import notes_on
from search.report.errors import ReportError
from search.report.page import REPORT_NAME, write_comparison, write_report
from search.report.terminal import summary_table

__all__ = ["REPORT_NAME", "ReportError", "notes_on", "summary_table", "write_comparison", "write_report"]
