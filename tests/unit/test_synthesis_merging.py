"""Two datasets become one: nothing twice, no test row, every row with its origin."""

import json

import pytest
from pydantic import ValidationError
from support.chat_rows import raw_row

from components.core.errors import DataError
from components.core.settings import Settings
from components.core.synthesis import DatasetMergeConfig, merge
from components.core.synthesis.merging import COLUMNS

FIRST = ["How is rye bread baked in an oven", "Where does the river Elbe begin its way"]
SECOND = ["Who keeps the light of the old tower", "How is rye bread baked in an oven"]
TEST = "What do bees do in the cold winter months"


@pytest.fixture
def place(tmp_path):
    """Writes datasets and merges them."""
    return Place(tmp_path)


class Place:
    def __init__(self, folder):
        self.folder = folder
        self.settings = Settings(whetstone_home=folder / "home")
        self.write("one", "train_sft", [raw_row(prompt) for prompt in FIRST])
        self.write("one", "test_sft", [raw_row(TEST)])
        self.write("two", "train_sft", [raw_row(prompt, generator="openai/m", seed_prompt="s") for prompt in SECOND])

    def write(self, dataset, split, rows):
        file = self.folder / dataset / f"{split}.jsonl"
        file.parent.mkdir(exist_ok=True)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def read(self, dataset, split):
        lines = (self.folder / dataset / f"{split}.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def merge(self, **keys):
        names = {"ds1_id": "one", "ds2_id": "two", "result_ds_id": "new"} | keys
        paths = {
            name: str(self.folder / value) if name.endswith("_id") and value else value for name, value in names.items()
        }
        return merge(DatasetMergeConfig(**paths), self.settings)


def test_rows_of_both_with_their_origin_and_no_copy(place):
    result = place.merge()
    rows = place.read("new", "train_sft")
    assert [row["prompt"] for row in rows] == [*FIRST, SECOND[0]]
    assert all(list(row) == list(COLUMNS) for row in rows)
    assert rows[2]["source"] == f"{place.folder}/two:train_sft#1"
    assert (rows[2]["generator"], rows[2]["seed_prompt"], rows[2]["category"]) == ("openai/m", "s", "Test")
    assert result.counts() == {"duplicate": 1}
    assert result.dropped[0].place == f"{place.folder}/two:train_sft, row 2"
    assert list(result.kept.values()) == [2, 1]
    report = json.loads((place.folder / "home/synthesis").rglob("merge.json").__next__().read_text())
    assert report["dropped"][0]["reason"] == "duplicate"


def test_a_row_that_repeats_a_test_row_is_left_out_whichever_dataset_it_is_of(place):
    place.write("one", "train_sft", [raw_row(FIRST[0]), raw_row(TEST.upper())])
    place.write("two", "train_sft", [raw_row(SECOND[0]), raw_row("Why is the sky blue on some days")])
    place.write(
        "far", "test", [{"context": "x", "question": "y", "answers": []}, raw_row("why is the sky blue on some days")]
    )
    result = place.merge(more_test_sets=[f"{place.folder}/far:test"])
    assert [row["prompt"] for row in place.read("new", "train_sft")] == [FIRST[0], SECOND[0]]
    assert [(each.reason, each.place[-5:]) for each in result.dropped] == [("test_overlap", "row 2")] * 2


def test_the_test_split_is_carried_over_once_and_then_stays(place):
    place.merge()
    written = (place.folder / "new/test_sft.jsonl").read_bytes()
    assert [row["messages"] for row in place.read("new", "test_sft")] == [raw_row(TEST)["messages"]]
    place.write("one", "test_sft", [raw_row("Another test prompt that came later on")])
    result = place.merge()
    assert (place.folder / "new/test_sft.jsonl").read_bytes() == written
    assert result.test_rows == 1


def test_a_test_split_that_is_there_also_keeps_rows_out(place):
    place.write("new", "test_sft", [raw_row(FIRST[1])])
    before = (place.folder / "new/test_sft.jsonl").read_bytes()
    assert place.merge().counts() == {"duplicate": 1, "test_overlap": 1}
    assert (place.folder / "new/test_sft.jsonl").read_bytes() == before


def test_append_flags_add_below_what_is_there(place):
    place.merge()
    place.write("two", "train_sft", [raw_row("A third thing that nobody asked before now")])
    place.write("two", "test_sft", [raw_row(TEST), raw_row("Which bird sings in the early morning")])
    result = place.merge(result_train_append=True, result_test_append=True, ds2_test_split="test_sft")
    prompts = [row["prompt"] for row in place.read("new", "train_sft")]
    assert prompts == [*FIRST, SECOND[0], "A third thing that nobody asked before now"]
    assert place.read("new", "train_sft")[2]["source"] == f"{place.folder}/two:train_sft#1"
    assert [row["prompt"] for row in place.read("new", "test_sft")] == [TEST, "Which bird sings in the early morning"]
    assert result.counts() == {"duplicate": 2}
    again = place.merge(result_train_append=True, result_test_append=True, ds2_test_split="test_sft")
    assert (again.rows, again.test_rows) == (4, 2)


def test_without_append_the_training_split_is_replaced(place):
    place.write("new", "train_sft", [raw_row("old")])
    place.merge()
    assert len(place.read("new", "train_sft")) == 3


def test_a_dataset_can_be_its_own_result(place):
    place.merge(result_ds_id="one")
    assert len(place.read("one", "train_sft")) == 3
    assert place.read("one", "test_sft") == [raw_row(TEST)]


def test_bad_rows_are_left_out_with_number_and_reason(place):
    place.write("two", "train_sft", [{"messages": []}, raw_row("x"), {"messages": [{"role": "user", "content": 7}]}])
    result = place.merge()
    assert [(each.reason, each.place.rpartition(" ")[2]) for each in result.dropped] == [
        ("bad_row", "1"),
        ("bad_row", "3"),
    ]
    assert "messages[0].content" in result.dropped[1].message


def test_feedback_joins_and_private_rows_do_not(place):
    answers = {"text": ["Bob"], "answer_start": [0]}
    row = {"id": "a", "context": "Bob came from Lyon.", "question": "Who came?", "answers": answers, "trace_id": "t"}
    other = {
        **row,
        "id": "b",
        "question": "What is the name of the town?",
        "answers": {"text": ["Lyon"], "answer_start": [14]},
    }
    private = {**row, "id": "c", "context": "Bob, bob@example.org, came."}
    place.write("home", "feedback", [row, other, row, private])
    result = place.merge(ds2_id=None, feedback_file=place.folder / "home/feedback.jsonl")
    rows = place.read("new", "train_sft")
    assert [row["messages"][1]["content"] for row in rows] == ["Yes.", "Yes.", "Bob", "Lyon"]
    assert rows[2]["category"] == "feedback"
    assert rows[2]["source"] == "feedback.jsonl#1 trace t"
    assert result.counts() == {"duplicate": 1, "private": 1}
    assert "example.org" not in json.dumps([vars(each) for each in result.dropped])


def test_feedback_on_a_test_row_is_left_out(place):
    row = {"id": "a", "context": "Bob came from Lyon.", "question": "Who came?", "answers": {"text": ["Bob"]}}
    place.write("home", "feedback", [row])
    place.write("qa", "test", [{**row, "id": "z"}])
    result = place.merge(
        ds2_id=None, feedback_file=place.folder / "home/feedback.jsonl", more_test_sets=[f"{place.folder}/qa:test"]
    )
    assert result.counts() == {"test_overlap": 1}


def test_nothing_left_and_a_broken_test_split_are_errors(place):
    place.write("two", "train_sft", [raw_row(TEST)])
    place.write("one", "train_sft", [raw_row(TEST)])
    with pytest.raises(DataError, match="no row is left to write .2 that repeat a test row"):
        place.merge()
    place.write("one", "test_sft", [raw_row(TEST), {"messages": []}])
    with pytest.raises(DataError, match="1 rows that cannot be compared .row 2"):
        place.merge()
    with pytest.raises(DataError, match="no split 'test_sft'"):
        place.merge(ds1_id="two")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "nothing to merge"),
        ({"ds2_id": "b", "result_test_split": "train_sft"}, "must differ"),
        ({"ds2_id": "a", "ds2_split": "test_sft"}, "both training rows and a test split"),
        ({"feedback_file": "f", "ds2_test_split": "x"}, "ds2_id is not"),
        ({"ds2_id": "b", "more_test_sets": ["nosplit"]}, "pattern"),
    ],
)
def test_impossible_settings_are_refused(keys, message):
    with pytest.raises(ValidationError, match=message):
        DatasetMergeConfig(ds1_id="a", result_ds_id="r", **keys)
