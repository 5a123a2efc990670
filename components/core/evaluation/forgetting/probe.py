"""The probe: a fixed set of general texts and conversations, the embedded one or the user's own."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.errors import DataError
from components.core.evaluation.results import ProbeKind
from components.core.tasks.chat_rows import Message, parse_chat_row

PROBE_SET = Path(__file__).with_name("probe_set.jsonl")
EMBEDDED = "embedded"
_MOST_ROWS = 1000
"""More would take longer than the answers that it stands beside."""


@dataclass(frozen=True)
class ProbeRow:
    """One text or conversation."""

    row_id: str
    kind: ProbeKind
    text: str
    """The text; of a conversation its messages, for a person to read."""
    messages: tuple[Message, ...] = ()


@dataclass(frozen=True)
class Probe:
    """What forgetting is measured on."""

    name: str
    """`embedded`, or the name of the user's file."""
    fingerprint: str
    """Of the rows' content: two results compare only where it is the same."""
    rows: tuple[ProbeRow, ...]

    def of(self, kind: ProbeKind) -> list[ProbeRow]:
        """The rows of a kind."""
        return [row for row in self.rows if row.kind == kind]


def read_probe(file: str | None = None) -> Probe:
    """Read a probe: JSON lines, each `{"text": ...}` or `{"messages": [...]}`, with an `id` or without.

    Args:
        file: Path of the user's own; None takes the embedded set.

    Raises:
        DataError: With all rows that are neither, or if the file is unreadable, empty or too long.
    """
    path = Path(file).expanduser() if file else PROBE_SET
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"cannot read the probe {path} ({error}). evaluation.probe_file is a file of JSON lines where the "
            "evaluation runs; leave it out for the embedded probe."
        ) from error
    rows: list[ProbeRow] = []
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                rows.append(_parse(json.loads(line), number))
            except (ValueError, TypeError) as error:
                problems.append(f"{path}, row {number}: {error}")
    if problems:
        raise DataError("\n".join(problems[:20]))
    if not 1 <= len(rows) <= _MOST_ROWS:
        raise DataError(f"{path} holds {len(rows):,} probe rows. Give 1 to {_MOST_ROWS:,}; some 50 are enough.")
    return Probe(path.name if file else EMBEDDED, _fingerprint(rows), tuple(rows))


def _parse(raw: Any, number: int) -> ProbeRow:
    if not isinstance(raw, dict) or ("text" in raw) == ("messages" in raw):
        raise ValueError('expected {"text": ...} or {"messages": [{"role", "content"}, ...]}')
    row_id = str(raw.get("id", number))
    if "text" in raw:
        if not isinstance(raw["text"], str) or not raw["text"].strip():
            raise ValueError("text is no text, or is empty")
        return ProbeRow(row_id, "text", raw["text"])
    row, findings = parse_chat_row({"messages": raw["messages"]})
    if row is None:
        raise ValueError("; ".join(finding.message for finding in findings if finding.severity == "error"))
    messages = tuple(row["messages"])
    return ProbeRow(row_id, "conversation", "\n\n".join(f"{m['role']}: {m['content']}" for m in messages), messages)


def _fingerprint(rows: list[ProbeRow]) -> str:
    content = [[row.kind, row.text, row.messages] for row in rows]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:16]
