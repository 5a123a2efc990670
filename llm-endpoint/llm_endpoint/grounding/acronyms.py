"""WHO in the answer for World Health Organization in the context.

Not the other way round: what an acronym stands for is something that the context does not say.
"""

from llm_endpoint.grounding.glue import CONNECTORS
from llm_endpoint.grounding.spans import Place
from llm_endpoint.grounding.words import Words

MIN_LETTERS = 3
"""Two letters stand for too many things."""
_SKIPPED = CONNECTORS | {"and", "for", "on", "in", "to"}
_BREAKS = frozenset(".,;:!?\n")


def is_acronym(word: str) -> bool:
    """Three capitals or more, and nothing else."""
    return len(word) >= MIN_LETTERS and word.isalpha() and word.isupper()


def spelled_out(acronym: str, context: Words) -> Place | None:
    """The first name in the context with these initials."""
    letters, at = [], []
    for index, key in enumerate(context.keys):
        capital = context.text[context.starts[index]].isupper()
        if index and not _BREAKS.isdisjoint(context.gap(index - 1)):
            letters.append("\0")
            at.append(index)
        if capital or key not in _SKIPPED:
            letters.append(key[0] if capital else "\0")
            at.append(index)
    found = "".join(letters).find(acronym)
    return None if found < 0 else Place(at[found], at[found + len(acronym) - 1] + 1)
