"""The embedded datasets of the tasks beside questions: made by their generator, and ready as they are."""

import json

import pytest

from components.core.data import prepare_dataset, source_version
from components.core.recipe import DataConfig, TaskConfig
from components.core.settings import STARTER_DIR, Settings
from components.starter.names import split_of
from components.starter.ratings import START
from components.starter.task_rows import ROW_COUNTS, TASKS, write_task_sets

FOLDER = STARTER_DIR / "tasks"
COLUMNS = {
    "single_label": {"text", "label"},
    "multi_label": {"text", "labels"},
    "regression": {"text", "score"},
    "ner": {"tokens", "ner_tags"},
    "chat_completion": {"prompt", "messages", "prompt_id"},
}


def rows(task: str, split: str) -> list[dict]:
    return [json.loads(line) for line in (FOLDER / task / f"{split}.jsonl").read_text("utf-8").splitlines()]


def test_the_generator_gives_exactly_the_committed_files(tmp_path):
    write_task_sets(tmp_path)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.jsonl")}
    assert made == {path.relative_to(FOLDER): path.read_bytes() for path in FOLDER.rglob("*") if path.is_file()}
    assert len(made) == len(TASKS) * len(ROW_COUNTS)


@pytest.mark.parametrize("task", TASKS)
def test_each_set_is_ready_for_its_task(tmp_path, task):
    report = prepare_dataset(DataConfig(), TaskConfig(name=task), tmp_path, Settings())
    assert report.rows == ROW_COUNTS
    assert (report.errors, report.dropped) == (0, {})
    first = json.loads((tmp_path / "train.jsonl").read_text("utf-8").splitlines()[0])
    assert set(first) - {"id"} == COLUMNS[task]


def test_each_task_has_a_version_of_its_own():
    versions = {source_version(DataConfig(), Settings(), task) for task in ("context_qa", *TASKS)}
    assert len(versions) == 1 + len(TASKS)


@pytest.mark.parametrize("split", ROW_COUNTS)
def test_no_invented_name_is_used_by_two_splits(split):
    words = {word for row in rows("ner", split) for word, tag in zip(row["tokens"], row["ner_tags"], strict=True)
             if tag != "O"}  # fmt: skip
    invented = {word for word in words if word[-3:] in ("ora", "ane", "esh", "ova", "eth", "ost", "una")}
    assert len(invented) > 50
    assert {split_of(word) for word in invented} == {split}


def test_every_split_has_all_labels_and_some_rows_without_any():
    for split in ROW_COUNTS:
        assert len({row["label"] for row in rows("single_label", split)}) == 9
        labels = [row["labels"] for row in rows("multi_label", split)]
        assert {label for each in labels for label in each} == {"company", "goods", "number", "person", "place", "time"}
        assert any(not each for each in labels)
        assert {tag for row in rows("ner", split) for tag in row["ner_tags"]} >= {
            f"B-{name}" for name in ("PER", "LOC", "ORG", "WORK")
        }


def test_ratings_stay_within_their_scale():
    scores = [row["score"] for split in ROW_COUNTS for row in rows("regression", split)]
    assert 0 < min(scores) < START < max(scores) < 10


def test_conversations_have_several_turns_and_questions_that_the_notes_leave_open():
    for split in ROW_COUNTS:
        conversations = [row["messages"] for row in rows("chat_completion", split)]
        assert {len(each) for each in conversations} == {2, 4, 6}
        answers = [message["content"] for each in conversations for message in each[1::2]]
        assert 0.1 < answers.count("The notes do not say.") / len(answers) < 0.3
        stated = [(each[0]["content"], answer["content"][:-1]) for each in conversations for answer in each[1::2]]
        assert all(value in notes for notes, value in stated if value != "The notes do not say")
