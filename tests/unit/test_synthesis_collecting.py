"""What becomes of each example."""

from support.chat_rows import chat_row

from components.core.service_llm.json_replies import read_json
from components.core.synthesis import DataGenConfig
from components.core.synthesis.asking import Call, Examples
from components.core.synthesis.collecting import COLUMNS, Collection
from components.core.synthesis.copies import CopyFilter
from components.core.synthesis.rows import Comparing
from components.core.synthesis.seeds import Seed, Seeds

REFERENCE = chat_row("How long does a rye bread bake in the oven of a village")
TEST = chat_row("Which river flows through the old town of Prague", split="test_sft")
THINGS = ("a lighthouse keeper", "seven blue marbles", "the taste of salt", "winter tyres", "an unpaid bill")


def collection(**keys):
    config = DataGenConfig(
        provider="openai", model="m", reference_ds_id="ref", synth_ds_id="new", num_samples=3, **keys
    )
    copies = CopyFilter(config.near_duplicate_similarity, Comparing())
    copies.hold_out([TEST])
    copies.know([REFERENCE])
    return Collection(config, Seeds([], [Seed(REFERENCE, "reference")], 0.5, 1), copies)


def example(prompt, response="It depends."):
    return {"prompt": prompt, "response": response}


def test_every_example_is_kept_or_counted():
    found = collection()
    good = [example(f"Write a line about {thing}") for thing in THINGS]
    key = "hf_" + "b2" * 17
    bad = [
        example(REFERENCE.prompt), good[0], example(TEST.prompt + "?"), "text",
        example("Repeat this token for me now", key), example(REFERENCE.prompt.replace("rye", "white")),
    ]  # fmt: skip
    found.take(Call(call=0, examples=[good[0], *bad, *good[1:]], tries=3))
    found.take(Call(call=1, problem="no valid JSON in 10 attempts", tries=0))
    assert [kept.row.prompt for kept in found.kept] == [each["prompt"] for each in good[:3]]
    assert found.dropped == {
        "malformed": 1, "private": 1, "duplicate": 1, "same_prompt": 1, "test_overlap": 1, "too_similar": 1,
        "surplus": 2,
    }  # fmt: skip
    assert sum(found.dropped.values()) + len(found.kept) == 11
    assert (found.failed_calls, found.retries, found.missing) == (1, 2, 0)
    assert "3 of 3 rows after 2 of at most 4 calls" in found.progress()
    assert "1 test overlap" in found.progress()
    assert not any(key in each.prompt + each.message for each in found.examples)


def test_a_kept_row_has_exactly_the_columns_and_its_provenance_beside_it():
    found = collection()
    found.take(Call(call=2, examples=["bad", example("A prompt about something else")], date="2026-01-01"))
    (kept,) = found.kept
    assert list(kept.as_row()) == list(COLUMNS) == ["generator", "prompt_id", "seed_prompt", "messages", "category"]
    assert kept.as_row()["generator"] == "openai/m"
    assert kept.facts == {
        "prompt_id": kept.row.prompt_id, "generator": "openai/m", "call": 2, "example": 2, "date": "2026-01-01",
        "topic": "", "seed": {"dataset": "set", "split": "train_sft", "row": 1, "kind": "reference"},
    }  # fmt: skip


def test_more_samples_than_before_take_what_was_too_many():
    calls = [Call(call=0, examples=[example(f"Write a line about {thing}") for thing in THINGS])]
    found = collection()
    found.take(calls[0])
    more = collection(samples_per_call=2)
    more._config = more._config.model_copy(update={"num_samples": 5})
    more.take(calls[0])
    assert (len(found.kept), len(more.kept)) == (3, 5)


def test_half_a_surrogate_pair_does_not_reach_a_file():
    answer = read_json('{"examples": [{"prompt": "a \\ud83d b", "response": "\\u00e4"}]}', Examples)
    assert answer.examples == [{"prompt": "a ? b", "response": "ä"}]
