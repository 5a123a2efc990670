"""The question, the context and the answer that all servers of the serving benchmarks deal with."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STARTER = ROOT / "components" / "starter" / "model"

OWN_SECONDS = "stub_core_seconds"
"""Metric of the endpoint with the stub core: what that core itself used, no part of what is measured."""
QUESTION = "Who kept the lamp at Fallow Point, and what is written about it?"
SYSTEM = "Answer the question from the context only, in the words of the context."
_ENTRY = (
    "In {year} the lamp at Fallow Point was kept by {name}, who wrote that the {thing} was carried up the stairs "
    "in {count} baskets before the first ship came into the bay."
)
_NAMES = ("Ada Brandt", "Joost Riemer", "Marit Solheim", "Piers Aldous")
_THINGS = ("oil", "coal", "bread", "new glass")


def context() -> str:
    """About 2 kB of plain sentences."""
    entries = [
        _ENTRY.format(year=1871 + 3 * n, name=_NAMES[n % 4], thing=_THINGS[n * 3 % 4], count=7 + n) for n in range(13)
    ]
    return " ".join(entries)


def answer_ids(tokens: int) -> tuple[int, ...]:
    """The first tokens of the second entry and what follows it, by the starter's tokenizer."""
    ids: list[int] = _tokenizer().encode(context()[len(_ENTRY) :], add_special_tokens=False).ids
    if len(ids) < tokens:
        raise ValueError(f"the answer has only {len(ids)} tokens")
    return tuple(ids[:tokens])


def answer_pieces(tokens: int) -> list[str]:
    """The same answer as the text of each token, the way an OpenAI-compatible server sends it."""
    from tokenizers.decoders import DecodeStream

    tokenizer, stream = _tokenizer(), DecodeStream(skip_special_tokens=True)
    return [stream.step(tokenizer, number) or "" for number in answer_ids(tokens)]


def question_body(**more: Any) -> dict[str, Any]:
    """What is posted to /generate."""
    return {"question": QUESTION, "context": context(), **more}


def request_bytes(path: str, body: dict[str, Any]) -> bytes:
    """A POST as it goes over the wire."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def _tokenizer() -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(STARTER / "tokenizer.json"))
