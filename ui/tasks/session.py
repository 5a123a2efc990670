"""What one visitor has had predicted, kept for as long as the browser tab is open."""

import uuid
from dataclasses import dataclass, field

from ui.contract import Predictions, Task
from ui.problems import Problem
from ui.session import LONGEST_HISTORY
from ui.tasks.results import short

MOST_TEXTS = 512
"""Texts that the endpoint takes at once."""


@dataclass
class Request:
    """One or more texts and what came of them: predictions, a problem, or neither when it was stopped."""

    task: Task
    """Of the model that was asked; another may be served by now."""
    written: str
    """The field as it was."""
    texts: list[str]
    pair: str = ""
    several: bool = False
    """Each line was a text of its own."""
    found: Predictions | None = None
    problem: Problem | None = None
    seconds: float = 0.0
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def instances(self) -> list[dict[str, str]]:
        """As the endpoint takes them."""
        return [{"text": text} | ({"text_pair": self.pair} if self.task.pair else {}) for text in self.texts]

    @property
    def outcome(self) -> str:
        """The result in short, for the history and for screen readers."""
        if self.problem:
            return self.problem.title
        if self.found is None:
            return "stopped"
        return f"{len(self.texts)} texts" if self.several else short(self.task, self.found.predictions[0])


@dataclass
class PredictionSession:
    """The requests of one visitor."""

    requests: list[Request] = field(default_factory=list)
    """Oldest first."""
    running: Request | None = None
    shown: Request | None = None
    problem: Problem | None = None
    """What is wrong with the fields."""

    def ask(self, task: Task, text: str, pair: str = "", several: bool = False) -> None:
        """Begin a request; with an empty field or too many lines, say so instead."""
        texts = [line.strip() for line in text.splitlines() if line.strip()] if several else [text]
        self.problem = missing(task, text, pair) or too_many(texts)
        if self.problem is None:
            self.running = Request(task, text, texts, pair, several)

    def finish(self) -> None:
        """Put what was running into the history."""
        if self.running is not None:
            self.requests = [*self.requests, self.running][-LONGEST_HISTORY:]
            self.shown, self.running = self.running, None


def missing(task: Task, text: str, pair: str) -> Problem | None:
    """Name the fields that are empty."""
    fields = [("Text", text)] + ([("Second text", pair)] if task.pair else [])
    empty = [name for name, written in fields if not written.strip()]
    if not empty:
        return None
    title = f"{' and '.join(empty)} {'is' if len(empty) == 1 else 'are'} empty"
    advice = "This model compares two texts: write both." if task.pair else "Write or paste a text, or take an example."
    return Problem("empty", title, advice=advice)


def too_many(texts: list[str]) -> Problem | None:
    """Refuse more texts than the endpoint takes at once."""
    if len(texts) <= MOST_TEXTS:
        return None
    advice = f"Predict {MOST_TEXTS} of them at a time; the step inference of the pipeline takes files of any length."
    return Problem("too_many", f"{len(texts):,} texts are too many at once", advice=advice)
