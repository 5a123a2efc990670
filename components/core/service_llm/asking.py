"""A service LLM that is asked: at its rate, with tries, counted."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel, SecretStr

from components.core.service_llm.clients import Client, find_key, open_client
from components.core.service_llm.config import ServiceLLMConfig
from components.core.service_llm.failures import (
    MalformedReplies,
    as_user_error,
    is_transient,
    reason,
    retry_after,
    wait_seconds,
)
from components.core.service_llm.json_replies import read_json
from components.core.service_llm.limiter import RateLimiter
from components.core.settings import Settings

logger = logging.getLogger(__name__)

Messages = Sequence[tuple[str, str]]
"""Role (`system`, `user` or `assistant`) and text."""
_T = TypeVar("_T", bound=BaseModel)
_SHOWN_AGAIN = 2000
"""Characters of a malformed answer that the model is shown again."""


@dataclass(frozen=True)
class Reply:
    """One answer."""

    text: str
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class JsonReply(Generic[_T]):
    """An answer whose JSON is valid; tokens and calls of the malformed ones before it are counted with it."""

    value: _T
    text: str
    input_tokens: int
    output_tokens: int
    calls: int


@dataclass
class Usage:
    """What was spent so far."""

    calls: int = 0
    """Requests that were sent, failed ones included."""
    failed_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    """USD, by the prices of the configuration."""


class ServiceLLM:
    """Asks a service LLM. Use it as an async context manager, or call `aclose` at the end."""

    def __init__(
        self,
        config: ServiceLLMConfig,
        key: SecretStr,
        *,
        limiter: RateLimiter | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        seed: int | None = None,
    ) -> None:
        self.config = config
        self.usage = Usage()
        self.limiter = limiter or RateLimiter(config.rate_limit_per_minute)
        self._key, self._sleep, self._dice = key, sleep, random.Random(seed)
        self._client: Client | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; the next question opens new ones."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.close()

    async def ask(self, messages: Messages) -> Reply:
        """One answer.

        Raises:
            ServiceUnavailable: If it did not answer, try after try.
            ServiceRefused: If it lets us ask nothing at all.
            ServiceLLMError: If it refuses this very question.
        """
        tries = 0
        self._open()  # imports take seconds, which must not come out of the call's slot
        while True:
            await self.limiter.wait()
            tries += 1
            try:
                return await self._send(messages)
            # what a client raises is its own: httpx, aiohttp, the SDK's, LangChain's, a KeyError in a strange answer
            except Exception as error:
                self.usage.failed_calls += 1
                if tries > self.config.max_retries or not is_transient(error):
                    raise as_user_error(error, self._where, tries, self._secrets) from error
                seconds = wait_seconds(error, tries, self._dice)
                if retry_after(error) is not None:
                    self.limiter.pause(seconds)
                logger.warning(
                    "%s did not answer as it should (%s); try %d of %d in %.1f s",
                    *(self._where, reason(error), tries + 1, self.config.max_retries + 1, seconds),
                )
                await self._sleep(seconds)

    async def ask_json(self, messages: Messages, kind: type[_T], attempts: int = 10) -> JsonReply[_T]:
        """An answer in JSON of the wanted kind; the prompt must ask for it.

        Raises:
            MalformedReplies: If no attempt brought valid JSON, with the last reason; a ServiceLLMError as all of `ask`.
        """
        spent_in = spent_out = 0
        asked: list[tuple[str, str]] = list(messages)
        wrong = "no attempt was made"
        for attempt in range(1, attempts + 1):
            reply = await self.ask(asked)
            spent_in, spent_out = spent_in + reply.input_tokens, spent_out + reply.output_tokens
            try:
                return JsonReply(read_json(reply.text, kind), reply.text, spent_in, spent_out, attempt)
            except ValueError as error:
                wrong = str(error)
            # said to the model, since at temperature 0 the same question would bring the same answer
            shown = [("assistant", reply.text[:_SHOWN_AGAIN])] if reply.text.strip() else []
            wish = f"Your answer could not be read: {wrong}. Answer again with the JSON object only."
            asked = [*messages, *shown, ("user", wish)] if shown else list(messages)
        raise MalformedReplies(
            f"{self._where} gave no valid JSON in {attempts} attempts; the last time: {wrong}.",
            input_tokens=spent_in,
            output_tokens=spent_out,
            calls=attempts,
        )

    async def _send(self, messages: Messages) -> Reply:
        model = self._open().model
        self.usage.calls += 1
        # the clients' own timeout is for each read: a server that drips would hold a call for ever
        async with asyncio.timeout(self.config.timeout_seconds):
            message: Any = await model.ainvoke(list(messages))
        found = message.usage_metadata or {}
        reply = Reply(str(message.text), found.get("input_tokens", 0), found.get("output_tokens", 0))
        self.usage.input_tokens += reply.input_tokens
        self.usage.output_tokens += reply.output_tokens
        self.usage.cost += (
            reply.input_tokens * self.config.price_per_million_input
            + reply.output_tokens * self.config.price_per_million_output
        ) / 1e6
        return reply

    def _open(self) -> Client:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._client, self._loop = open_client(self.config, self._key), loop
        return self._client

    @property
    def _where(self) -> str:
        return self.config.label + (f" at {self.config.base_url}" if self.config.base_url else "")

    @property
    def _secrets(self) -> tuple[str, ...]:
        key = self._key.get_secret_value()
        return (key,) if len(key) > 4 else ()


def open_service_llm(config: ServiceLLMConfig, settings: Settings) -> ServiceLLM:
    """Make a service LLM ready to be asked; no call is made yet.

    Raises:
        ConfigError: If the environment has no API key for it.
    """
    return ServiceLLM(config, find_key(config, settings))
