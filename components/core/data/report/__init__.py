"""What a data engineer wants to see before training on a dataset."""

from components.core.data.report.dataset_report import DatasetReport, write_report
from components.core.data.report.page import write_page
from components.core.data.report.summaries import summarize_columns, summarize_lengths, summarize_targets

__all__ = ["DatasetReport", "summarize_columns", "summarize_lengths", "summarize_targets", "write_page", "write_report"]
