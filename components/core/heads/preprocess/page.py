"""The page about the tokens of a preprocess: lengths against the limit, rows that were cut, the first rows by token."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from components.core.data.naming import printable
from components.core.data.report.style import STYLE
from components.core.data.token_page import (
    TOKEN_STYLE,
    draw_cells,
    draw_lengths,
    length_histogram,
    list_rows,
    piece_texts,
    table_of,
)
from components.core.heads.tokens import TokenCounts, TokenTable
from components.core.tasks.heads import Head
from components.core.tasks.rendering import IGNORED_LABEL

PAGE_FILE = "tokens.html"
_PREVIEW_ROWS = 3
_PREVIEW_TOKENS = 300
_FEW = 4
"""The limit is drawn unless all inputs are this many times shorter."""


def write_page(
    folder: Path, counts: Mapping[str, TokenCounts], head: Head, model_id: str, notes: Sequence[str], tokenizer: Any
) -> None:
    """Write tokens.html.

    Args:
        folder: With train.arrow.
        counts: By split.
        head: Of the model.
        model_id: Of the base model.
        notes: What was decided otherwise than asked for.
        tokenizer: Of transformers, which turns ids into text.
    """
    longest = max([1, *(each.longest for each in counts.values())])
    shown = head.max_seq_length if longest * _FEW >= head.max_seq_length else longest
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Tokens</title>",
        f"<style>{STYLE}{TOKEN_STYLE}</style>",
        f"<h1>Tokens</h1><p>Inputs of at most {head.max_seq_length:,} tokens for {escape(printable(model_id))}. "
        f"{escape(_in_words(head))}</p>",
        *(f"<p class='warning'>{escape(note)}.</p>" for note in notes),
        table_of({split: _numbers(each) for split, each in counts.items()}),
    ]
    for split, each in counts.items():
        chart = draw_lengths(length_histogram(each.lengths, shown), shown, head.max_seq_length)
        parts.append(f"<h2>{split}</h2>{chart}")
        lost = "Rows whose end was cut off" if head.task != "ner" else "Rows with a word whose end was cut off"
        parts.append(list_rows(lost, each.cut, [f"{split}.jsonl:{row}" for row in each.cut_rows]))
        named = ", ".join(f"{split}.jsonl:{row} ({tokens:,})" for tokens, row in each.longest_rows[:10])
        parts.append(f"<p class='soft'>Longest rows, in tokens: {named}.</p>")
    parts.append(f"<h2>First inputs</h2><p>One cell per token. {_what_is_learned(head)}</p>")
    table = TokenTable(folder / "train.arrow")
    parts += [_preview(table[place], head, tokenizer) for place in range(min(_PREVIEW_ROWS, len(table)))]
    (folder / PAGE_FILE).write_text("\n".join(parts) + "\n</html>\n", encoding="utf-8", errors="backslashreplace")


def _in_words(head: Head) -> str:
    if head.task == "ner":
        return "A longer row of words becomes several inputs, parted between words."
    if "text_pair" not in head.columns:
        return "A longer text loses its end."
    joined = "a line break, since the tokenizer has no mark of its own" if head.pair_joiner else "the tokenizer's mark"
    return f"A pair that is longer loses the end of its longer text; the two are parted by {joined}."


def _what_is_learned(head: Head) -> str:
    if head.task == "ner":
        return "<span class='loss'>Marked</span> tokens carry their word's tag."
    return "What is learned stands above."


def _numbers(counts: TokenCounts) -> dict[str, float]:
    return {**counts.numbers(), "cut_share": counts.cut / max(1, counts.rows)}


def _preview(item: Mapping[str, Any], head: Head, tokenizer: Any) -> str:
    ids, labels, size = item["input_ids"][:_PREVIEW_TOKENS], item["labels"], len(item["input_ids"])
    more = [f" … {size - len(ids):,} more"] if size > len(ids) else []
    texts = [escape(printable(text) if text.strip() else text) for text in piece_texts(ids, tokenizer)]
    if head.task != "ner":
        title = f"{size:,} tokens; learned: {_target(labels, head)}"
        return f"<p class='soft'>{escape(title)}</p>{draw_cells([f'<span>{text}</span>' for text in texts] + more)}"
    cells = [
        f"<span>{text}</span>"
        if label == IGNORED_LABEL
        else f"<span class=loss title='{escape(head.labels[label])}'>{text}"
        + (f"<sub>{escape(printable(head.labels[label]))}</sub>" if label else "")
        + "</span>"
        for text, label in zip(texts, labels, strict=False)
    ]
    return f"<p class='soft'>{size:,} tokens</p>{draw_cells(cells + more)}"


def _target(learned: Any, head: Head) -> str:
    if head.task == "regression":
        return f"{learned:.4g} (normalised)"
    if head.task == "single_label":
        return printable(head.labels[learned])
    found = [label for label, value in zip(head.labels, learned, strict=True) if value]
    return ", ".join(map(printable, found)) or "no label"
