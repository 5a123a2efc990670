"""The official SQuAD nesting (article > paragraphs > questions), flattened to one row per question."""

from collections.abc import Iterator
from typing import Any

from components.core.data.formats.parsed import Parsed, bad_row
from components.core.tasks.seam import Finding


def is_article(value: dict[str, Any]) -> bool:
    """True for an object that holds paragraphs instead of being a row."""
    return isinstance(value.get("paragraphs"), list)


def read_article(article: dict[str, Any], before: int, findings: tuple[Finding, ...]) -> Iterator[Parsed]:
    """Rows of one article, numbered from `before` + 1; `findings` go with the first."""
    row = before
    for paragraph in article["paragraphs"]:
        questions = paragraph.get("qas") if isinstance(paragraph, dict) else None
        if not isinstance(questions, list):
            row += 1
            yield bad_row(row, "wrong_type", "a paragraph needs `context` and a list `qas`")
            continue
        for question in questions:
            row += 1
            if not isinstance(question, dict):
                yield bad_row(row, "wrong_type", "an entry of `qas` must be an object")
                continue
            yield Parsed(row, _flatten(article, paragraph, question), findings)
            findings = ()


def _flatten(article: dict[str, Any], paragraph: dict[str, Any], question: dict[str, Any]) -> dict[str, Any]:
    flat = {name: value for name, value in question.items() if name not in ("answers", "plausible_answers")}
    flat["title"] = article.get("title", "")
    flat["context"] = paragraph.get("context")
    answers = question.get("answers", [])
    if isinstance(answers, list) and all(isinstance(answer, dict) for answer in answers):
        flat["answers"] = {
            "text": [answer.get("text") for answer in answers],
            "answer_start": [answer.get("answer_start") for answer in answers],
        }
    else:
        flat["answers"] = answers
    return flat
