"""Parts of heads' training: batches, the order of rows, which checkpoints stay, how a head begins."""

import pytest
from support.tiny_encoder import write_encoder

from components.core.heads.tokens import TokenTable, write_tokens
from components.core.heads.training.collating import Collator
from components.core.heads.training.job import catalogue_task
from components.core.heads.training.model import load_model, start_at_shares
from components.core.tasks import get_head_task
from components.core.tasks.heads import Head, InputEncoder, Scale
from components.core.training.checkpoints import keep_best_and_newest, remove_checkpoints

INPUTS = [
    {"input_ids": [5, 6, 7], "token_type_ids": [0, 0, 1], "labels": [1, -100, 0]},
    {"input_ids": [8], "token_type_ids": [0], "labels": [0]},
]


def head(task):
    labels = [] if task == "regression" else ["a", "b"]
    scale = Scale(mean=0, std=1, minimum=0, maximum=1) if task == "regression" else None
    return Head(
        task=task, labels=labels, scale=scale, columns={}, max_seq_length=6, pad_token_id=9, token_type_ids=True
    )


def test_words_are_padded_without_a_label():
    batch = Collator(head("ner"), "token")(INPUTS)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[1, -100, 0], [0, -100, -100]]


@pytest.mark.parametrize(
    ("task", "labels", "kind"),
    [("single_label", [1, 0], "torch.int64"), ("regression", [0.5, -2.0], "torch.float32"),
     ("multi_label", [[1.0, 0.0], [0.0, 0.0]], "torch.float32")],
)  # fmt: skip
def test_labels_have_the_type_that_the_loss_takes(task, labels, kind):
    inputs = [each | {"labels": label} for each, label in zip(INPUTS, labels, strict=True)]
    batch = Collator(head(task), "sequence", length=6)(inputs)
    assert (batch["labels"].tolist(), str(batch["labels"].dtype)) == (labels, kind)
    assert batch["input_ids"].shape == (2, 6)


@pytest.mark.parametrize("batch", [4, None])
def test_an_epoch_has_each_row_once_in_an_order_of_its_own(batch):
    from components.core.heads.training.loop import Order

    lengths = [1 + row % 7 for row in range(50)]
    order, again, other = (Order(lengths, batch, seed) for seed in (3, 3, 4))
    first = list(order)
    assert sorted(first) == list(range(50))
    assert list(again) == first != list(other)
    order.set_epoch(1)
    assert sorted(order) == list(range(50))
    assert list(order) != first


def test_rows_of_like_length_stay_together():
    from components.core.heads.training.loop import Order

    lengths = [10 * (row % 4) + 1 for row in range(640)]
    rows = list(Order(lengths, 8, 1))
    spreads = [len({lengths[row] for row in rows[first : first + 8]}) for first in range(0, 640, 8)]
    assert sum(spreads) <= 120  # of 80 batches; at random nearly all four lengths are in each


@pytest.mark.parametrize(
    ("limit", "best", "newest", "kept"),
    [(-1, 2, True, [1, 2, 3, 4]), (1, 2, True, [2, 4]), (1, 2, False, [2]), (2, 1, True, [1, 4]),
     (3, 1, False, [1, 3, 4]), (1, None, True, [4])],
)  # fmt: skip
def test_the_best_checkpoint_always_stays(tmp_path, limit, best, newest, kept):
    for step in (1, 2, 3, 4):
        (tmp_path / f"checkpoint-{step}").mkdir()
    keep_best_and_newest(tmp_path, limit, best, newest)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"checkpoint-{step}" for step in kept]
    assert remove_checkpoints(tmp_path)
    assert not remove_checkpoints(tmp_path)


def test_a_core_name_has_its_catalogue_name():
    assert catalogue_task("single_label") == "classification_single_label"


def test_a_fresh_head_of_labels_begins_with_their_shares(tmp_path):
    import torch

    labels = ["often", "seldom", "never"]
    folder, task = write_encoder(tmp_path / "encoder"), get_head_task("multi_label")
    head = Head(
        task="multi_label", labels=labels, columns={}, max_seq_length=16, pad_token_id=0, token_type_ids=True,
        thresholds=[0.5] * 3,
    )  # fmt: skip
    rows = [{"text": "a", "labels": ["often", "seldom"]}, *({"text": "a", "labels": ["often"]} for _ in range(8))]
    write_tokens(tmp_path / "train.arrow", rows, task, head, InputEncoder(folder, head), 4)
    shares = TokenTable(tmp_path / "train.arrow").label_shares()
    assert shares.tolist() == pytest.approx([0.95, 0.15, 0.05])

    loaded = load_model(folder, task, head)
    start_at_shares(loaded, shares)
    assert torch.sigmoid(loaded.model.classifier.bias).tolist() == pytest.approx(shares.tolist(), abs=1e-6)
    loaded.model.save_pretrained(tmp_path / "trained")
    trained = load_model(tmp_path / "trained", task, head)
    start_at_shares(trained, [0.5, 0.5, 0.5])
    assert torch.sigmoid(trained.model.classifier.bias).tolist() == pytest.approx(shares.tolist(), abs=1e-6)
