"""Merged rows on the Hub with the real clients; a loopback server stands in for the Hub."""

import pytest
from pydantic import SecretStr
from support.chat_rows import raw_row

from components.core.settings import Settings
from components.core.synthesis import DatasetMergeConfig, merge
from components.core.tables import read_rows, write_rows

pytestmark = pytest.mark.e2e

FIRST, SECOND, THIRD, TEST = (
    f"Tell me what a {thing} does all day long" for thing in ("cooper", "miller", "tanner", "glazier")
)


def test_two_datasets_are_merged_on_the_hub_and_appended_to(hub, tmp_path):
    settings = Settings(hf_endpoint=hub.url, hf_token=SecretStr("hf_write"), whetstone_home=tmp_path)
    write_rows([raw_row(FIRST)], "acme/one", "train_sft", settings, push_to_hub=True)
    write_rows([raw_row(TEST)], "acme/one", "test_sft", settings, push_to_hub=True)
    write_rows([raw_row(SECOND), raw_row(FIRST), raw_row(TEST)], "two", "train_sft", settings)
    keys = {"ds1_id": "acme/one", "ds2_id": "two", "result_ds_id": "acme/all", "push_result_ds_to_hf_hub": True}
    result = merge(DatasetMergeConfig(**keys), settings)
    assert (result.rows, result.test_rows) == (2, 1)
    assert result.counts() == {"duplicate": 1, "test_overlap": 1}
    assert result.where == f"{hub.url}/datasets/acme/all"
    write_rows([raw_row(THIRD)], "two", "train_sft", settings)
    result = merge(DatasetMergeConfig(**keys, result_train_append=True), settings)
    assert (result.rows, result.counts()) == (3, {"duplicate": 1})
    rows = read_rows("acme/all", "train_sft", settings)
    assert [row["prompt"] for row in rows] == [FIRST, SECOND, THIRD]
    assert [row["source"] for row in rows] == ["acme/one:train_sft#1", "two:train_sft#1", "two:train_sft#1"]
    assert [row["prompt"] for row in read_rows("acme/all", "test_sft", settings)] == [TEST]
