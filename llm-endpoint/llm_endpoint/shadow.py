"""Shadow mode: a sample of what the service answered goes to the local model, too, to learn whether it would do."""

import asyncio
import fcntl
import json
import logging
import os
import random
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from llm_endpoint.engines.seam import Engine, GenerationRequest, Message
from llm_endpoint.errors import EndpointError
from llm_endpoint.redaction import Redactor

logger = logging.getLogger(__name__)

_LOOK_AGAIN_SECONDS = 0.05
_MOST_TRIES = 5
"""A prompt that had to make way so often is given up."""

Event = Literal["stored", "queue_full", "full", "failed", "crowded_out"]


@dataclass
class _Item:
    """A prompt that the service has answered."""

    request: GenerationRequest
    response: str
    tries: int = 0


class ShadowStore:
    """A JSON Lines file with the columns of batch inference, which the judge reads.

    Args:
        path: Its folder is made at need.
        limit_bytes: Size at which no more rows are taken.
    """

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._path, self._limit = path, limit_bytes
        self._warned = False

    def add(self, instructions: str, target: str, candidate: str, model_id: str, model_sha: str) -> Event:
        """Append a row, redacted. Blocks: not for the event loop.

        Raises:
            OSError: If the file cannot be written.
        """
        # in this order: a password that the prompt names is also replaced in the answers
        redactor = Redactor()
        names = ("instructions", "target_responses", "candidate_responses")
        row = {name: redactor.text(text) for name, text in zip(names, (instructions, target, candidate), strict=True)}
        row |= {"model_id": model_id, "model_sha": model_sha}
        line = json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # what users wrote is nobody else's business on this machine
        number = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(number, "ab", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_size + len(line) > self._limit:
                if not self._warned:
                    logger.warning("%s is full; move it away to take more rows", self._path)
                self._warned = True
                return "full"
            file.write(line)
        return "stored"


class Shadow:
    """Asks the local model what the service was asked, one prompt at a time and only while nobody else asks it.

    Args:
        engine: The local model.
        store: Where the rows go.
        sample: Share of the prompts.
        queue: Prompts that may wait; more are dropped.
        count: Hears what became of each, for metrics.
        draw: Gives numbers from 0 to 1.
    """

    def __init__(
        self,
        engine: Engine,
        store: ShadowStore,
        sample: float,
        queue: int,
        count: Callable[[Event], None],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._engine, self._store, self._sample, self._count, self._draw = engine, store, sample, count, draw
        self._items: deque[_Item] = deque()
        self._most = queue
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to work in the background."""
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """End; what waits is forgotten."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def offer(self, request: GenerationRequest, response: str) -> None:
        """Take a prompt that the service has answered, if the draw says so; never waits."""
        if self._draw() >= self._sample:
            return
        if len(self._items) >= self._most:
            self._count("queue_full")
            return
        self._items.append(_Item(request, response))
        self._arrived.set()

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            while self._items:
                item = self._items.popleft()
                try:
                    event = await self._answer(item)
                except (EndpointError, OSError) as error:
                    logger.info("A prompt in the shadow was lost: %s", type(error).__name__)
                    event = "failed"
                if event is not None:
                    self._count(event)
            self._arrived.clear()

    async def _answer(self, item: _Item) -> Event | None:
        """Answer and store; None if it had to make way and waits again."""
        while any(self._engine.load()):
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        asked = item.request
        own = asked.stand_in() if asked.stand_in else asked
        generation = self._engine.submit(replace(own, streamed=False))
        said = []
        try:
            async for delta in generation:
                said.append(delta.text)
                if sum(self._engine.load()) > 1:
                    # somebody who waits for his answer has come
                    return self._make_way(item)
        finally:
            generation.cancel()
        info = self._engine.info
        texts = (say_prompt(asked), item.response, "".join(said).strip())
        return await asyncio.to_thread(self._store.add, *texts, info.model, info.content_sha256 or info.revision)

    def _make_way(self, item: _Item) -> Event | None:
        item.tries += 1
        if item.tries >= _MOST_TRIES:
            return "crowded_out"
        self._items.appendleft(item)
        return None


def say_prompt(request: GenerationRequest) -> str:
    """What was asked, as one text: a single message as it is, a conversation with its roles."""
    if request.text is not None:
        return request.text
    return request.messages[0].content if len(request.messages) == 1 else _say_turns(request.messages)


def _say_turns(messages: Sequence[Message]) -> str:
    return "\n\n".join(f"{message.role}: {message.content}" for message in messages)
