"""Conversations of several turns, packed: the training sees the same rows with the same answers to learn."""

from collections import Counter

import pytest
from support.chat_files import CHATML, write_conversations
from support.tiny_llama import write_tiny_llama

from components.core.data import prepare_dataset
from components.core.data.tokens import tokenize_dataset
from components.core.recipe import DataConfig, ModelConfig, TaskConfig, TokensConfig
from components.core.settings import Settings
from components.core.training.rows import read_rows

TASK = TaskConfig(name="chat_completion")


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The rows of training by whether they were packed, and how many sequences they lay in."""
    root = tmp_path_factory.mktemp("chat")
    base = write_tiny_llama(root / "base", chat_template=CHATML)
    write_conversations(root / "rows.jsonl", 60)
    settings = Settings(whetstone_home=root / "home")
    prepare_dataset(DataConfig(dataset_id=str(root / "rows.jsonl")), TASK, root / "data", settings)
    found = {}
    for packing in (True, False):
        tokens, output = TokensConfig(max_seq_length=256, packing=packing), root / f"tokens-{packing}"
        report = tokenize_dataset(TASK, ModelConfig(model_id=str(base)), tokens, root / "data", output, settings)
        rows = read_rows(output / "train.arrow")
        pairs = [tuple(tuple(part.tolist()) for part in rows.row(number)) for number in range(len(rows))]
        found[packing] = (Counter(pairs), report.splits["train"]["packs"])
    return found


def answers(labels):
    """How many runs of learned tokens a row has."""
    return sum(label != -100 and before == -100 for before, label in zip((-100, *labels), labels, strict=False))


def test_packed_conversations_come_apart_as_they_were(packed):
    (together, packs), (alone, rows) = packed[True], packed[False]
    assert together == alone
    assert packs < rows / 1.5
    assert rows == together.total() > 30


def test_each_conversation_keeps_the_mask_of_every_turn(packed):
    turns = Counter(answers(labels) for _, labels in packed[True][0].elements())
    assert set(turns) == {1, 2, 3}
