"""What the pages about tokens have in common: lengths as a chart, counts by split, named rows, rows token by token."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

TOKEN_STYLE = """
.row{font:13px/1.7 ui-monospace,monospace;white-space:pre-wrap;background:var(--card);padding:.8rem;
  overflow-wrap:anywhere;max-height:32em;overflow-y:auto}
.row span{border-right:1px solid var(--line)}
.loss{background:#ffd58a;color:#1c2430}
svg line.limit{stroke:var(--bad);stroke-dasharray:4}
svg text.limit{fill:var(--bad)}
"""
_BARS = 32
_WIDTH, _HEIGHT = 640, 160
_PREVIEW_TOKENS = 4096
_MOST_BYTES = 4
"""Of a character."""


def length_histogram(lengths: Mapping[int, int], maximum: int) -> list[dict[str, int]]:
    """Rows by their tokens, in equal ranges up to a maximum that none is above."""
    width = max(1, -(-maximum // _BARS))
    bars = [{"from": start, "to": min(start + width - 1, maximum), "rows": 0} for start in range(1, maximum + 1, width)]
    for length, rows in lengths.items():
        bars[(length - 1) // width]["rows"] += rows
    return bars


def draw_lengths(histogram: Sequence[Mapping[str, int]], maximum: int, limit: int | None) -> str:
    """The histogram as SVG.

    Args:
        histogram: Of `length_histogram`.
        maximum: Its right end, in tokens.
        limit: Marked, if it is inside.
    """
    highest = max((bar["rows"] for bar in histogram), default=0) or 1
    scale = _WIDTH / (maximum * 1.05)
    bars = []
    for bar in histogram:
        x, height = (bar["from"] - 1) * scale, _HEIGHT * bar["rows"] / highest
        width = max(1.0, (bar["to"] - bar["from"] + 1) * scale - 1)
        place = f"x='{x:.1f}' y='{20 + _HEIGHT - height:.1f}' width='{width:.1f}' height='{height:.1f}'"
        title = f"{bar['from']} to {bar['to']} tokens: {bar['rows']} rows"
        bars.append(f"<rect {place}><title>{title}</title></rect>")
    end, base = maximum * scale, 20 + _HEIGHT
    mark = (
        f"<line x1='{end:.1f}' x2='{end:.1f}' y1='14' y2='{base}' class='limit'/>"
        f"<text x='{end - 4:.1f}' y='11' text-anchor='end' class='limit'>limit {limit}</text>"
        if limit == maximum
        else f"<text x='{end:.1f}' y='{base + 15}' text-anchor='end'>{maximum}</text>"
    )
    return (
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT + 50}' width='{_WIDTH}' role='img' aria-label='rows by length in tokens'>"
        + "".join(bars)
        + f"<line x1='0' x2='{_WIDTH}' y1='{base}' y2='{base}'/>"
        + mark
        + f"<text x='0' y='{base + 15}'>1</text>"
        + f"<text x='{end / 2:.1f}' y='{base + 15}' text-anchor='middle'>tokens</text>"
        + f"<text x='0' y='11'>{highest} rows</text></svg>"
    )


def table_of(splits: Mapping[str, Mapping[str, float]]) -> str:
    """Numbers by split as a table; a fraction is a share."""
    names = list(dict.fromkeys(name for numbers in splits.values() for name in numbers))
    head = "".join(f"<th class='n'>{name.replace('_', ' ')}</th>" for name in names)
    rows = (
        f"<tr><td>{split}</td>"
        + "".join(f"<td class='n'>{_number(numbers.get(name))}</td>" for name in names)
        + "</tr>"
        for split, numbers in splits.items()
    )
    return f"<div class='scroll'><table><tr><th>split</th>{head}</tr>{''.join(rows)}</table></div>"


def list_rows(title: str, count: int, rows: Sequence[str]) -> str:
    """How many rows, and which are the first."""
    if not count:
        return f"<p class='soft'>{title}: none.</p>"
    more = f" and {count - len(rows)} more" if count > len(rows) else ""
    return f"<p>{title}: {count} rows ({escape(', '.join(rows))}{more}).</p>"


def piece_texts(ids: Sequence[int], tokenizer: Any) -> list[str]:
    """What each token stands for; a character of several tokens stands at the first, and the others are empty."""
    # decoded behind another token: alone, some tokenizers would drop a leading space
    lead = tokenizer.decode([ids[0]])
    pieces: list[str] = [lead]
    waiting: list[int] = []
    for token_id in ids[1:]:
        waiting.append(token_id)
        text = tokenizer.decode([ids[0], *waiting]).removeprefix(lead)
        if text.endswith("\ufffd") and len(waiting) < _MOST_BYTES and len(pieces) + len(waiting) < len(ids):
            continue
        pieces += [text, *[""] * (len(waiting) - 1)]
        waiting = []
    return pieces


def draw_cells(cells: Sequence[str]) -> str:
    """Cells of a row; a long one without its middle, so that its end stays visible."""
    if len(cells) > _PREVIEW_TOKENS:
        half = _PREVIEW_TOKENS // 2
        cells = [*cells[:half], f" … {len(cells) - 2 * half} tokens … ", *cells[-half:]]
    return f"<div class='row'>{''.join(cells)}</div>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.1%}"
