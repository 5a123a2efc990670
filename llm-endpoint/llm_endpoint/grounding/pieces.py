"""Which runs of an answer's words stand in the context, word for word or in another form."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from llm_endpoint.grounding.forms import bare, common_form, name_form
from llm_endpoint.grounding.glue import GLUE, LINKS
from llm_endpoint.grounding.kinds import Kind, trusts_case
from llm_endpoint.grounding.occurrences import find_all, letters_of, spell
from llm_endpoint.grounding.runs import maximal_runs
from llm_endpoint.grounding.spans import Place
from llm_endpoint.grounding.words import Words, is_unspaced


@dataclass(frozen=True)
class Piece:
    """Words `start` to `end` (exclusive) of the answer, standing in this order in the context at each of `places`."""

    start: int
    end: int
    places: list[int]
    keys: list[str]

    def literal_places(self, context: Words) -> list[int]:
        """The places with these very words, where there are any, and not with other forms of them."""
        literal = [place for place in self.places if context.keys[place : place + len(self)] == self.keys]
        return literal or self.places

    def __len__(self) -> int:
        return self.end - self.start

    def at(self, start: int) -> Place:
        """The piece at one of its places."""
        return Place(start, start + len(self), self.start, self.end)

    @property
    def words(self) -> set[int]:
        """Indices of its words in the answer."""
        return set(range(self.start, self.end))


def find_pieces(answer: Words, context: Words, kinds: Sequence[Kind]) -> list[Piece]:
    """The longest runs in the order of the answer; none overlap, and each claims something."""
    letters = letters_of(answer.keys)
    wanted = spell(answer.keys, letters.get)
    text = _spell_forms(answer, context, kinds, letters)
    found: dict[str, list[int]] = {}
    pieces = []
    for start, end in _disjoint(maximal_runs(wanted, text), kinds):
        while start < end and answer.keys[start] in LINKS and kinds[start] is Kind.GLUE:
            start += 1
        while start < end and answer.keys[end - 1] in LINKS and kinds[end - 1] is Kind.GLUE:
            end -= 1
        if all(kind is Kind.GLUE for kind in kinds[start:end]) or _is_fragment(answer.keys, start, end):
            continue
        run = wanted[start:end]
        if run not in found:
            found[run] = find_all(run, text)
        pieces.append(Piece(start, end, found[run], answer.keys[start:end]))
    return sorted(pieces, key=lambda piece: piece.start)


def _spell_forms(answer: Words, context: Words, kinds: Sequence[Kind], letters: dict[str, str]) -> str:
    """The context in the letters of the answer, where another form of a word has its letter too."""
    # accents may be missing on one side; two different accents are two different words (Vietnamese)
    loose = all(bare(key) == key for key in answer.keys) or all(bare(key) == key for key in set(context.keys))
    plain = bare if loose else str
    names: dict[str, str] = {}
    commons: dict[str, str] = {}
    trusted = trusts_case(answer.text)
    for index, (key, kind) in enumerate(zip(answer.keys, kinds, strict=True)):
        names.setdefault(name_form(plain(key)), letters.get(key, "\0"))
        if kind is Kind.WORD or not (trusted and index and answer.word(index)[0].isupper()):
            commons.setdefault(common_form(plain(key)), letters.get(key, "\0"))
    by_name: dict[str, str] = {}
    by_form: dict[str, str] = {}
    for key in set(context.keys):
        by_name[key] = letter = letters.get(key) or names.get(name_form(plain(key)), "\0")
        if letter == "\0" and (letter := commons.get(common_form(plain(key)), "\0")) != "\0":
            by_form[key] = letter
    by_form |= {key: "\0" for key, kind in zip(answer.keys, kinds, strict=True) if kind is Kind.NAME and key in GLUE}
    if not by_form or not trusts_case(context.text):
        return "".join([by_name[key] for key in context.keys])
    # a capital marks a name: "Williams" is not several of William, and WHO is not "who"
    start_of, text = context.starts, context.text
    return "".join(
        [
            by_form[key] if key in by_form and text[start].islower() else by_name[key]
            for key, start in zip(context.keys, start_of, strict=True)
        ]
    )


def _disjoint(runs: list[tuple[int, int]], kinds: Sequence[Kind]) -> list[tuple[int, int]]:
    """The runs with the most claims first; what they leave of the others."""

    def rank(start: int, end: int) -> tuple[int, int, int, int]:
        claims = [kind for kind in kinds[start:end] if kind is not Kind.GLUE]
        hard = sum(kind is not Kind.WORD for kind in claims)
        return -len(claims), -hard, start - end, start

    heap = [(*rank(start, end), end) for start, end in runs]
    heapq.heapify(heap)
    taken = [False] * len(kinds)
    chosen = []
    while heap:
        *_, start, end = heapq.heappop(heap)
        rest = [index for index in range(start, end) if not taken[index]]
        if len(rest) == end - start:
            chosen.append((start, end))
            taken[start:end] = [True] * (end - start)
        elif rest:
            # taken runs were no shorter, so what is left lies at one end or at both
            for first, last in _stretches(rest):
                heapq.heappush(heap, (*rank(first, last), last))
    return chosen


def _stretches(indices: list[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for index in indices:
        if found and found[-1][1] == index:
            found[-1] = (found[-1][0], index + 1)
        else:
            found.append((index, index + 1))
    return found


def _is_fragment(keys: list[str], start: int, end: int) -> bool:
    """One character out of a longer word of a script without spaces: it stands in too many other words."""
    if end - start > 1 or not is_unspaced(keys[start]):
        return False
    return any(is_unspaced(key) for key in keys[max(0, start - 1) : start] + keys[end : end + 1])
