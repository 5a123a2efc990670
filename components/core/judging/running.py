"""Judgements asked for by several workers, each kept as it comes, until the plan is done or the verdict certain."""

import asyncio
import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from pydantic import BaseModel

from components.core.errors import ServiceLLMError
from components.core.judging.prompt import Messages, Verdicts, render_prompt
from components.core.judging.responses import Response, Task
from components.core.service_llm import (
    Journal,
    JsonReply,
    MalformedReplies,
    ServiceRefused,
    ServiceUnavailable,
    Usage,
)

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 5.0
_HOPELESS = 10
"""Failed answers without one that worked, after which nothing else is tried."""


class Judge(Protocol):
    """Whatever can be asked for a judgement: a service LLM, or a function of a test."""

    usage: Usage

    async def ask_json(self, messages: Messages, kind: type[Verdicts], attempts: int = 10) -> JsonReply[Verdicts]:
        """Answer in JSON; a ServiceLLMError where there is none."""


class Judgement(BaseModel):
    """One judgement as the journal keeps it, or why there is none."""

    key: str
    """Of the three texts and the repeat."""
    similarity: float | None = None
    precision: float | None = None
    similarity_reason: str = ""
    precision_reason: str = ""
    problem: str = ""
    max_tokens: int = 0
    """Longest answer that was allowed; a row that failed is asked about again where it is another."""
    date: str
    calls: int = 0
    """Answers until one was valid JSON."""
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def scores(self) -> tuple[float, float] | None:
        """Similarity and precision."""
        return None if self.similarity is None or self.precision is None else (self.similarity, self.precision)


