"""The data room: from any supported dataset to checked, split rows and a report."""

from components.core.data.prepare import prepare_dataset
from components.core.data.report import DatasetReport
from components.core.data.sources.version import source_version

__all__ = ["DatasetReport", "prepare_dataset", "source_version"]
