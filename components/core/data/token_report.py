"""The report on token ids: lengths against the limit, rows that were cut or dropped, and what carries the loss."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from components.core.data.report.style import STYLE
from components.core.data.token_counts import SplitCounts
from components.core.recipe import TokensConfig
from components.core.tasks import Prompt

_BARS = 32
_WIDTH, _HEIGHT = 640, 160
_PREVIEW_TOKENS = 400
_MORE_STYLE = """
.row{font:13px/1.7 ui-monospace,monospace;white-space:pre-wrap;background:var(--card);padding:.8rem;
  overflow-wrap:anywhere}
.row span{border-right:1px solid var(--line)}
.loss{background:#ffd58a;color:#1c2430}
svg line.limit{stroke:var(--bad);stroke-dasharray:4}
svg text.limit{fill:var(--bad)}
"""


def write_token_report(
    folder: Path, counts: Mapping[str, SplitCounts], maximum: int, tokens: TokensConfig, prompt: Prompt, tokenizer: Any
) -> None:
    """Write report.json (numbers) and report.html (the same with plots and the first rows, token by token)."""
    splits: dict[str, dict[str, Any]] = {
        split: split_counts.numbers(maximum)
        | {
            "histogram": _histogram(split_counts, maximum),
            "cut_rows": [f"{split_counts.file}:{row}" for row in split_counts.cut_rows],
            "dropped_rows": [f"{split_counts.file}:{row}" for row in split_counts.dropped_rows],
        }
        for split, split_counts in counts.items()
    }
    report = {"max_seq_length": maximum, "tokens": tokens.model_dump(), "splits": splits}
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Tokens</title>",
        f"<style>{STYLE}{_MORE_STYLE}</style>",
        f"<h1>Tokens</h1><p>Sequences of at most {maximum} tokens. {_in_words(tokens, prompt)}</p>",
        _table({split: split_counts.numbers(maximum) for split, split_counts in counts.items()}),
    ]
    for split, split_counts in counts.items():
        parts.append(f"<h2>{split}</h2>{_plot(splits[split]['histogram'], maximum)}")
        parts.append(_row_list("Context cut to fit", split_counts.cut, splits[split]["cut_rows"]))
        if not split_counts.prompts_only:
            dropped = "Dropped: question and answer do not fit, or no token would carry the loss"
            parts.append(_row_list(dropped, split_counts.dropped, splits[split]["dropped_rows"]))
    parts.append("<h2>First rows</h2><p>One cell per token; <span class='loss'>marked</span> tokens are learned.</p>")
    parts += [_preview(row, ids, labels, tokenizer) for row, ids, labels in counts["train"].preview]
    (folder / "report.html").write_text("\n".join(parts) + "\n</html>\n", encoding="utf-8")


def _in_words(tokens: TokensConfig, prompt: Prompt) -> str:
    too_long = "have their context cut around the answer" if tokens.on_too_long == "window" else "are dropped"
    packed = "Several rows share a sequence." if tokens.packing else "Each row has its own sequence."
    layout = "in the tokenizer's chat template" if prompt.chat_template else "as plain text, without a chat template"
    return f"Rows that are too long {too_long}. {packed} Prompts are written {layout}."


def _histogram(counts: SplitCounts, maximum: int) -> list[dict[str, int]]:
    """Kept rows by length, in equal ranges of tokens up to the limit."""
    width = max(1, -(-maximum // _BARS))
    bars = [{"from": start, "to": min(start + width - 1, maximum), "rows": 0} for start in range(1, maximum + 1, width)]
    for length, rows in counts.lengths.items():
        bars[(length - 1) // width]["rows"] += rows
    return bars


def _plot(histogram: Sequence[Mapping[str, int]], maximum: int) -> str:
    highest = max((bar["rows"] for bar in histogram), default=0) or 1
    scale = _WIDTH / (maximum * 1.05)
    bars = []
    for bar in histogram:
        x, height = (bar["from"] - 1) * scale, _HEIGHT * bar["rows"] / highest
        width = max(1.0, (bar["to"] - bar["from"] + 1) * scale - 1)
        place = f"x='{x:.1f}' y='{20 + _HEIGHT - height:.1f}' width='{width:.1f}' height='{height:.1f}'"
        title = f"{bar['from']} to {bar['to']} tokens: {bar['rows']} rows"
        bars.append(f"<rect {place}><title>{title}</title></rect>")
    limit, base = maximum * scale, 20 + _HEIGHT
    return (
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT + 50}' width='{_WIDTH}' role='img' aria-label='rows by length in tokens'>"
        + "".join(bars)
        + f"<line x1='0' x2='{_WIDTH}' y1='{base}' y2='{base}'/>"
        + f"<line x1='{limit:.1f}' x2='{limit:.1f}' y1='14' y2='{base}' class='limit'/>"
        + f"<text x='{limit - 4:.1f}' y='11' text-anchor='end' class='limit'>limit {maximum}</text>"
        + f"<text x='0' y='{base + 15}'>1</text>"
        + f"<text x='{limit / 2:.1f}' y='{base + 15}' text-anchor='middle'>tokens</text>"
        + f"<text x='0' y='11'>{highest} rows</text></svg>"
    )


def _table(splits: Mapping[str, Mapping[str, float]]) -> str:
    names = list(dict.fromkeys(name for numbers in splits.values() for name in numbers))
    head = "".join(f"<th class='n'>{name.replace('_', ' ')}</th>" for name in names)
    rows = (
        f"<tr><td>{split}</td>"
        + "".join(f"<td class='n'>{_number(numbers.get(name))}</td>" for name in names)
        + "</tr>"
        for split, numbers in splits.items()
    )
    return f"<div class='scroll'><table><tr><th>split</th>{head}</tr>{''.join(rows)}</table></div>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.1%}"


def _row_list(title: str, count: int, rows: Sequence[str]) -> str:
    if not count:
        return f"<p class='soft'>{title}: none.</p>"
    more = f" and {count - len(rows)} more" if count > len(rows) else ""
    return f"<p>{title}: {count} rows ({escape(', '.join(rows))}{more}).</p>"


def _preview(row: int, ids: Sequence[int], labels: Sequence[int], tokenizer: Any) -> str:
    """One example, token by token; a long one without its middle, so that the learned end stays visible."""
    # decoded behind another token: alone, some tokenizers would drop a leading space
    lead = tokenizer.decode([ids[0]])
    texts = [lead, *(tokenizer.decode([ids[0], token_id]).removeprefix(lead) for token_id in ids[1:])]
    cells = [
        f"<span{'' if label == -100 else ' class=loss'}>{escape(text)}</span>"
        for text, label in zip(texts, labels, strict=True)
    ]
    if len(cells) > _PREVIEW_TOKENS:
        half = _PREVIEW_TOKENS // 2
        cells = [*cells[:half], f" … {len(cells) - 2 * half} tokens … ", *cells[-half:]]
    return f"<p class='soft'>train.jsonl:{row}, {len(ids)} tokens</p><div class='row'>{''.join(cells)}</div>"
