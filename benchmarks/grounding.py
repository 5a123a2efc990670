"""Evidence spans on SQuAD 1 and 2, XQuAD, COVID-QA and published predictions: ours beside simple ways, in one run.

    python -m benchmarks.grounding [--rows N]

Span F1 counts code points against the nearest gold answer, 0 where nothing is shown. SQuAD's offsets mostly name the
first occurrence, whatever the question, so places are compared where the answer occurs once; the choice among several
is measured on XQuAD, where people marked the place, and on two paragraphs joined, of which one belongs to the question.
"""

import argparse
import json
import random
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.grounding_measures import (
    DATA,
    FINDERS,
    Finder,
    Row,
    measure_choice,
    measure_joined,
    measure_languages,
    measure_other_questions,
    measure_predictions,
    measure_refusals,
    measure_shapes,
    read_rows,
)

RESULT = Path(__file__).parent / "results" / "grounding.json"


def milliseconds(finder: Finder, cases: list[tuple[str, str, str]], repeats: int) -> float:
    """Median over the cases of the best of some turns, in processor time."""
    times = []
    for case in cases:
        best = float("inf")
        for _ in range(repeats):
            start = time.process_time()
            finder(*case)
            best = min(best, time.process_time() - start)
        times.append(best * 1000)
    return round(median(times), 4)


def measure_speed(rows: list[Row]) -> dict[str, Any]:
    """Contexts of 2 kB, of COVID-QA (5k to 45k characters here), of 2 MB, and 2 MB of text made to be slow."""
    near = sorted(rows, key=lambda row: abs(len(row["context"].encode()) - 2000))[:30]
    covid = read_rows("covidqa_long")
    big = "\n".join(row["context"] for row in rows)
    big = (big * (2_000_000 // len(big) + 1))[:2_000_000]
    hostile = {"one letter": "e " * 1_000_000, "one Chinese character": "中" * 2_000_000, "two words": "a b " * 500_000}
    cases: dict[str, tuple[list[tuple[str, str, str]], int]] = {
        "2 kB": ([(r["answers"]["text"][0], r["context"], r["question"]) for r in near], 7),
        "2 kB, The answer is X.": (
            [(f"The answer is {r['answers']['text'][0]}.", r["context"], r["question"]) for r in near], 7
        ),
        "COVID-QA": ([(r["answers"]["text"][0], r["context"], r["question"]) for r in covid], 3),
        "2 MB": ([(r["answers"]["text"][0], big, r["question"]) for r in rows[:3]], 1),
        "2 MB, The answer is X.": (
            [(f"The answer is {r['answers']['text'][0]}.", big, r["question"]) for r in rows[:3]], 1
        ),
    }  # fmt: skip
    cases |= {f"2 MB of {name}": ([((text[:1000] + "z"), text, text[:50])], 1) for name, text in hostile.items()}
    result: dict[str, Any] = {}
    for name, (calls, repeats) in cases.items():
        sides = ["ours", "find, any case"] + (["difflib"] if name.startswith("2 kB") else [])
        result[name] = {side: milliseconds(FINDERS[side], calls, repeats) for side in sides}
    return result


def print_result(result: dict[str, Any]) -> None:
    print(f"\nSQuAD 1 and 2, {result['shapes']['rows']} answers that occur once: supported / span F1 / exact start")
    for shape, sides in result["shapes"]["shapes"].items():
        cells = [f"{name} {n['supported']:.3f} {n['f1']:.3f} {n['start']:.3f}" for name, n in sides.items()]
        print(f"  {shape:<36} " + " | ".join(cells))
    print("answers that must not be supported: share refused")
    for case, sides in result["refused"].items():
        print(f"  {case:<36} " + " | ".join(f"{name} {value}" for name, value in sides.items()))
    print(f"answers to another question on the same context, supported: {result['other_question']}")
    print("published predictions")
    for name, numbers in result["predictions"].items():
        print(f"  {name:<36} " + " | ".join(f"{key} {value}" for key, value in numbers.items()))
    print("XQuAD, span F1")
    for language, numbers in result["xquad"]["languages"].items():
        print(f"  {language:<4} " + " | ".join(f"{key} {value}" for key, value in numbers.items()))
    print(f"right occurrence among several, XQuAD: {result['xquad']['choice']}")
    print(f"the same on SQuAD, by its offsets:     {result['squad_choice']}")
    print(f"right paragraph of two joined, SQuAD:  {result['joined']}")
    print("milliseconds of processor time")
    for case, sides in result["milliseconds"].items():
        print(f"  {case:<36} " + " | ".join(f"{name} {value}" for name, value in sides.items()))


def main() -> int:
    parser = argparse.ArgumentParser(description="Grounding, ours against simple ways.")
    parser.add_argument("--rows", type=int, default=1000, help="answerable SQuAD rows of each version")
    arguments = parser.parse_args()
    if not DATA.is_dir():
        print(
            f"error: no data at {DATA}. The benchmark needs the shared data sets beside the repository.",
            file=sys.stderr,
        )
        return 2
    squad = [row for name in ("squad_v1", "squad_v2") for row in read_rows(name) if row["answers"]["text"]]
    rows = random.Random(0).sample(squad, min(len(squad), 2 * arguments.rows))
    result = {
        "shapes": measure_shapes(rows),
        "refused": measure_refusals(rows),
        "other_question": measure_other_questions(squad),
        "predictions": measure_predictions(),
        "xquad": measure_languages(),
        "squad_choice": measure_choice([row for row in squad if row["context"].count(row["answers"]["text"][0]) > 1]),
        "joined": measure_joined(rows),
        "milliseconds": measure_speed(rows),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print_result(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
