"""Datasets of the tools that run alone: rows of one split read from anywhere, and written to a folder or the Hub."""

from components.core.tables.reading import Rows, read_rows
from components.core.tables.writing import check_target, target_place, target_rows, write_rows

__all__ = ["Rows", "check_target", "read_rows", "target_place", "target_rows", "write_rows"]
