"""Everything that was found in the rows: exact counts, and the first examples of each kind."""

from dataclasses import dataclass, field
from typing import Literal

EXAMPLES_PER_KIND = 20
EXAMPLES_ALIKE = 5
MESSAGE_CHARACTERS = 400


@dataclass(frozen=True)
class Example:
    """Where one finding stands."""

    file: str
    row: int
    """Line or row number from 1; 0 means the file as a whole."""
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.row}: {self.message}" if self.row else f"{self.file}: {self.message}"


@dataclass
class FindingCount:
    """All findings of one kind."""

    kind: str
    severity: Literal["error", "warning"]
    count: int = 0
    blocking: int = 0
    """How many of them stop the run."""
    examples: list[Example] = field(default_factory=list)


class Ledger:
    """Collects findings in bounded memory."""

    def __init__(self, forgive_rows: bool) -> None:
        self._forgive_rows = forgive_rows
        """True drops bad rows (data.on_bad_row=drop) instead of stopping."""
        self._kinds: dict[tuple[str, str], FindingCount] = {}
        self.blocking = 0
        """Errors that stop the run."""
        self.fatal = 0
        """Errors that no `data.on_bad_row` excuses."""

    @property
    def findings(self) -> list[FindingCount]:
        """All kinds, errors first, the most frequent first."""
        return sorted(self._kinds.values(), key=lambda kind: (kind.severity != "error", -kind.count, kind.kind))

    def count(self, severity: str) -> int:
        """Findings of one severity."""
        return sum(kind.count for kind in self._kinds.values() if kind.severity == severity)

    def first_blocking(self, most: int) -> list[Example]:
        """Examples of what stops the run, a few of each kind, the same message only once."""
        kinds = [kind for kind in self.findings if kind.blocking]
        shown: dict[tuple[str, str], Example] = {}
        for number in range(EXAMPLES_PER_KIND):
            for kind in kinds:
                if number < len(kind.examples) and len(shown) < most:
                    shown.setdefault((kind.kind, kind.examples[number].message), kind.examples[number])
        return list(shown.values())

    def add(
        self,
        kind: str,
        severity: Literal["error", "warning"],
        file: str,
        row: int,
        message: str,
        fatal: bool = False,
    ) -> None:
        """Count a finding and keep it if it is among the first of its kind."""
        entry = self._kinds.get((kind, severity))
        if entry is None:
            entry = self._kinds[kind, severity] = FindingCount(kind, severity)
        entry.count += 1
        blocking = severity == "error" and (fatal or not self._forgive_rows)
        if len(entry.examples) < EXAMPLES_PER_KIND:
            example = Example(file, row, message[:MESSAGE_CHARACTERS])
            # a mistake that every row repeats must not hide the next one
            alike = sum(other.file == example.file and other.message == example.message for other in entry.examples)
            if alike < EXAMPLES_ALIKE:
                entry.examples.append(example)
        entry.blocking += blocking
        self.blocking += blocking
        self.fatal += severity == "error" and fatal
