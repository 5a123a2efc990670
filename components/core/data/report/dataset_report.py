"""What is known about a prepared dataset; written as `report.json`, and read by the page and the pipeline's metrics."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from components.core.data.contract.ledger import FindingCount

REPORT_FILE = "report.json"
PAGE_FILE = "report.html"


@dataclass
class ColumnSummary:
    """One column of the input, by our name."""

    name: str
    used: bool
    """True when it is part of the task's schema."""
    types: dict[str, dict[str, int]]
    """Split -> type -> rows."""
    empty: dict[str, int]
    """Split -> rows in which it is null, blank or an empty list."""


@dataclass
class LengthSummary:
    """Lengths of one text column in one split, of the rows that were kept."""

    unit: str
    """`characters` or `words`."""
    minimum: int
    median: float
    mean: float
    p95: float
    maximum: int
    edges: list[float] = field(default_factory=list)
    """Bounds of the histogram's bins, one more than there are counts."""
    counts: list[int] = field(default_factory=list)


@dataclass
class ScoreSummary:
    """Scores of one split, in their own unit."""

    minimum: float
    median: float
    mean: float
    std: float
    maximum: float
    edges: list[float]
    """Bounds of the histogram's bins, the same in each split; one more than there are counts."""
    counts: list[int]


@dataclass
class TargetSummary:
    """What the rows of the final splits teach."""

    unit: str = ""
    """What `labels` counts: `rows`, or `entities`; empty where a text or a number is learned."""
    labels: dict[str, dict[str, int]] = field(default_factory=dict)
    """Label or entity type -> split -> count, in the order of the label map."""
    totals: dict[str, int] = field(default_factory=dict)
    """Split -> rows, or entities, in all; a row with two labels counts once."""
    unlabelled: dict[str, int] = field(default_factory=dict)
    """Split -> rows without a label, or without an entity."""
    scores: dict[str, ScoreSummary] = field(default_factory=dict)
    """By split."""


@dataclass
class DatasetReport:
    """Counts, findings and origin of a prepared dataset."""

    dataset_id: str
    task: str
    revision: str = ""
    """Commit that was read; empty for files."""
    source_version: str = ""
    license: str = ""
    fingerprint: str = ""
    """sha256 over the canonical rows of all splits; empty when nothing was written."""
    output_dir: str = ""
    seconds: float = 0.0
    ok: bool = False
    """False: errors stopped the run and no rows were written."""
    rows: dict[str, int] = field(default_factory=dict)
    """Rows written, by split."""
    rows_read: dict[str, int] = field(default_factory=dict)
    """Rows seen in the input, bad ones included, by split of the dataset."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Rows that were left out, by reason."""
    splits: dict[str, str] = field(default_factory=dict)
    """How each split was made."""
    files: dict[str, list[str]] = field(default_factory=dict)
    errors: int = 0
    warnings: int = 0
    findings: list[FindingCount] = field(default_factory=list)
    columns: list[ColumnSummary] = field(default_factory=list)
    lengths: dict[str, dict[str, list[LengthSummary]]] = field(default_factory=dict)
    """Split -> column -> characters and words."""
    targets: TargetSummary = field(default_factory=TargetSummary)

    @property
    def page(self) -> Path:
        """The report for reading."""
        return Path(self.output_dir) / PAGE_FILE

    def count(self, kind: str) -> int:
        """Findings of one kind."""
        return sum(finding.count for finding in self.findings if finding.kind == kind)

    def metrics(self) -> dict[str, float]:
        """Numbers for a run's metrics: rows by split, errors, warnings, and every kind of finding."""
        numbers = {f"{split}_rows": rows for split, rows in self.rows.items()}
        numbers |= {"errors": self.errors, "warnings": self.warnings, "dropped_rows": sum(self.dropped.values())}
        numbers |= {f"data_{finding.kind}": finding.count for finding in self.findings}
        if self.targets.unit:
            numbers["entity_types" if self.targets.unit == "entities" else "labels"] = len(self.targets.labels)
        return {name: float(value) for name, value in numbers.items()}

    def to_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return asdict(self)


def write_report(report: DatasetReport, output_dir: Path) -> None:
    """Write `report.json`."""
    text = json.dumps(report.to_json(), ensure_ascii=False, indent=2) + "\n"
    (output_dir / REPORT_FILE).write_text(text, encoding="utf-8", errors="backslashreplace")
