"""A judge of known noise: a function in place of a service LLM, so that thousands of judgements take seconds.

What it cannot show is how a real service LLM judges; it shows what our statistics make of scores whose truth is known.
"""

import random
import re
from collections.abc import Callable
from typing import Any

from components.core.service_llm import JsonReply, Usage

_TEXT = r"<<<{name} \w+\n(.*?)\n{name} \w+>>>"


def part(prompt: str, name: str) -> str:
    """A text of the prompt: INSTRUCTION, REFERENCE ANSWER or CANDIDATE ANSWER."""
    found = re.search(_TEXT.format(name=name), prompt, re.DOTALL)
    assert found is not None
    return found[1]


class ScriptedJudge:
    """Asked like a service LLM; `truth(instruction, reference, candidate)` is the mean of what it says of an answer."""

    def __init__(self, truth: Callable[[str, str, str], float], noise: float, seed: int) -> None:
        self.usage = Usage()
        self._truth, self._noise, self._dice = truth, noise, random.Random(seed)

    async def ask_json(self, messages: Any, kind: Any, attempts: int = 10) -> Any:
        self.usage.calls += 1
        prompt = messages[-1][1]
        texts = [part(prompt, name) for name in ("INSTRUCTION", "REFERENCE ANSWER", "CANDIDATE ANSWER")]
        mean = self._truth(*texts)
        scores = [min(100.0, max(0.0, self._dice.gauss(mean, self._noise))) for _ in range(2)]
        value = kind.model_validate(
            {"similarity_assessment": {"score": scores[0]}, "precision_assessment": {"score": scores[1]}}
        )
        return JsonReply(value, "", 300, 40, 1)
