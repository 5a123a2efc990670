"""Measures of grounding: gold answers, answers that must be refused, published predictions, languages, occurrences."""

import difflib
import json
import random
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "llm-endpoint"))
from llm_endpoint.grounding import ground  # noqa: E402

DATA = ROOT.parent / "shared" / "data"
NO_ANSWER = "unanswerable"
Row = dict[str, Any]
Spans = list[tuple[int, int]]
Finder = Callable[[str, str, str], Spans]

SHAPES: dict[str, str] = {
    "as it is": "{}", "lower case": "{}", "upper case": "{}", "article": "the {}", "quoted": "“{}”.",
    "The answer is X.": "The answer is {}.",
    "According to the context, it was X.": "According to the context, it was {}.",
}  # fmt: skip
SENTENCES = {
    "ar": "الإجابة هي {}.", "de": "Die Antwort ist {}.", "el": "Η απάντηση είναι {}.", "en": "The answer is {}.",
    "es": "La respuesta es {}.", "hi": "उत्तर {} है।", "ro": "Răspunsul este {}.", "ru": "Ответ: {}.", "th": "คำตอบคือ{}",
    "tr": "Cevap: {}.", "vi": "Câu trả lời là {}.", "zh": "答案是{}。",
}  # fmt: skip


def read_rows(name: str, splits: Iterable[str] = ("train", "validation", "test")) -> list[Row]:
    lines = (line for split in splits for line in (DATA / name / f"{split}.jsonl").open(encoding="utf-8"))
    return [json.loads(line) for line in lines]


def shaped(shape: str, answer: str) -> str:
    if shape == "article" and answer.lower().startswith(("a ", "an ", "the ")):
        return answer
    change = {"lower case": str.lower, "upper case": str.upper}.get(shape, str)
    return SHAPES[shape].format(change(answer))


def ours(answer: str, context: str, question: str) -> Spans:
    return [(span.start, span.end) for span in ground(answer, context, question, NO_ANSWER).spans]


def find(answer: str, context: str, question: str) -> Spans:
    start = context.find(answer) if answer else -1
    return [] if start < 0 else [(start, start + len(answer))]


def find_any_case(answer: str, context: str, question: str) -> Spans:
    match = re.search(re.escape(answer), context, re.IGNORECASE) if answer else None
    return [match.span()] if match else []


def longest_block(answer: str, context: str, question: str) -> Spans:
    """Difflib's longest common block, where it is at least half of the answer."""
    matcher = difflib.SequenceMatcher(None, context.lower(), answer.lower(), autojunk=False)
    block = matcher.find_longest_match()
    return [(block.a, block.a + block.size)] if answer and 2 * block.size >= len(answer) else []


def random_span(answer: str, context: str, question: str) -> Spans:
    start = random.Random(context[:50] + question).randrange(max(1, len(context) - len(answer)))
    return [(start, min(len(context), start + max(1, len(answer))))]


FINDERS: dict[str, Finder] = {
    "ours": ours, "str.find": find, "find, any case": find_any_case, "difflib": longest_block, "random": random_span,
}  # fmt: skip


def golds(row: Row) -> Spans:
    answers = row["answers"]
    return [(at, at + len(text)) for text, at in zip(answers["text"], answers["answer_start"], strict=True)]


def span_f1(spans: Spans, gold: Spans) -> float:
    shown = sum(end - start for start, end in spans)
    best = 0.0
    for low, high in gold:
        common = sum(max(0, min(end, high) - max(start, low)) for start, end in spans)
        best = max(best, 2 * common / (shown + high - low))
    return best


def touches(spans: Spans, gold: Spans) -> bool:
    return any(start < high and low < end for start, end in spans[:1] for low, high in gold)


def share(flags: Iterable[bool]) -> float:
    values = list(flags)
    return round(sum(values) / len(values), 4)


def measure_shapes(rows: list[Row]) -> dict[str, Any]:
    """Gold answers in several shapes: supported, span F1, exact start (answers that occur once)."""
    once = [row for row in rows if row["context"].count(row["answers"]["text"][0]) == 1]
    table: dict[str, Any] = {}
    for shape in SHAPES:
        for name, finder in FINDERS.items():
            found = [
                (finder(shaped(shape, row["answers"]["text"][0]), row["context"], row["question"]), golds(row))
                for row in once
            ]
            table.setdefault(shape, {})[name] = {
                "supported": share(bool(spans) for spans, _ in found),
                "f1": round(sum(span_f1(*pair) for pair in found) / len(found), 4),
                "start": share(bool(spans) and spans[0][0] in {low for low, _ in gold} for spans, gold in found),
            }
    return {"rows": len(once), "shapes": table}


def absent_answers(rows: list[Row], rng: random.Random) -> list[tuple[Row, str]]:
    """Each row with the answer of another one that its context does not contain, whatever the case."""
    pairs = [(row, rng.choice(rows)["answers"]["text"][0]) for row in rows]
    return [(row, answer) for row, answer in pairs if answer.lower().strip(" .") not in row["context"].lower()]


def with_another_digit(rows: list[Row], rng: random.Random) -> list[tuple[Row, str]]:
    """Answers with a number in which one digit is changed, where the context lacks the new number."""
    pairs = []
    for row in rows:
        answer = row["answers"]["text"][0]
        digits = [index for index, char in enumerate(answer) if char in "0123456789"]
        if digits:
            at = rng.choice(digits)
            changed = answer[:at] + str((int(answer[at]) + rng.randint(1, 9)) % 10) + answer[at + 1 :]
            numbers = re.findall(r"\d+", changed)
            if any(not re.search(rf"(?<!\d){number}(?!\d)", row["context"]) for number in numbers):
                pairs.append((row, changed))
    return pairs


