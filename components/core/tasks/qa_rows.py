"""The data contract of a question-answer row: what is accepted, what is put right, what is refused."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from components.core.tasks.fields import (
    BadFieldError,
    Parser,
    check_text,
    missing,
    parse_fields,
    parse_id,
    parse_text,
    type_name,
)
from components.core.tasks.seam import Finding, Row


def parse_qa_row(raw: Mapping[str, Any]) -> tuple[Row | None, list[Finding]]:
    """Check one SQuAD-like row and give it back in canonical form, or None and every reason why not."""
    parsers: dict[str, Parser] = {
        "context": parse_text,
        "question": parse_text,
        "title": _parse_title,
        "answers": _parse_answers,
        "id": parse_id,
    }
    values, findings = parse_fields(raw, parsers)
    if values is None:
        return None, findings
    texts, starts, answer_findings = _place_answers(values["context"], *values["answers"])
    row: Row = {"id": values.get("id") or _content_id(values["context"], values["question"], texts)}
    if "title" in values:
        row["title"] = values["title"]
    row |= {
        "context": values["context"],
        "question": values["question"],
        "answers": {"text": texts, "answer_start": starts},
    }
    return row, findings + answer_findings


def _parse_title(raw: Mapping[str, Any], field: str, findings: list[Finding]) -> str | None:
    return None if raw.get(field) is None else check_text(raw[field], field)


def _parse_answers(raw: Mapping[str, Any], field: str, findings: list[Finding]) -> tuple[list[str], list[int], bool]:
    """Texts and starts of the answers (-1 where none is given), and whether the row says that there are none."""
    impossible = _parse_impossible(raw)
    value = raw.get(field)
    if value is None:
        if impossible:
            return [], [], True
        raise missing(raw, field, "texts with their starts")
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        with suppress(ValueError):  # a JSON value inside a CSV column
            value = json.loads(value)
    starts: Any = None
    if isinstance(value, dict):
        if "text" not in value:
            raise BadFieldError("missing_field", "answers.text: is missing; it must be a list of texts")
        value, starts = value["text"], value.get("answer_start")
        if not isinstance(value, list):
            raise BadFieldError("wrong_type", f"answers.text: expected a list of texts, found {type_name(value)}")
    elif isinstance(value, str):
        value = [value]
    elif not isinstance(value, list):
        raise BadFieldError(
            "wrong_type", f'answers: expected {{"text": [...], "answer_start": [...]}}, found {type_name(value)}'
        )
    texts = [check_text(text, f"answers.text[{number}]") for number, text in enumerate(value)]
    starts = _check_starts(starts, len(texts))
    if impossible and any(text.strip() for text in texts):
        raise BadFieldError("contradiction", "is_impossible is true but answers hold text; correct one of them")
    if texts and not impossible and not any(text.strip() for text in texts):
        raise BadFieldError(
            "blank_answers", "answers: only whitespace. Remove them and set is_impossible if there is no answer."
        )
    if impossible is False and not texts:
        raise BadFieldError("contradiction", "is_impossible is false but there is no answer; correct one of them")
    return texts, starts, impossible is True


def _parse_impossible(raw: Mapping[str, Any]) -> bool | None:
    value = raw.get("is_impossible")
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)) and value in (0, 1):
        return bool(value)
    raise BadFieldError("wrong_type", f"is_impossible: expected true or false, found {type_name(value)}")


def _check_starts(starts: Any, count: int) -> list[int]:
    if starts is None:
        return [-1] * count
    if not isinstance(starts, list):
        raise BadFieldError(
            "wrong_type", f"answers.answer_start: expected a list of whole numbers, found {type_name(starts)}"
        )
    if len(starts) != count:
        raise BadFieldError("wrong_type", f"answers: {count} texts but {len(starts)} starts; give one start per text")
    for start in starts:
        whole = isinstance(start, int) or (isinstance(start, float) and start.is_integer())
        if not whole or isinstance(start, bool):
            raise BadFieldError("wrong_type", f"answers.answer_start: expected whole numbers, found {type_name(start)}")
    return [int(start) for start in starts]


def _place_answers(
    context: str, texts: list[str], starts: list[int], impossible: bool
) -> tuple[list[str], list[int], list[Finding]]:
    """Strip the answers, leave blank ones out, and find each in the context (-1: not in it)."""
    kept: list[str] = []
    placed: list[int] = []
    kinds: dict[str, Finding] = {}

    def note(kind: str, message: str) -> None:
        kinds.setdefault(kind, Finding(kind, "warning", message))

    for text, given in zip(texts, starts, strict=True):
        answer = text.strip()
        if not answer:
            if not impossible:
                note("blank_answer_left_out", "answers: a blank answer among others was left out")
            continue
        start = given + text.index(answer) if given >= 0 else -1
        if not context.startswith(answer, start) or start < 0:
            found = _nearest(context, answer, start)
            if found < 0:
                note("answer_not_in_context", "answers: a text does not occur in the context; the row is kept")
            elif given >= 0:
                note("answer_start_corrected", "answers.answer_start: did not point at the text and was corrected")
            start = found
        kept.append(answer)
        placed.append(start)
    return kept, placed, list(kinds.values())


def _nearest(context: str, answer: str, start: int) -> int:
    """Where the answer stands in the context nearest to a position; -1 if it does not."""
    start = max(start, 0)
    after, before = context.find(answer, start), context.rfind(answer, 0, start + len(answer))
    if after < 0 or before < 0:
        return max(after, before)
    return after if after - start < start - before else before


def _content_id(context: str, question: str, texts: list[str]) -> str:
    content = json.dumps([context, question, texts], ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()[:24]
