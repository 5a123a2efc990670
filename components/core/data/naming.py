"""Names of files and columns: safe to print, mapped to ours, and guessed at when they are missing."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

_SYNONYMS = {
    "context": ("passage", "paragraph", "document", "text", "article", "body", "content", "background", "story"),
    "question": ("query", "prompt", "instruction", "input", "q"),
    "answers": ("answer", "response", "output", "target", "label", "a", "completion", "answer_text"),
    "id": ("qid", "question_id", "uid", "guid", "example_id", "_id"),
    "title": ("topic", "heading", "name"),
    "text": (
        "sentence",
        "sentence1",
        "utterance",
        "premise",
        "review",
        "content",
        "comment",
        "query",
        "message",
        "tweet",
    ),
    "text_pair": ("sentence2", "hypothesis", "text2", "text_b"),
    "label": ("intent", "class", "category", "target", "sentiment", "labels", "tag", "topic"),
    "labels": ("label", "intents", "classes", "categories", "tags", "emotions", "topics"),
    "score": ("label", "target", "rating", "value", "similarity", "similarity_score", "stars", "labels"),
    "tokens": ("words", "token", "sentence"),
    "ner_tags": ("tags", "labels", "ner", "entities", "tag"),
    "messages": ("conversations", "conversation", "chat", "turns", "dialog", "dialogue"),
    "prompt": ("question", "instruction"),
    "is_impossible": ("impossible", "unanswerable", "no_answer"),
}


def printable(name: str) -> str:
    """A name that is safe in a message and in a log line."""
    return name if name.isprintable() else ascii(name)


def rename(raw: dict[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """Apply `data.columns` ({ours: theirs}) to one row; a column of theirs that is mapped loses its old name."""
    if not columns:
        return raw
    taken = set(columns.values())
    renamed = {name: value for name, value in raw.items() if name not in taken and name not in columns}
    return renamed | {ours: raw[theirs] for ours, theirs in columns.items() if theirs in raw}


def suggest(missing: Sequence[str], found: Sequence[str]) -> dict[str, str]:
    """A `data.columns` mapping for missing columns, by synonyms and similar names."""
    free = {name.lower(): name for name in found}
    mapping = {}
    for ours in missing:
        known = [name for name in _SYNONYMS.get(ours, ()) if name in free]
        close = known or difflib.get_close_matches(ours, free, n=1, cutoff=0.6)
        if close:
            mapping[ours] = free.pop(close[0])
    return mapping


def missing_columns_message(missing: Sequence[str], expected: Sequence[str], found: Sequence[str]) -> str:
    """What is missing, what is there, and how to map it."""
    shown = ", ".join(printable(name[:40]) for name in found[:12]) or "none"
    # whoever maps the first sentence of a pair wants the second one, too
    free = [name for name in found if name not in expected]
    pair = ["text_pair"] if "text" in missing and set(free) & set(_SYNONYMS["text_pair"]) else []
    mapping = suggest([*missing, *pair], free)
    text = f"column {', '.join(missing)} is missing; expected {', '.join(expected)}, found {shown}"
    if not mapping:
        return f"{text}. Map the names with data.columns, for example data.columns={{{missing[0]}: <their name>}}"
    pairs = ", ".join(f"{ours}: {printable(theirs[:40])}" for ours, theirs in mapping.items())
    return f"{text}. Try data.columns={{{pairs}}}"
