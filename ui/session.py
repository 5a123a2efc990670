"""What one visitor has asked, kept for as long as the browser tab is open."""

import uuid
from dataclasses import dataclass, field

from ui.contract import Answer, Receipt
from ui.problems import Problem

LONGEST_HISTORY = 20
"""Questions that are kept; each keeps its context."""


@dataclass
class Exchange:
    """One question and what came of it: an answer, a problem, or neither when it was stopped."""

    question: str
    context: str
    text: str = ""
    """What has arrived of the answer."""
    answer: Answer | None = None
    problem: Problem | None = None
    receipt: Receipt | None = None
    feedback_problem: Problem | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def outcome(self) -> str:
        """The answer in short, for the history."""
        if self.answer:
            return self.answer.response.strip() if self.answer.supported else "not in the context"
        return self.problem.title if self.problem else "stopped"


@dataclass
class Session:
    """The questions of one visitor."""

    exchanges: list[Exchange] = field(default_factory=list)
    """Oldest first."""
    running: Exchange | None = None
    """The question that is being answered."""
    shown: Exchange | None = None
    """The question whose answer is on the page."""
    problem: Problem | None = None
    """What is wrong with the fields or the file."""
    files: int = 0
    """Text files that were chosen."""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    """Ties the questions of a session together in traces."""

    def ask(self, question: str, context: str) -> None:
        """Begin a question; with an empty field, say which one instead."""
        self.problem = missing(question, context)
        if self.problem is None:
            self.running = Exchange(question=question, context=context)

    def finish(self) -> None:
        """Put what was running into the history."""
        if self.running is not None:
            self.exchanges = [*self.exchanges, self.running][-LONGEST_HISTORY:]
            self.shown, self.running = self.running, None


def missing(question: str, context: str) -> Problem | None:
    """Name the fields that are empty."""
    fields = [name for name, text in (("Context", context), ("Question", question)) if not text.strip()]
    if not fields:
        return None
    todo = {
        "Context": "Paste a text into Context, take an example, or choose a text file.",
        "Question": "Write what you want to know from the context.",
    }
    title = f"{' and '.join(fields)} {'is' if len(fields) == 1 else 'are'} empty"
    return Problem("empty", title, advice=" ".join(todo[name] for name in fields))
