"""Pieces that say something together only where they stand together: John and Smith, 24 and points."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from llm_endpoint.grounding.glue import CONNECTORS, GLUE
from llm_endpoint.grounding.kinds import Kind
from llm_endpoint.grounding.nearness import Nearness
from llm_endpoint.grounding.pieces import Piece
from llm_endpoint.grounding.spans import Place
from llm_endpoint.grounding.words import Words, is_number

_REACH = {
    frozenset((Kind.NUMBER,)): 2,
    frozenset((Kind.NAME,)): 3,
    frozenset((Kind.NUMBER, Kind.WORD)): 3,
    frozenset((Kind.NUMBER, Kind.NAME)): 2,
    frozenset((Kind.NUMBER, Kind.SIGN)): 2,
    frozenset((Kind.WORD,)): 12,
}
"""Words from one neighbour to the other in the context, by what they are; a name and an ordinary word may be apart."""
_REACH_FROM_YEAR = 8
"""From a year to the name behind it: "in 1969 Neil Armstrong"."""
_SEPARATORS = frozenset(",;:.!?()[]{}|/\n،؛。，、；：？！·•–—")


@dataclass(frozen=True)
class Joint:
    """Where two pieces meet: the last claim of the first and the first claim of the second, as words of the answer."""

    last: int
    first: int
    kinds: frozenset[Kind]
    reach: int
    """Words from one to the other in the context."""


@dataclass
class Chain:
    """Pieces that are neighbours in the answer, with the joints between them."""

    pieces: list[Piece]
    joints: list[Joint] = field(default_factory=list)

    @property
    def is_firm(self) -> bool:
        """Would the answer be another one with its pieces apart? Yes for names and numbers."""
        return any(joint.kinds != {Kind.WORD} for joint in self.joints)

    @property
    def words(self) -> set[int]:
        """Indices of its words in the answer."""
        return {index for piece in self.pieces for index in piece.words}


def chains_of(pieces: Sequence[Piece], answer: Words, kinds: Sequence[Kind]) -> list[Chain]:
    """Group pieces, which are in the order of the answer."""
    chains = [Chain([piece]) for piece in pieces[:1]]
    for before, piece in pairwise(pieces):
        joint = _joint(before, piece, answer, kinds)
        if joint:
            chains[-1].pieces.append(piece)
            chains[-1].joints.append(joint)
        else:
            chains.append(Chain([piece]))
    return chains


def _joint(before: Piece, after: Piece, answer: Words, kinds: Sequence[Kind]) -> Joint | None:
    """None where a comma, a word that is missing, or a particle such as "and" keeps two pieces apart."""
    last = max(index for index in before.words if kinds[index] is not Kind.GLUE)
    first = min(index for index in after.words if kinds[index] is not Kind.GLUE)
    between = range(last + 1, first)
    if any(kinds[index] is not Kind.GLUE or answer.keys[index] not in CONNECTORS for index in between):
        return None
    pair = frozenset((kinds[last], kinds[first]))
    gaps = "".join(answer.gap(index) for index in range(last, first))
    if _is_year(answer.keys[first]):
        gaps = gaps.replace(",", "")  # "May 5, 1990"
    if pair not in _REACH or not _SEPARATORS.isdisjoint(gaps):
        return None
    starts_with_year = _is_year(answer.keys[last]) and kinds[first] is Kind.NAME
    return Joint(last, first, pair, _REACH_FROM_YEAR if starts_with_year else _REACH[pair])


def _is_year(key: str) -> bool:
    return len(key) == 4 and key.isdigit()


def place_chain(chain: Chain, context: Words, nearness: Nearness) -> list[Place]:
    """One place for each piece, neighbours within reach of each other, at the best spot; [] if there is none."""
    pieces = chain.pieces
    if len(pieces) == 1:
        return [pieces[0].at(nearness.best(pieces[0].literal_places(context), len(pieces[0])))]
    rarest = min(range(len(pieces)), key=lambda number: len(pieces[number].places))
    options = [_spread(chain, context, rarest, start) for start in nearness.thinned(pieces[rarest].places)]
    options = [places for places in options if places]
    if len(options) < 2:
        return options[0] if options else []
    return max(options, key=lambda places: (nearness.score(min(places).start, max(places).end), -min(places).start))


def _spread(chain: Chain, context: Words, number: int, start: int) -> list[Place]:
    """Places of the whole chain, from the place of one piece outwards."""
    pieces = chain.pieces
    places = {number: pieces[number].at(start)}
    steps = [(index - 1, index, index - 1) for index in range(number + 1, len(pieces))]
    steps += [(index + 1, index, index) for index in range(number - 1, -1, -1)]
    for known, index, joint in steps:
        place = _nearest(pieces[index], places[known])
        if place is None:
            return []
        places[index] = place
        if not _meets(chain.joints[joint], chain, context, places, joint):
            return []
    return [places[index] for index in range(len(pieces))]


def _meets(joint: Joint, chain: Chain, context: Words, places: dict[int, Place], number: int) -> bool:
    """Do two placed pieces stand as near each other as their joint asks?"""
    last = places[number].start + joint.last - chain.pieces[number].start
    first = places[number + 1].start + joint.first - chain.pieces[number + 1].start
    low, high = min(first, last), max(first, last)
    if high - low > joint.reach:
        return False
    between = context.keys[low + 1 : high]
    if Kind.SIGN in joint.kinds:
        return not any(key in GLUE and key != "per" for key in between)  # $5 million; but not: $6, about 5 ...
    if Kind.NUMBER in joint.kinds:
        # "10 women, 5 men" is no evidence of 10 men; "May 5, 1990" is one of May 1990
        return _is_year(context.keys[low]) or _is_year(context.keys[high]) or not any(map(is_number, between))
    if joint.kinds != {Kind.NAME} or not (context.word(low)[0].isupper() or context.word(high)[0].isupper()):
        return True
    # "John Adams met Mary Brown" is no evidence of John Brown
    return all(not context.word(i)[0].islower() or context.keys[i] in CONNECTORS for i in range(low + 1, high))


def _nearest(piece: Piece, beside: Place) -> Place | None:
    """The piece's place nearest to another place, before or after it."""
    options = []
    after = bisect_left(piece.places, beside.end)
    if after < len(piece.places):
        options.append((piece.places[after] - beside.end, piece.places[after]))
    before = bisect_right(piece.places, beside.start - len(piece)) - 1
    if before >= 0:
        options.append((beside.start - len(piece) - piece.places[before], piece.places[before]))
    return piece.at(min(options)[1]) if options else None
