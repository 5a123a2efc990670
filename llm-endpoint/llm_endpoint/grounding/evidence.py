"""Is an answer that the context does not hold word for word still supported by it, and by which words?"""

from bisect import bisect_right

from llm_endpoint.grounding.acronyms import is_acronym, spelled_out
from llm_endpoint.grounding.chains import chains_of, place_chain
from llm_endpoint.grounding.glue import glue_for
from llm_endpoint.grounding.kinds import Kind, echoes, kinds_of
from llm_endpoint.grounding.nearness import Nearness, clues_of
from llm_endpoint.grounding.pieces import find_pieces
from llm_endpoint.grounding.sentences import sentence_starts
from llm_endpoint.grounding.spans import Place
from llm_endpoint.grounding.words import Words

MAX_MISSING = 0.3
"""Share of an answer's claims that the context need not have, all of them ordinary words."""
MAX_ANSWER_WORDS = 4096
"""Longer answers are sought as a whole only."""
_WEIGHT = {Kind.GLUE: 0, Kind.WORD: 1, Kind.NAME: 3, Kind.NUMBER: 3, Kind.SIGN: 1}


def find_evidence(answer: Words, context: Words, question: Words) -> list[Place]:
    """Places of the answer's pieces; [] unless every name and number, and most other words, are among them."""
    if len(answer) > MAX_ANSWER_WORDS:
        return []
    kinds, claims = _claims(answer, context, question)
    pieces = find_pieces(answer, context, kinds)
    found = {index for piece in pieces for index in piece.words}
    missing = claims - found
    firm = _acronyms(answer, context, missing)
    if any(kinds[index] is not Kind.WORD for index in missing):
        return []
    if any(kind is Kind.NUMBER and index not in found for index, kind in enumerate(kinds)):
        return []  # not even a number of the question is taken on trust
    pieces = [piece for piece in pieces if claims & piece.words]
    nearness = Nearness(context, clues_of(question) + clues_of(answer))
    loose: list[tuple[Place, set[int]]] = []
    for chain in chains_of(pieces, answer, kinds):
        places = place_chain(chain, context, nearness)
        if not places and chain.is_firm:
            return []
        said = claims & chain.words
        if places and (len(said) > 2 or any(kinds[index] is not Kind.WORD for index in said)):
            firm += places
        else:
            for piece in chain.pieces:
                place = piece.at(nearness.best(piece.literal_places(context), len(piece)))
                loose.append((place, claims & piece.words))
    near, stray = _split(loose, firm, context)
    missing.update(*stray)
    lost, weight = (sum(_WEIGHT[kinds[index]] for index in words) for words in (missing, claims))
    return firm + near if 2 * len(missing) < len(claims) and lost <= MAX_MISSING * weight else []


def _claims(answer: Words, context: Words, question: Words) -> tuple[list[Kind], set[int]]:
    """Kind of each word, and the words that say something which the question does not."""
    kinds, echoed = kinds_of(answer, glue_for(context.keys)), echoes(answer, question)
    said = {index for index, kind in enumerate(kinds) if kind is not Kind.GLUE}
    # an answer that only repeats words of the question ("A or B?") has to be found itself
    return kinds, {index for index in said if not echoed[index]} or said


def _split(
    loose: list[tuple[Place, set[int]]], firm: list[Place], context: Words
) -> tuple[list[Place], list[set[int]]]:
    """Ordinary words in a sentence with other evidence, and what the answer says with those that stand alone."""
    if not loose or (len(loose) == 1 and not firm):
        return [place for place, _ in loose], []
    starts = sentence_starts(context)
    anchors = firm or [min(loose, key=lambda item: (-len(item[1]), item[0]))[0]]
    sentences = {bisect_right(starts, place.start) for place in anchors}
    near, stray = [], []
    for place, said in loose:
        if bisect_right(starts, place.start) in sentences:
            near.append(place)
        else:
            stray.append(said)
    return near, stray


def _acronyms(answer: Words, context: Words, missing: set[int]) -> list[Place]:
    """Places of names that the answer shortens to their initials; what is found leaves `missing`."""
    places = []
    for index in sorted(missing):
        if is_acronym(answer.word(index)) and (place := spelled_out(answer.keys[index], context)):
            places.append(place)
            missing.discard(index)
    return places
