"""What the endpoint says for the four tasks with a head, made by plain rules in place of a model.

It stands in for GET /task, GET /v1/models and POST /v1/models/<name>:predict, in their exact shapes.
"""

import re
from typing import Any

NAME = "llm-api"
SINGLE = ("bridge", "company", "museum", "novel", "person", "river", "school", "ship", "town", "other", "none of these")
MULTI = {"company": 0.5, "goods": 0.35, "number": 0.8, "person": 0.45, "place": 0.5, "time": 0.62}
TYPES = ("PER", "LOC", "ORG", "WORK")
LONGEST = 400
"""Characters; longer texts are said to have been cut."""


def task_body(task: str, pair: bool = False) -> dict[str, Any]:
    """The answer of GET /task."""
    tags = ["O", *(f"{prefix}-{name}" for name in sorted(TYPES) for prefix in "BI")]
    labels = {"single_label": list(SINGLE), "multi_label": list(MULTI), "ner": tags}
    return {
        "task": task,
        "labels": labels.get(task, []),
        "thresholds": list(MULTI.values()) if task == "multi_label" else None,
        "scale": {"mean": 5.0, "std": 1.5, "minimum": 0.5, "maximum": 9.5} if task == "regression" else None,
        "max_seq_length": 128,
        "pair": pair,
        "model": f"starter-{task.replace('_', '-')}",
        "revision": "1",
        "engine": "onnxruntime",
    }


def predictions(task: str, instances: list[dict[str, Any]]) -> dict[str, Any]:
    """The answer of a prediction."""
    rules = {"single_label": _single_label, "multi_label": _multi_label, "regression": _regression, "ner": _ner}
    found = [rules[task](instance["text"]) | {"cut": len(instance["text"]) > LONGEST} for instance in instances]
    return {"predictions": found, "model": f"starter-{task.replace('_', '-')}", "revision": "1", "trace_id": "t-1"}


def _single_label(text: str) -> dict[str, Any]:
    """The first label that stands in the text as a word, else the last; the others share what is left unevenly."""
    label = next((name for name in SINGLE if re.search(rf"\b{name}\b", text.lower())), SINGLE[-1])
    others = [name for name in SINGLE if name != label]
    weights = {name: 0.5 ** (place + 1) for place, name in enumerate(others)}
    rest = 0.28 / sum(weights.values())
    probabilities = {name: 0.72 if name == label else weights[name] * rest for name in SINGLE}
    return {"label": label, "score": 0.72, "probabilities": probabilities}


def _multi_label(text: str) -> dict[str, Any]:
    """Labels that stand in the text get a high probability, the others one below their threshold."""
    probabilities = {
        name: 0.97 - 0.01 * place if name in text.lower() else least * 0.6
        for place, (name, least) in enumerate(MULTI.items())
    }
    return {"labels": [name for name in MULTI if probabilities[name] >= MULTI[name]], "probabilities": probabilities}


def _regression(text: str) -> dict[str, Any]:
    """Half of the number of words."""
    return {"value": len(text.split()) / 2}


def _ner(text: str) -> dict[str, Any]:
    """Runs of words with a capital, of each type in turn."""
    words = list(re.finditer(r"\w+|[^\w\s]", text))
    runs = list(re.finditer(r"[A-Z]\w+(?: [A-Z]\w+)*", text))
    tags, entities = ["O"] * len(words), []
    for place, run in enumerate(runs):
        inside = [number for number, word in enumerate(words) if run.start() <= word.start() < run.end()]
        name = TYPES[place % len(TYPES)]
        for number in inside:
            tags[number] = f"{'B' if number == inside[0] else 'I'}-{name}"
        entities.append(
            {
                "type": name,
                "text": run.group(),
                "start_token": inside[0],
                "end_token": inside[-1] + 1,
                "start": run.start(),
                "end": run.end(),
                "score": 0.9,
            }
        )
    return {"tags": tags, "entities": entities}
