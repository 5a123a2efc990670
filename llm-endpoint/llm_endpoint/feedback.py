"""What users teach: their feedback as training rows, and the recent answers that it is about."""

import fcntl
import hashlib
import json
import logging
import os
import re
import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal
from uuid import UUID

from llm_endpoint.redaction import Redactor

logger = logging.getLogger(__name__)

Outcome = Literal["stored", "duplicate", "nothing_to_learn", "too_long", "full"]

_LIMIT_BYTES = 256 * 2**20
_LONGEST_ROW_BYTES = 2 * 2**20
"""Longer rows are refused by the training's data contract (data.max_row_bytes)."""
_ROW_ID = re.compile(rb'\{"id": "([0-9a-f]{24})"')


def learned_answer(
    response: str, score: float | None, correction: str | None, no_answer_text: str | None = None
) -> str | None:
    """The answer that a feedback teaches; "" when the context has none, None when there is nothing to learn.

    Args:
        response: What the model answered.
        score: 0 to 1; from 0.5 on the response counts as right.
        correction: The right answer, which wins over the response; "" when the context has none.
        no_answer_text: What the model says where the context has no answer.
    """
    if correction is None and (score is None or score < 0.5):
        return None
    answer = (response if correction is None else correction).strip()
    if no_answer_text is not None and answer.lower() == no_answer_text.strip().lower():
        return ""
    # an empty response that was liked teaches nothing, an empty correction says that there is no answer
    return answer if answer or correction is not None else None


class FeedbackStore:
    """A JSON Lines file in the row schema of the fine-tuning data, shared by threads and processes.

    Rows are redacted and unique. The file may be moved away at any time; the next row starts a new one.
    """

    def __init__(self, path: Path, limit_bytes: int = _LIMIT_BYTES) -> None:
        """Nothing is read or made before the first row.

        Args:
            path: The file; its folder is made at need.
            limit_bytes: Size at which no more rows are taken.
        """
        self._path, self._limit = path, limit_bytes
        self._lock = threading.Lock()
        self._known: set[int] = set()
        """First 64 bits of the ids of the rows before `_read_to`."""
        self._read_to = 0
        self._file_id: tuple[int, int] | None = None
        self._warned = False

    def add(
        self,
        trace_id: UUID | str,
        context: str,
        question: str,
        answer_text: str | None,
        comment: str | None = None,
        score: float | None = None,
    ) -> Outcome:
        """Append one row. Call it only with the user's consent; it reads and writes the disk.

        Args:
            trace_id: Of the request, kept beside the row.
            context: What the question was about.
            question: Must hold more than white space, like the context; otherwise there is nothing to learn.
            answer_text: From `learned_answer`: "" makes an unanswerable row, None is not stored.
            comment: Kept beside the row.
            score: Kept beside the row.

        Returns:
            What became of it.

        Raises:
            OSError: If the file cannot be written.
        """
        if answer_text is None or not context.strip() or not question.strip():
            return "nothing_to_learn"
        row = _make_row(context, question, answer_text)
        row |= {"trace_id": str(trace_id)}
        row |= {} if score is None else {"score": score}
        row |= {} if not comment else {"comment": Redactor().text(_unicode(comment))}
        line = json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        if len(line) > _LONGEST_ROW_BYTES:
            return "too_long"
        with self._lock:
            return self._append(int(row["id"][:16], 16), line)

    def _append(self, key: int, line: bytes) -> Outcome:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # what users wrote is nobody else's business on this machine
        number = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(number, "r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # freed when the file is closed, also by a crash
            self._read_new_rows(file)
            if key in self._known:
                return "duplicate"
            if self._read_to + len(line) > self._limit:
                if not self._warned:
                    logger.warning("%s is full; move it away to take more feedback", self._path)
                self._warned = True
                return "full"
            written = 0
            while written < len(line):
                written += file.write(line[written:]) or 0
            self._known.add(key)
            self._read_to += len(line)
            return "stored"

    def _read_new_rows(self, file: Any) -> None:
        """Learn the ids that others have written since, and repair a last line that a crash has torn."""
        status = os.fstat(file.fileno())
        file_id = (status.st_dev, status.st_ino)
        if file_id != self._file_id or status.st_size < self._read_to:
            self._file_id, self._read_to, self._warned = file_id, 0, False
            self._known.clear()
        if status.st_size == self._read_to:
            return
        file.seek(self._read_to)
        with open(file.fileno(), "rb", closefd=False) as lines:
            self._learn(lines, file)

    def _learn(self, lines: BinaryIO, file: Any) -> None:
        for line in lines:
            if not line.endswith(b"\n"):
                if not _is_row(line):
                    file.truncate(self._read_to)
                    logger.warning("Removed a row of %s that a crash had left unfinished", self._path)
                    return
                file.write(b"\n")
                self._read_to += 1
            found = _ROW_ID.match(line)
            if found is not None:
                self._known.add(int(found[1][:16], 16))
            self._read_to += len(line)


def _make_row(context: str, question: str, answer: str) -> dict[str, Any]:
    redactor = Redactor()
    # in this order: a password that the context names is also replaced in the answer
    context, question, answer = (redactor.text(_unicode(text)) for text in (context, question, answer.strip()))
    answers = {"text": [answer], "answer_start": [context.find(answer)]} if answer else {"text": [], "answer_start": []}
    content = json.dumps([context, question, answer], ensure_ascii=False).encode()
    return {
        "id": hashlib.sha256(content).hexdigest()[:24],
        "title": "feedback",
        "context": context,
        "question": question,
        "answers": answers,
    }


def _unicode(text: str) -> str:
    """The text with halves of surrogate pairs, which no file can hold, as question marks; offsets stay."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _is_row(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


@dataclass(frozen=True)
class RecentAnswer:
    """What was asked and answered."""

    question: str
    context: str
    response: str


class RecentAnswers:
    """The last answers by trace id, in memory only, so that feedback need not repeat them."""

    def __init__(self, max_items: int = 1000, max_bytes: int = 32 * 2**20) -> None:
        """The oldest are forgotten when one of the bounds is reached."""
        self._max_items, self._max_bytes = max_items, max_bytes
        self._answers: OrderedDict[UUID, RecentAnswer] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def remember(self, trace_id: UUID, question: str, context: str, response: str) -> None:
        """Keep an answer; one that is larger than all there is room for is not kept."""
        answer = RecentAnswer(question, context, response)
        size = _size(answer)
        if size > self._max_bytes or self._max_items < 1:
            return
        with self._lock:
            self._forget(trace_id)
            self._answers[trace_id] = answer
            self._bytes += size
            while len(self._answers) > self._max_items or self._bytes > self._max_bytes:
                self._forget(next(iter(self._answers)))

    def find(self, trace_id: UUID) -> RecentAnswer | None:
        """The answer of a request, if it is not forgotten."""
        with self._lock:
            return self._answers.get(trace_id)

    def _forget(self, trace_id: UUID) -> None:
        answer = self._answers.pop(trace_id, None)
        if answer is not None:
            self._bytes -= _size(answer)


def _size(answer: RecentAnswer) -> int:
    return 500 + sum(sys.getsizeof(text) for text in (answer.question, answer.context, answer.response))
