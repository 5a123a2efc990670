"""A core that says what it is told: it stands in for a model, so that queues, streams and cancellation can be seen."""

import threading
from collections.abc import Sequence
from pathlib import Path

from llm_endpoint.engines.local import LocalEngine
from llm_endpoint.engines.seam import CoreStep, EngineInfo, Sampling
from llm_endpoint.served.encoding import PromptEncoder


class ScriptedCore:
    """Emits one token of `answer` per request and step, then stops.

    Args:
        answer: Token ids of every answer.
        max_running: Requests held at once.
        context_length: Of the pretended model.
    """

    name, precision = "scripted", "none"

    def __init__(self, answer: Sequence[int], max_running: int = 4, context_length: int = 512) -> None:
        self.answer, self.max_running, self.context_length = tuple(answer), max_running, context_length
        self.running: dict[int, int] = {}
        self.added: list[int] = []
        self.cancelled: list[int] = []
        self.most_running = 0
        self.closed = False
        self.failures = 0
        """Steps that are to fail."""
        self.go = threading.Event()
        """Cleared: steps wait, so that a test can look at what is held."""
        self.go.set()

    def add(self, key: int, prompt_ids: Sequence[int], sampling: Sampling, stop_ids: frozenset[int]) -> None:
        assert prompt_ids
        assert len(prompt_ids) + sampling.max_new_tokens <= self.context_length
        self.added.append(key)
        self.running[key] = min(len(self.answer), sampling.max_new_tokens)
        self.most_running = max(self.most_running, len(self.running))

    def step(self) -> list[CoreStep]:
        self.go.wait(0.02)
        if self.go.is_set() and self.failures:
            self.failures -= 1
            raise RuntimeError("the core is broken")
        if not self.go.is_set():
            return []
        steps = []
        for key, left in list(self.running.items()):
            said = (self.answer[len(self.answer) - left],)
            self.running[key] = left - 1
            done = left <= 1
            steps.append(CoreStep(key, said, "stop" if done else None, 3))
            if done:
                del self.running[key]
        return steps

    def cancel(self, key: int) -> None:
        self.cancelled.append(key)
        self.running.pop(key, None)

    def close(self) -> None:
        self.closed = True


def scripted_engine(core: ScriptedCore, folder: Path, one_line: bool = False, max_queue: int = 8) -> LocalEngine:
    """An engine around a scripted core, with the tokenizer of a folder."""

    def describe(_core: object) -> EngineInfo:
        return EngineInfo("scripted", "scripted-model", "7", core.context_length, "none")

    return LocalEngine(lambda: core, PromptEncoder(folder, in_chat=False), describe, one_line, max_queue)
