"""Rows read from and pushed to the Hub with the real `datasets` client; a loopback server stands in for the Hub."""

import pytest
from pydantic import SecretStr

from components.core.errors import DataError, StorageError
from components.core.settings import Settings
from components.core.tables import check_target, read_rows, write_rows

pytestmark = pytest.mark.e2e

ROWS = [
    {"prompt": "What?", "messages": [{"role": "user", "content": "What?"}], "scores": [1.5, 2.0], "note": None},
    {"prompt": "Ünd?", "messages": [{"role": "user", "content": "Ünd?"}], "scores": [], "note": "x"},
]


@pytest.fixture
def settings(hub, tmp_path):
    return Settings(hf_endpoint=hub.url, hf_token=SecretStr("hf_write"), whetstone_home=tmp_path / "home")


def test_a_pushed_split_is_read_back_and_other_splits_stay(hub, settings):
    where = write_rows(ROWS, "acme/answers", "train", settings, push_to_hub=True)
    write_rows(ROWS[:1], "acme/answers", "test", settings, push_to_hub=True)
    write_rows(ROWS[1:], "acme/answers", "test", settings, push_to_hub=True, append=True)
    repo = hub.repo("dataset", "acme/answers")
    assert repo.private
    assert where == f"{hub.url}/datasets/acme/answers"
    assert sorted(path for path in repo.files if path.endswith(".parquet")) == [
        "data/test-00000-of-00001.parquet",
        "data/train-00000-of-00001.parquet",
    ]
    assert read_rows("acme/answers", "train", settings) == ROWS
    assert read_rows("acme/answers", "test", settings) == ROWS
    write_rows(ROWS[1:], "acme/answers", "test", settings, push_to_hub=True)
    assert read_rows("acme/answers", "test", settings) == ROWS[1:]
    assert read_rows("acme/answers", "train", settings) == ROWS


def test_a_revision_is_read_as_it_was(hub, settings):
    first = hub.add_repo(
        "dataset",
        "acme/rows",
        {"data/train-00000-of-00001.jsonl": '{"a": 1}\n', "data/test_sft-00000-of-00001.jsonl": '{"a": 2}\n'},
    )
    hub.repo("dataset", "acme/rows").commit({"data/test_sft-00000-of-00001.jsonl": '{"a": 3}\n'})
    assert read_rows("acme/rows", "test_sft", settings) == [{"a": 3}]
    assert read_rows("acme/rows", "test_sft", settings, revision=first) == [{"a": 2}]


def test_what_was_saved_here_before_a_push_is_set_aside(hub, settings):
    write_rows(ROWS[:1], "acme/answers", "test", settings)
    write_rows(ROWS, "acme/answers", "test", settings, push_to_hub=True)
    assert read_rows("acme/answers", "test", settings) == ROWS
    folder = settings.whetstone_home / "datasets" / "acme" / "answers"
    assert [path.name for path in folder.iterdir()] == ["test.jsonl.before-push"]


def test_a_split_that_is_not_saved_here_is_looked_for_on_the_hub(hub, settings):
    hub.add_repo("dataset", "acme/rows", {"data/test_sft-00000-of-00001.jsonl": '{"a": 2}\n'})
    write_rows(ROWS, "acme/rows", "answers", settings)
    assert read_rows("acme/rows", "test_sft", settings) == [{"a": 2}]
    with pytest.raises(DataError, match=r"has no split 'nothing'; it has test_sft\..*are the splits: answers"):
        read_rows("acme/rows", "nothing", settings)


def test_columns_that_the_other_splits_do_not_have_are_refused(hub, settings):
    hub.add_repo("dataset", "acme/rows", {"data/test_sft-00000-of-00001.jsonl": '{"a": 2}\n'})
    before = hub.repo("dataset", "acme/rows").head.sha
    with pytest.raises(DataError, match="has the columns a in split test_sft.*Choose another dataset"):
        write_rows(ROWS, "acme/rows", "answers", settings, push_to_hub=True)
    with pytest.raises(DataError, match="Choose another dataset"):
        check_target("acme/rows", "answers", settings, push_to_hub=True, columns=["b"])
    check_target("acme/rows", "answers", settings, push_to_hub=True, columns=["a"])
    assert hub.repo("dataset", "acme/rows").head.sha == before


def test_values_of_several_types_are_refused_before_anything_is_pushed(hub, settings):
    with pytest.raises(DataError, match="a column holds values of several types"):
        write_rows([{"a": 1}, {"a": "x"}], "acme/mixed", "test", settings, push_to_hub=True)
    assert hub.find("dataset", "acme/mixed") is None


def test_a_token_that_may_not_write_is_told_before_anything_is_done(hub, settings):
    weak = settings.model_copy(update={"hf_token": SecretStr("hf_read")})
    hub.add_repo("dataset", "acme/rows", {"test.jsonl": '{"a": 2}\n'})
    with pytest.raises(StorageError, match="can read but not write acme/rows") as caught:
        write_rows([{"a": 1}], "acme/rows", "test", weak, push_to_hub=True)
    assert "hf_read" not in str(caught.value)
