"""What the loopback server says that stands in for a loop's service LLM: a judge and a writer of rows without a model.

Both are functions of what they are sent. As a judge it scores by the words that candidate and reference share; as a
writer it makes conversations of the seed's kind, with other invented names and other numbers.
"""

import json
import random
import re

from support.service_llm_server import Call

from components.core.metrics import f1
from components.starter.names import draw_name

_TEXT = r"<<<{} (?P<mark>\w+)\n(?P<text>.*?)\n{} (?P=mark)>>>"
_SEED = re.compile(r"<seed>(\[.*?\])</seed>", re.DOTALL)
_COUNT = re.compile(r"Write (\d+) new example")
_WORD = re.compile(r"\b(?:\d+|[A-Z][a-z]{4,})\b")


def scripted(call: Call, number: int) -> str:
    """Answer as the judge, or as the writer of rows, whichever is asked."""
    return _rows(call, number) if "<seed>" in call.prompt else _judgement(call)


def overlap(candidate: str, reference: str) -> float:
    """Points of 100: how many words the two share."""
    return round(100 * f1(reference, candidate), 1)


def _judgement(call: Call) -> str:
    score = overlap(_between(call.prompt, "CANDIDATE ANSWER"), _between(call.prompt, "REFERENCE ANSWER"))
    said = {"reason": "words in common", "score": score}
    return json.dumps({"similarity_assessment": said, "precision_assessment": said})


def _between(prompt: str, name: str) -> str:
    found = re.search(_TEXT.format(name, name), prompt, re.DOTALL)
    assert found, f"the judge's prompt names no {name}"
    return found["text"]


def _rows(call: Call, number: int) -> str:
    seed = _SEED.search(call.prompt)
    count = _COUNT.search(call.prompt)
    assert seed
    assert count
    turns = json.loads(seed[1])
    source = random.Random(f"{number} {seed[1]}")
    return json.dumps({"examples": [{"messages": _varied(turns, source)} for _ in range(int(count[1]))]})


def _varied(turns: list[dict[str, str]], source: random.Random) -> list[dict[str, str]]:
    """The same conversation with another name and number wherever the answer repeats one of the question."""
    said, answered = (set(_WORD.findall(turns[place]["content"])) for place in (0, -1))
    words = {text: str(source.randint(1, 999)) if text.isdigit() else invented_name(source) for text in said & answered}
    return [
        {**turn, "content": _WORD.sub(lambda found: words.get(found[0], found[0]), turn["content"])} for turn in turns
    ]


def invented_name(source: random.Random) -> str:
    """A name of the starter's kind."""
    return draw_name(source, source.choice(("train", "validation", "test")))
