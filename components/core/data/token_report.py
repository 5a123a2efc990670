"""The report on token ids: lengths against the limit, rows that were cut or dropped, and what carries the loss."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from components.core.data.report.style import STYLE
from components.core.data.token_counts import SplitCounts
from components.core.data.token_page import (
    TOKEN_STYLE,
    draw_cells,
    draw_lengths,
    length_histogram,
    list_rows,
    piece_texts,
    table_of,
)
from components.core.recipe import TokensConfig
from components.core.tasks import Prompt


def write_token_report(
    folder: Path, counts: Mapping[str, SplitCounts], maximum: int, tokens: TokensConfig, prompt: Prompt, tokenizer: Any
) -> None:
    """Write report.json (numbers) and report.html (the same with plots and the first rows, token by token)."""
    splits: dict[str, dict[str, Any]] = {
        split: split_counts.numbers(maximum)
        | {
            "histogram": length_histogram(split_counts.lengths, maximum),
            "cut_rows": [f"{split_counts.file}:{row}" for row in split_counts.cut_rows],
            "dropped_rows": [f"{split_counts.file}:{row}" for row in split_counts.dropped_rows],
        }
        for split, split_counts in counts.items()
    }
    report = {"max_seq_length": maximum, "tokens": tokens.model_dump(), "splits": splits}
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    in_messages = prompt.format == "messages"
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Tokens</title>",
        f"<style>{STYLE}{TOKEN_STYLE}</style>",
        f"<h1>Tokens</h1><p>Sequences of at most {maximum} tokens. {_in_words(tokens, prompt)}</p>",
        table_of({split: split_counts.numbers(maximum) for split, split_counts in counts.items()}),
    ]
    for split, split_counts in counts.items():
        parts.append(f"<h2>{split}</h2>{draw_lengths(splits[split]['histogram'], maximum, maximum)}")
        cut = "Oldest turns, or the end of the last answer, left out to fit" if in_messages else "Context cut to fit"
        parts.append(list_rows(cut, split_counts.cut, splits[split]["cut_rows"]))
        if not split_counts.prompts_only:
            dropped = "Dropped: question and answer do not fit, or no token would carry the loss"
            parts.append(list_rows(dropped, split_counts.dropped, splits[split]["dropped_rows"]))
    parts.append("<h2>First rows</h2><p>One cell per token; <span class='loss'>marked</span> tokens are learned.</p>")
    parts += [_preview(row, ids, labels, tokenizer) for row, ids, labels in counts["train"].preview]
    (folder / "report.html").write_text("\n".join(parts) + "\n</html>\n", encoding="utf-8")


def _in_words(tokens: TokensConfig, prompt: Prompt) -> str:
    cut = "lose their oldest turns" if prompt.format == "messages" else "have their context cut around the answer"
    too_long = cut if tokens.on_too_long == "window" else "are dropped"
    packed = "Several rows share a sequence." if tokens.packing else "Each row has its own sequence."
    layout = "in the tokenizer's chat template" if prompt.chat_template else "as plain text, without a chat template"
    return f"Rows that are too long {too_long}. {packed} Prompts are written {layout}."


def _preview(row: int, ids: Sequence[int], labels: Sequence[int], tokenizer: Any) -> str:
    """One example, token by token; a long one without its middle, so that the learned end stays visible."""
    cells = [
        f"<span{'' if label == -100 else ' class=loss'}>{escape(text)}</span>"
        for text, label in zip(piece_texts(ids, tokenizer), labels, strict=True)
    ]
    return f"<p class='soft'>train.jsonl:{row}, {len(ids)} tokens</p>{draw_cells(cells)}"