def measure_refusals(rows: list[Row]) -> dict[str, Any]:
    """Share of answers that are not supported, of those that must not be."""
    rng = random.Random(0)
    absent = absent_answers(rows, rng)
    cases: dict[str, list[tuple[Row, str]]] = {
        "absent": absent,
        "absent, lower case": [(row, answer.lower()) for row, answer in absent],
        "absent, The answer is X.": [(row, f"The answer is {answer}.") for row, answer in absent],
        "another digit": with_another_digit(rows, rng),
    }
    return {
        case: {"rows": len(pairs)}
        | {
            name: share(not finder(answer, row["context"], row["question"]) for row, answer in pairs)
            for name, finder in FINDERS.items()
        }
        for case, pairs in cases.items()
    }


def measure_other_questions(rows: list[Row]) -> dict[str, Any]:
    """Answers to another question on the same context: they are in the text, so they count as supported."""
    by_context: dict[str, list[Row]] = {}
    for row in rows:
        by_context.setdefault(row["context"], []).append(row)
    pairs = [(row, group[number - 1]) for group in by_context.values() for number, row in enumerate(group) if number]
    found = [bool(ours(other["answers"]["text"][0], row["context"], row["question"])) for row, other in pairs]
    return {"rows": len(pairs), "supported": share(found)}


def measure_predictions() -> dict[str, Any]:
    """Published systems: is what they answered supported, and is "supported" the same as "has an answer"?"""
    result = {}
    for path in sorted((DATA / "metrics" / "squad_predictions").glob("*.jsonl")):
        version = "squad_v1" if "v1.1" in path.name else "squad_v2"
        rows = {row["id"]: row for row in read_rows(version, ["test"])}
        lines = [json.loads(line) for line in path.open(encoding="utf-8")]
        answered = [(rows[line["id"]], line) for line in lines]
        spans = [ours(line["prediction"] or NO_ANSWER, row["context"], row["question"]) for row, line in answered]
        said = [bool(line["prediction"]) for line in lines]
        has = [bool(row["answers"]["text"]) for row, _ in answered]
        right = [
            span_f1(shown, golds(row))
            for shown, (row, line) in zip(spans, answered, strict=True)
            if line["exact"] and shown
        ]
        result[path.stem] = {
            "answered": sum(said),
            "answers_supported": share(bool(shown) for shown, flag in zip(spans, said, strict=True) if flag),
            "supported_is_answered": share(bool(shown) == flag for shown, flag in zip(spans, said, strict=True)),
            "supported_is_has_answer": share(bool(shown) == flag for shown, flag in zip(spans, has, strict=True)),
            "answered_is_has_answer": share(a == b for a, b in zip(said, has, strict=True)),
            "f1_of_exact_matches": round(sum(right) / len(right), 4),
        }
    return result


def measure_languages() -> dict[str, Any]:
    """XQuAD: gold answers as they are and in a sentence of their language, absent ones, and the choice of the place."""
    rng = random.Random(0)
    rows = read_rows("xquad")
    result: dict[str, Any] = {}
    several: list[Row] = []
    for language, sentence in SENTENCES.items():
        mine = [row for row in rows if row["lang"] == language]
        once = [row for row in mine if row["context"].count(row["answers"]["text"][0]) == 1]
        several += [row for row in mine if row not in once]
        numbers: dict[str, Any] = {"rows": len(once)}
        for name in ("ours", "str.find"):
            for shape, wrap in (("as it is", "{}"), ("in a sentence", sentence)):
                found = [
                    FINDERS[name](wrap.format(row["answers"]["text"][0]), row["context"], row["question"])
                    for row in once
                ]
                f1 = sum(span_f1(spans, golds(row)) for spans, row in zip(found, once, strict=True)) / len(once)
                numbers[f"{name}, {shape}"] = round(f1, 4)
        absent = [pair for _ in range(3) for pair in absent_answers(mine, rng)]
        said = [sentence.format(answer) for _, answer in absent]
        spans_of = [ours(text, row["context"], row["question"]) for text, (row, _) in zip(said, absent, strict=True)]
        numbers |= {"absent": len(absent), "absent_refused": share(not spans for spans in spans_of)}
        result[language] = numbers
    return {"languages": result, "choice": measure_choice(several)}


def measure_choice(rows: list[Row]) -> dict[str, Any]:
    """Answers that occur several times: is the right occurrence the one that is shown?"""
    return {"rows": len(rows)} | {
        name: share(
            touches(finder(row["answers"]["text"][0], row["context"], row["question"]), golds(row)) for row in rows
        )
        for name, finder in FINDERS.items()
        if name != "random"
    }


def joined_paragraphs(rows: list[Row]) -> list[Row]:
    """Two paragraphs on different subjects that both contain the answer; the question's own comes second."""
    contexts = {row["context"]: row["title"] for row in rows}
    joined = []
    for row in rows:
        answer = row["answers"]["text"][0]
        word = re.compile(rf"(?<!\w){re.escape(answer)}(?!\w)")
        other = next((c for c, title in contexts.items() if title != row["title"] and word.search(c)), None)
        if other:
            at = len(other) + 2
            whole = {"text": [row["context"]], "answer_start": [at]}
            joined.append(row | {"context": f"{other}\n\n{row['context']}", "answers": whole, "said": answer})
    return joined


def measure_joined(rows: list[Row]) -> dict[str, Any]:
    pairs = joined_paragraphs(rows)
    return {"rows": len(pairs)} | {
        name: share(touches(finder(row["said"], row["context"], row["question"]), golds(row)) for row in pairs)
        for name, finder in FINDERS.items()
        if name != "random"
    }
