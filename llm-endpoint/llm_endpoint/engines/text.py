"""Token ids of one answer as text, piece by piece, ended by stop texts."""

from collections.abc import Sequence
from typing import Any


class AnswerText:
    """Decodes one answer.

    Args:
        tokenizer: A `tokenizers.Tokenizer`.
        stop: Texts that end the answer and are not part of it.
        one_line: A line break ends an answer that has already said something.
        begun: The answer continues what has been said.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str], one_line: bool, begun: bool = False) -> None:
        from tokenizers.decoders import DecodeStream

        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._stop = tuple(text for text in stop if text)
        self._one_line, self._begun = one_line, begun
        self._ids: list[int] = []
        self._sent = ""
        self._held = ""
        self.ended = False

    def add(self, token_ids: Sequence[int], last: bool) -> str:
        """The text that these tokens add; what could be the start of a stop text is held back until it is clear.

        Args:
            token_ids: New tokens in order.
            last: True: nothing follows, so nothing is held back.
        """
        if self.ended:
            return ""
        self._ids.extend(token_ids)
        fresh = self._held + "".join(self._stream.step(self._tokenizer, number) or "" for number in token_ids)
        if last:
            # the stream never gives out bytes of an unfinished character; a whole decode shows them
            whole: str = self._tokenizer.decode(self._ids, skip_special_tokens=True)
            fresh = whole[len(self._sent) :] if whole.startswith(self._sent) else fresh
        text, self._held = self._cut(fresh, last)
        self._sent += text
        return text

    def _cut(self, fresh: str, last: bool) -> tuple[str, str]:
        ends = [at for stop in self._stop if (at := fresh.find(stop)) >= 0]
        if self._one_line:
            begun = self._begun or bool(self._sent.strip())
            blank = 0 if begun else len(fresh) - len(fresh.lstrip())
            at = fresh.find("\n", blank)
            if at >= 0 and (begun or fresh[:at].strip()):
                ends.append(at)
        if ends:
            self.ended = True
            return fresh[: min(ends)], ""
        if last or not self._stop:
            return fresh, ""
        held = max((_overlap(fresh, stop) for stop in self._stop), default=0)
        return fresh[: len(fresh) - held], fresh[len(fresh) - held :]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that `stop` begins with."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
