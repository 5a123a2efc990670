"""Near copies: the index misses none that the exact comparison would find, and the rule is about what is asked."""

import random

import pytest

from components.core.data.contract.near_copies import NearCopies, similarity

WORDS = [f"word{number}" for number in range(2000)]


def text(rng: random.Random, context: int = 60, question: int = 8) -> str:
    return " ".join(rng.choices(WORDS, k=context)) + "\n" + " ".join(rng.choices(WORDS, k=question))


def test_every_near_copy_is_among_the_candidates():
    rng = random.Random(1)
    held_out = [text(rng, context=rng.randint(60, 200)) for _ in range(300)]
    copies = []
    for original in held_out:
        words = original.split(" ")
        words[rng.randrange(20)] = "changed"
        copies.append(" ".join(words))
    index = NearCopies()
    index.build(iter(held_out))
    found = dict(enumerate(index.candidates(iter(copies))))
    near = [number for number in range(300) if similarity(held_out[number], copies[number]) >= 0.85]
    assert len(near) > 250
    assert [number for number in near if number not in found[number][1]] == []


def test_unrelated_rows_are_no_candidates():
    rng = random.Random(2)
    index = NearCopies()
    index.build(text(rng) for _ in range(200))
    assert not any(candidates for _, candidates in index.candidates(text(rng) for _ in range(200)))


def test_an_empty_index_has_no_candidates():
    index = NearCopies()
    index.build(iter(()))
    assert list(index.candidates(iter(["a b c"]))) == [("a b c", ())]


def test_other_questions_on_a_long_context_are_no_near_copies():
    context = text(random.Random(3), context=300, question=1).replace("\n", " ")
    assert similarity(f"{context}\nwho wrote it", f"{context}\nwhere was it written") < 0.5


def test_case_and_punctuation_do_not_matter():
    assert similarity("The cat, sat.\nWho sat?", "the CAT sat\nwho sat") == 1.0


def test_texts_without_words_are_compared():
    assert similarity("?\n!", "?\n!") == 1.0
    assert similarity("a\nb", "?\n!") == 0.0


@pytest.mark.parametrize("words", [1, 3, 5])
def test_short_rows_are_indexed(words):
    row = "\n".join(" ".join(WORDS[:words]) for _ in range(2))
    index = NearCopies()
    index.build(iter([row]))
    assert [list(candidates) for _, candidates in index.candidates(iter([row]))] == [[0]]
