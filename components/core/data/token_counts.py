"""What happens to the rows of one split on their way to token ids, counted in constant memory."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

SHOWN_ROWS = 20
"""Rows named in each list of the report."""
PREVIEW_ROWS = 3

_HIDDEN = -100


@dataclass
class SplitCounts:
    """Counts of one split; row numbers start at 1."""

    file: str
    """Name of the file that the row numbers count."""
    prompts_only: bool = False
    """True: prompts without answers, so nothing is learned and nothing packed."""
    rows: int = 0
    kept: int = 0
    tokens: int = 0
    label_tokens: int = 0
    packs: int = 0
    cut: int = 0
    dropped: int = 0
    cut_rows: list[int] = field(default_factory=list)
    dropped_rows: list[int] = field(default_factory=list)
    lengths: Counter[int] = field(default_factory=Counter)
    """Kept rows by their tokens."""
    preview: list[tuple[int, Sequence[int], Sequence[int]]] = field(default_factory=list)
    """Row number, ids and labels of the first kept rows."""

    def add(self, number: int, input_ids: Sequence[int], labels: Sequence[int], cut: bool) -> bool:
        """Count one row; False if it is dropped, because it did not fit or teaches nothing."""
        self.rows += 1
        learned = len(labels) - labels.count(_HIDDEN)
        if not learned:
            self.dropped += 1
            _note(self.dropped_rows, number)
            return False
        self.kept += 1
        self.tokens += len(input_ids)
        self.label_tokens += learned
        self.lengths[len(input_ids)] += 1
        if cut:
            self.cut += 1
            _note(self.cut_rows, number)
        if len(self.preview) < PREVIEW_ROWS:
            self.preview.append((number, input_ids, labels))
        return True

    def numbers(self, maximum: int) -> dict[str, float]:
        """The counts as they stand in `tokens_info.json`."""
        if self.prompts_only:
            return {"rows": self.rows, "tokens": self.tokens, "prompts_cut": self.cut}
        efficiency = round(self.tokens / (self.packs * maximum), 4) if self.packs else 0.0
        return {
            "rows": self.rows,
            "kept": self.kept,
            "dropped": self.dropped,
            "cut": self.cut,
            "packs": self.packs,
            "tokens": self.tokens,
            "label_tokens": self.label_tokens,
            "packing_efficiency": efficiency,
        }


def _note(rows: list[int], number: int) -> None:
    if len(rows) < SHOWN_ROWS:
        rows.append(number)
