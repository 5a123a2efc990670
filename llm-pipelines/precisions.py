"""A model asked through its own endpoint, once with each precision of its weights."""

import json
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.errors import StorageError
from components.core.registry.model_folder import QUANTIZATION_FILE
from components.core.tasks import Row

# mypy cannot follow a folder whose name has a hyphen.
from .serving import (  # type: ignore[import-not-found]
    ANSWER_SECONDS,
    QuestionRefused,
    ServingError,
    ask,
    end_server,
    endpoint_environment,
    start_api,
)

AT_ONCE = 16
"""Questions under way; the endpoint's own default."""
_FIRST_PORT = 18080
_PROGRESS_SECONDS = 5.0
_NOT_FOR_TRIALS = ("API_KEY", "LANGSMITH_", "LANGCHAIN_", "OPENAI_", "TRACE_", "REPETITION_PENALTY", "MAX_BODY_BYTES")
"""Settings of a real endpoint that would refuse the questions, send them elsewhere, or answer them otherwise than the
model was judged."""
_WEIGHTS = re.compile(r"Loading ([\d.]+) MB of (\w+) weights")


@dataclass(frozen=True)
class Asked:
    """What the endpoint said with one precision."""

    answers: list[str | None]
    """In row order; None where it takes no such question, which is too long for the model."""
    tokens: int
    seconds: float
    megabytes: float
    """Size of the file with the weights."""

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens, all questions together."""
        return self.tokens / self.seconds


def ask_both(
    folder: Path, content_sha256: str, rows: Sequence[Row], max_new_tokens: int, home: Path
) -> tuple[Asked, Asked]:
    """Ask a model every question, with fp32 and with int8 weights, each in an endpoint process of its own.

    Args:
        folder: Model folder.
        content_sha256: Of its manifest.
        rows: With context and question.
        max_new_tokens: Longest answer.
        home: Where the logs and the converted models go.

    Raises:
        ServingError: If an endpoint does not start or does not answer; with its own words.
    """
    with _on_trial(folder, content_sha256) as place:
        fp32 = _ask_one(place, "fp32", rows, max_new_tokens, home)
        return fp32, _ask_one(place, "int8", rows, max_new_tokens, home)


@contextmanager
def _on_trial(folder: Path, content_sha256: str) -> Iterator[Path]:
    """Links to a model's files beside a verdict that lets the endpoint open int8 while it is judged.

    So the endpoint has no way around the gate, and a model folder never holds a verdict that nobody has given.
    """
    verdict = {"status": "passed", "headline": "On trial: being judged"}
    with tempfile.TemporaryDirectory(prefix="int8-trial-") as name:
        place = Path(name)
        try:
            for file in folder.iterdir():
                if file.name != QUANTIZATION_FILE:
                    (place / file.name).symlink_to(file.resolve())
            content = {"format": 1, "content_sha256": content_sha256, "int8": verdict}
            (place / QUANTIZATION_FILE).write_text(json.dumps(content), encoding="utf-8")
        except OSError as error:
            raise StorageError(f"cannot prepare the trial in {place}: {error.strerror}. Set TMPDIR.") from error
        yield place


def _ask_one(place: Path, precision: str, rows: Sequence[Row], max_new_tokens: int, home: Path) -> Asked:
    log_folder = home / "gate-int8" / precision
    environment = {
        name: value
        for name, value in endpoint_environment(str(place), home).items()
        if not name.upper().startswith(_NOT_FOR_TRIALS)
    }
    # int8 runs on OpenVINO only, and is to be compared with the same engine
    environment |= {"WEIGHTS": precision, "ENGINE": "openvino", "MAX_QUEUE": str(AT_ONCE)}
    environment["REQUEST_TIMEOUT_SECONDS"] = str(ANSWER_SECONDS)
    server = start_api(environment, log_folder, _FIRST_PORT)
    try:
        started = time.monotonic()
        replies = _ask_all(server.address, precision, rows, max_new_tokens)
        seconds = time.monotonic() - started
    finally:
        end_server(server)
    return Asked(
        answers=[reply["response"] if reply else None for reply in replies],
        tokens=sum(reply["usage"]["completion_tokens"] for reply in replies if reply),
        seconds=seconds,
        megabytes=_megabytes(log_folder / "api.log", precision),
    )


def _ask_all(address: str, precision: str, rows: Sequence[Row], max_new_tokens: int) -> list[dict[str, Any] | None]:
    import httpx

    with httpx.Client(trust_env=False) as client, ThreadPoolExecutor(AT_ONCE) as threads:

        def answer(row: Row) -> dict[str, Any] | None:
            try:
                reply: dict[str, Any] = ask(
                    address, row["question"], row["context"], client, do_sample=False, max_new_tokens=max_new_tokens
                )
            except QuestionRefused:
                return None
            return reply

        replies: list[dict[str, Any] | None] = []
        started = said = time.monotonic()
        for reply in threads.map(answer, rows):
            replies.append(reply)
            now = time.monotonic()
            if now - said > _PROGRESS_SECONDS or len(replies) == len(rows):
                said = now
                print(f"  {precision}: {len(replies)} of {len(rows)} questions ({now - started:.0f} s)", flush=True)
    return replies


def _megabytes(log: Path, precision: str) -> float:
    """The size of the weights as the endpoint has said it; also proof that it serves what is compared."""
    found = _WEIGHTS.findall(log.read_text(encoding="utf-8", errors="replace"))
    if not found or found[-1][1] != precision:
        raise ServingError(f"the endpoint did not load {precision} weights. Its log is {log}.")
    return float(found[-1][0])
