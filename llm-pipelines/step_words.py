"""What a step says: its output without the machinery's own, and the words that tell why it failed."""

import re
from collections import deque

from components.core.errors import ERROR_PREFIX, PlatformError

_MACHINERY = re.compile(
    r"KFP Executor"
    r'|^time="?\d{4}-'  # the workflow engine's wrapper around a pod's command
    r"|^[IWEF]\d{4} \d\d:\d\d:\d\d"  # the launcher around a step
)


class StepFailed(PlatformError):
    """A step ended with an error; the message holds the step's own last words."""


class StepWords:
    """Takes a step's output line by line and remembers its end and its last error.

    Args:
        indent: What stands before every line of a step, where the machinery's lines stand between them.
    """

    def __init__(self, indent: str = "") -> None:
        self.indent = indent
        self.tail: deque[str] = deque(maxlen=15)
        self.error: list[str] = []
        self._in_dump = False

    def take(self, line: str) -> str | None:
        """The line as a user should see it; none when it is the machinery's."""
        if self._in_dump or _MACHINERY.search(line):
            # The executor prints its whole input, an indented JSON object.
            self._in_dump = "Got executor_input" in line or (self._in_dump and line != f"{self.indent}}}")
            return None
        if line.strip().startswith(ERROR_PREFIX):
            self.error = [line.strip().removeprefix(ERROR_PREFIX)]
        elif self.error and line.startswith(self.indent) and line.strip():
            self.error.append(line.strip())
        if not line.strip():
            return None
        self.tail.append(line.strip())
        return line.removeprefix(self.indent)

    def cause(self) -> str:
        """Why the step failed: its `error:` line, else the end of its output."""
        return "\n".join(self.error) or "\n".join(self.tail)


def words_of(log: str) -> StepWords:
    """The words in the whole log of a pod."""
    words = StepWords()
    for line in log.splitlines():
        words.take(line.rstrip())
    return words