class Judging:
    """One run over a plan.

    Args:
        tasks: In the order in which they are made.
        journal: What is there already, and where new judgements go.
        workers: Calls under way at a time.
        take: Called with each judgement in the order of the tasks, none left out; True ends the run.
        max_tokens: Longest answer of the judge.
        render: From an answer to the prompt.
        say: Prints how far it is.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        journal: Journal[Judgement],
        workers: int,
        take: Callable[[Task, Judgement | None], bool],
        max_tokens: int = 0,
        render: Callable[[Task], Messages] = lambda task: render_response(task.response),
        say: Callable[["Judging"], None] | None = None,
    ) -> None:
        self.tasks, self.journal, self.workers = tasks, journal, workers
        self._take, self._render, self._say = take, render, say
        stored = {entry.key: entry for entry in journal.entries if entry.scores or entry.max_tokens == max_tokens}
        self._max_tokens = max_tokens
        self._keys = task_keys(tasks)
        self.results: list[Judgement | None] = [stored.get(key) for key in self._keys]
        self.problems: dict[int, str] = {}
        """Rows that cannot be judged, by number, and why."""
        for task, result in zip(tasks, self.results, strict=True):
            if result is not None and result.problem:
                self.problems[task.response.row] = result.problem
        self.reused = sum(result is not None for result in self.results)
        self.made = 0
        self._next, self._taken, self._over = 0, 0, False
        self._stop: ServiceLLMError | None = None

    @property
    def done(self) -> int:
        """Tasks of which it is known how they ended."""
        return self._taken

    async def run(self, judge: Judge) -> None:
        """Ask until the plan is done.

        Raises:
            ServiceLLMError: If the judge lets us ask nothing more; what came is kept.
        """
        self._advance()
        telling = asyncio.create_task(self._tell())
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self.workers, len(self.tasks))):
                    group.create_task(self._work(judge))
        except* Exception as errors:
            raise errors.exceptions[0] from None
        finally:
            telling.cancel()
        if self._stop is not None:
            if not any(entry.scores for entry in self.journal.entries):
                self.journal.clear()  # the next run, with a judge that can, asks about these rows again
                raise self._stop
            kept = sum(entry.scores is not None for entry in self.journal.entries)
            raise type(self._stop)(f"{self._stop} {kept} judgements are kept; run it again to go on.") from self._stop

    async def _work(self, judge: Judge) -> None:
        while (number := self._choose()) is not None:
            task = self.tasks[number]
            try:
                result = await self._ask(judge, task, self._keys[number])
            except (ServiceUnavailable, ServiceRefused) as error:
                # the others end what they have under way, which is paid for
                self._stop = self._stop or error
                return
            self.journal.add(result)
            self.results[number] = result
            self.made += 1
            if result.problem:
                self._give_up_row(task.response.row, result.problem)
            self._advance()

    def _choose(self) -> int | None:
        """The next task that nobody has; None when there is nothing left to do."""
        while self._next < len(self.tasks) and not self._over and self._stop is None:
            number, self._next = self._next, self._next + 1
            if self.results[number] is None and self.tasks[number].response.row not in self.problems:
                return number
        return None

    async def _ask(self, judge: Judge, task: Task, key: str) -> Judgement:
        try:
            reply = await judge.ask_json(self._render(task), Verdicts)
        except (ServiceUnavailable, ServiceRefused):
            raise
        except MalformedReplies as error:
            spent = {"input_tokens": error.input_tokens, "output_tokens": error.output_tokens}
            return self._failed(key, error, error.calls).model_copy(update=spent)
        except ServiceLLMError as error:
            return self._failed(key, error, 1)
        found = reply.value
        return Judgement(
            key=key,
            similarity=found.similarity_assessment.score,
            precision=found.precision_assessment.score,
            similarity_reason=found.similarity_assessment.reason,
            precision_reason=found.precision_assessment.reason,
            date=_now(),
            calls=reply.calls,
            input_tokens=reply.input_tokens,
            output_tokens=reply.output_tokens,
        )

    def _failed(self, key: str, error: ServiceLLMError, calls: int) -> Judgement:
        return Judgement(key=key, problem=str(error), max_tokens=self._max_tokens, date=_now(), calls=calls)

    def _give_up_row(self, row: int, problem: str) -> None:
        if row not in self.problems:
            logger.warning("Row %d cannot be judged and is left out: %s", row, problem)
        self.problems[row] = problem
        if len(self.problems) >= _HOPELESS and not any(entry.scores for entry in self.journal.entries):
            told = f"none of the first {len(self.problems)} answers could be judged. The last problem: {problem}"
            self._stop = self._stop or ServiceLLMError(told)

    def _advance(self) -> None:
        """Hand on, in order, all judgements that are known by now."""
        while self._taken < len(self.tasks) and not self._over:
            task, result = self.tasks[self._taken], self.results[self._taken]
            if result is None and task.response.row not in self.problems:
                return
            self._taken += 1
            self._over = self._take(task, result)

    async def _tell(self) -> None:
        while self._say is not None:
            await asyncio.sleep(PROGRESS_SECONDS)
            self._say(self)


class Progress:
    """Prints how far the judging is, how fast, how long it may take and what it cost."""

    def __init__(self, judge: Judge, at_most: str = "at most ") -> None:
        self._judge, self._at_most = judge, at_most
        self._started, self._calls = time.monotonic(), judge.usage.calls

    def __call__(self, run: Judging) -> None:
        """One line."""
        minutes = (time.monotonic() - self._started) / 60
        rate = (self._judge.usage.calls - self._calls) / minutes
        left, speed = len(run.tasks) - run.done, run.made / minutes
        cost = f", {self._judge.usage.cost:.4f} USD so far" if self._judge.usage.cost else ""
        logger.info(
            "Judged %d of %s%d: %.1f calls a minute, %s%s to go%s",
            *(run.done, self._at_most, len(run.tasks), rate, self._at_most),
            *(_duration(left / speed) if speed else "an unknown time", cost),
        )


def render_response(response: Response) -> Messages:
    """The prompt about an answer."""
    return render_prompt(response.instruction, response.target, response.candidate)


def task_keys(tasks: Iterable[Task]) -> list[str]:
    """A key for each judgement: equal answers of different rows are judged apart, wherever their rows stand."""
    seen: dict[str, dict[int, int]] = {}
    keys = []
    for task in tasks:
        response = task.response
        texts = "\0".join((response.instruction, response.target, response.candidate))
        digest = hashlib.sha256(texts.encode("utf-8", "surrogatepass")).hexdigest()[:24]
        rows = seen.setdefault(digest, {})
        order = "-swapped" if task.candidate_first else ""
        keys.append(f"{digest}-{rows.setdefault(response.row, len(rows))}-{task.repeat}{order}")
    return keys


def total_usage(results: Iterable[Judgement | None], now: Usage, prices: tuple[float, float]) -> Usage:
    """What all judgements of a plan cost, those of earlier runs too; failed calls are those of this run."""
    found = Counter[str]()
    for result in results:
        if result is not None:
            found.update(calls=result.calls, input=result.input_tokens, output=result.output_tokens)
    return Usage(
        calls=found["calls"] + now.failed_calls,
        failed_calls=now.failed_calls,
        input_tokens=found["input"],
        output_tokens=found["output"],
        cost=(found["input"] * prices[0] + found["output"] * prices[1]) / 1e6,
    )


def _duration(minutes: float) -> str:
    return f"{minutes:.0f} min" if minutes >= 2 else f"{60 * minutes:.0f} s"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
