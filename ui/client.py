"""The endpoint over HTTP."""

import functools
import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from ui.contract import Answer, Completion, Feedback, Health, Message, ModelNames, Predictions, Receipt, Task
from ui.events import read_events
from ui.problems import Problem, refused, sentence
from ui.settings import Settings

CONNECT_SECONDS = 5.0
HEALTH_SECONDS = 2.0
LONGEST_ERROR_BODY = 64 * 2**10
"""Bytes of an error that are read."""

SomeMessage = TypeVar("SomeMessage", bound=Message)


@functools.lru_cache(maxsize=1)
def connect(settings: Settings) -> "EndpointClient":
    """Give the one client of this process, so that connections are kept open between questions."""
    return EndpointClient(settings)


class EndpointClient:
    """Asks the endpoint. Thread-safe.

    Every method that asks raises `Problem` when there is no proper answer; its text never holds the API key.
    """

    def __init__(self, settings: Settings, transport: httpx.BaseTransport | None = None) -> None:
        self._settings = settings
        key = settings.api_key.get_secret_value() if settings.api_key else None
        self._http = httpx.Client(
            base_url=str(settings.api_url),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(settings.request_timeout_seconds, connect=CONNECT_SECONDS),
            transport=transport,
        )

    def health(self) -> Health:
        """Ask how the endpoint is; one that cannot be asked is `unreachable`, with the reason as detail."""
        try:
            with self._explained():
                response = self._http.get("healthz", timeout=HEALTH_SECONDS)
            return self._health(response)
        except Problem as problem:
            return Health(status="unreachable", detail=f"{problem.title}. {problem.advice}".strip())

    def task(self, health: Health) -> Task:
        """Ask what the model does; of an endpoint that does not say, what `health` says, else context_qa."""
        known = Task(task=health.task or "context_qa", model=health.model, revision=health.revision)
        if health.status == "unreachable":
            return known
        try:
            task = self._got("task", Task)
            if task.task in ("context_qa", "chat_completion"):
                return task
            names = self._got("v1/models", ModelNames).models
        except Problem:
            return known
        return task.model_copy(update={"name": names[0]}) if names else task

    def predict(self, name: str, instances: Sequence[Mapping[str, str]]) -> Predictions:
        """Ask for one prediction for each instance ({"text": ...}, and "text_pair" for a pair)."""
        path = f"v1/models/{quote(name, safe='')}:predict"
        with self._explained():
            response = self._http.post(path, json={"instances": instances})
        if not response.is_success:
            raise self._refused(response, response.content[:LONGEST_ERROR_BODY], asked="text")
        found = self._parsed(Predictions, response.content)
        if len(found.predictions) != len(instances):
            said = f"{len(instances)} were sent and {len(found.predictions)} came back."
            raise Problem("garbled", "The predictions do not fit the texts", said=said, advice="Try again.")
        return found

    def converse(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Ask for the next turn of a conversation."""
        with self._explained():
            response = self._http.post("openai/v1/chat/completions", json={"model": "", "messages": list(messages)})
        if not response.is_success:
            raise self._refused(response, response.content[:LONGEST_ERROR_BODY], asked="message")
        return self._parsed(Completion, response.content).choices[0].message.content

    def generate(self, question: str, context: str, session_id: str) -> Generator[str | Answer]:
        """Yield the pieces of the answer as they arrive, and the complete answer last.

        Closing the iterator early hangs up, which stops the work at the endpoint.
        """
        body = {"question": question, "context": context, "stream": True, "session_id": session_id}
        with self._explained(), self._http.stream("POST", "generate", json=body) as response:
            if not response.is_success:
                raise self._refused(response, _beginning(response))
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind == "application/json":
                response.read()
                yield self._parsed(Answer, response.content)
                return
            if kind != "text/event-stream":
                raise Problem(
                    "garbled",
                    "This is not the endpoint's answer",
                    said=f"{self._settings.address} sent {kind or 'something without a type'}.",
                    advice="Check API_URL: a proxy or another service may answer there.",
                )
            yield from self._answered(read_events(response.iter_bytes()))

    def send_feedback(self, feedback: Feedback) -> Receipt:
        """Hand in what a reader thinks of an answer."""
        with self._explained():
            response = self._http.post("feedback", json=feedback.model_dump())
        if response.status_code == 404:
            raise Problem(
                "gone",
                "The endpoint no longer knows this answer",
                advice="Ask again and rate the new answer.",
            )
        if not response.is_success:
            raise self._refused(response, response.content[:LONGEST_ERROR_BODY])
        return self._parsed(Receipt, response.content)

    def _got(self, path: str, kind: type[SomeMessage]) -> SomeMessage:
        with self._explained():
            response = self._http.get(path, timeout=HEALTH_SECONDS)
        if not response.is_success:
            raise self._refused(response, response.content[:LONGEST_ERROR_BODY])
        return self._parsed(kind, response.content)

    def _health(self, response: httpx.Response) -> Health:
        try:
            # A probe may be told 503 with the same body; the body says more than the status.
            return Health.model_validate_json(response.content)
        except ValidationError as error:
            if response.is_success:
                advice = f"Check API_URL: {self._settings.address} is another service."
                raise Problem("garbled", "This is not the endpoint", advice=advice) from error
            raise self._refused(response, response.content[:LONGEST_ERROR_BODY]) from error

    def _answered(self, events: Iterator[str]) -> Iterator[str | Answer]:
        for data in events:
            try:
                event = json.loads(data)
            except ValueError:
                event = None
            if not isinstance(event, dict):
                raise Problem("garbled", "The answer arrived damaged", advice="Try again.")
            if "error" in event:
                said = self._without_key(sentence(str(event["error"])))
                raise Problem("failed", "The endpoint stopped before the end", said=said, advice="Try again.")
            if "response" in event:
                yield self._parsed(Answer, data)
                return
            if isinstance(delta := event.get("delta"), str):
                yield delta
        raise Problem("cut", "The connection ended before the answer was complete", advice="Try again.")

    def _parsed(self, kind: type[SomeMessage], data: str | bytes) -> SomeMessage:
        try:
            return kind.model_validate_json(data)
        except ValidationError as error:
            raise Problem(
                "garbled",
                "The endpoint's answer cannot be read",
                said=f"Its {'.'.join(str(part) for part in error.errors()[0]['loc']) or 'JSON'} is wrong or missing.",
                advice="Page and endpoint may be of different versions: deploy both from the same one.",
            ) from error

    def _refused(self, response: httpx.Response, body: bytes, asked: str = "context") -> Problem:
        has_key, address = self._settings.api_key is not None, self._settings.address
        problem = refused(response.status_code, response.headers, body, address=address, has_key=has_key, asked=asked)
        return Problem(problem.kind, problem.title, said=self._without_key(problem.said), advice=problem.advice)

    def _without_key(self, text: str) -> str:
        key = self._settings.api_key
        return text.replace(key.get_secret_value(), "•••") if key else text

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn httpx's errors into problems."""
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            reason = "" if isinstance(error, httpx.ConnectTimeout) else sentence(str(error).split("] ", 1)[-1])
            raise Problem(
                "unreachable",
                "The endpoint cannot be reached",
                said=reason,
                advice=f"Nothing answers at {self._settings.address}. Start the endpoint, or correct API_URL.",
            ) from error
        except httpx.TimeoutException as error:
            raise Problem(
                "timeout",
                f"The endpoint was silent for {self._settings.request_timeout_seconds:g} s",
                advice="It may be overloaded. Try again; REQUEST_TIMEOUT_SECONDS sets how long the page waits.",
            ) from error
        except httpx.HTTPError as error:
            raise Problem(
                "cut",
                "The connection to the endpoint broke off",
                advice=f"See whether the endpoint at {self._settings.address} is running, then try again.",
            ) from error


def _beginning(response: httpx.Response) -> bytes:
    body = b""
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) >= LONGEST_ERROR_BODY:
            break
    return body
