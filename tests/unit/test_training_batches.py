"""Order, size and layout of batches; the gradient never depends on the layout."""

import numpy as np
import pytest
from support.tiny_training import random_rows, write_rows

from components.core.recipe import TrainingConfig
from components.core.training.batches import build_pieces, empty_piece, plan_batches, share_rows, split_rows
from components.core.training.rows import read_rows

LENGTHS = np.random.default_rng(0).integers(5, 60, 200)


def test_every_epoch_has_every_row_once_in_an_order_of_its_own():
    plan = plan_batches(LENGTHS, TrainingConfig(num_train_epochs=2, tokens_per_batch=500))
    first, second = plan.order[:200], plan.order[200:]
    assert sorted(first) == sorted(second) == list(range(200))
    assert list(first) != list(second)
    assert list(np.concatenate([plan.batch(number) for number in range(plan.batches)])) == list(plan.order)


def test_the_order_is_decided_by_the_seed():
    plans = [plan_batches(LENGTHS, TrainingConfig(seed=seed)) for seed in (1, 1, 2)]
    assert list(plans[0].order) == list(plans[1].order) != list(plans[2].order)


def test_batches_share_the_tokens_evenly_near_the_budget():
    plan = plan_batches(LENGTHS, TrainingConfig(num_train_epochs=1, tokens_per_batch=500))
    tokens = [LENGTHS[plan.batch(number)].sum() for number in range(plan.batches)]
    assert plan.batches == -(-LENGTHS.sum() // 500)
    assert max(tokens) - min(tokens) <= 2 * 60
    assert max(tokens) <= 500 + 60


def test_a_row_longer_than_the_budget_is_a_batch_of_its_own():
    plan = plan_batches(np.array([100, 100, 100]), TrainingConfig(num_train_epochs=1, tokens_per_batch=10))
    assert [len(plan.batch(number)) for number in range(plan.batches)] == [1, 1, 1]


def test_rows_per_batch_can_be_given():
    plan = plan_batches(LENGTHS, TrainingConfig(num_train_epochs=1, per_device_train_batch_size=64))
    assert [len(plan.batch(number)) for number in range(plan.batches)] == [64, 64, 64, 8]


def test_a_part_of_an_epoch_trains_on_that_part_of_the_rows():
    plan = plan_batches(LENGTHS, TrainingConfig(num_train_epochs=1.5, per_device_train_batch_size=10))
    assert plan.batches == 30
    assert plan.epoch_after(20) == 1.0
    assert plan.epoch_after(30) == 1.5


def test_max_steps_goes_on_through_as_many_epochs_as_it_takes():
    training = TrainingConfig(max_steps=13, per_device_train_batch_size=50, gradient_accumulation_steps=2)
    plan = plan_batches(LENGTHS, training)
    assert (plan.steps, plan.batches) == (13, 26)
    assert plan.epoch_after(2) == 1.0


@pytest.mark.parametrize("capacity", [1, 60, 200, 10_000])
def test_pieces_hold_every_row_once_and_stay_below_the_capacity(capacity):
    lengths = [int(length) for length in LENGTHS[:50]]
    pieces = split_rows(lengths, capacity)
    assert sorted(row for piece in pieces for row in piece) == list(range(50))
    for piece in pieces:
        assert len(piece) == 1 or len(piece) * max(lengths[row] for row in piece) <= capacity


def test_rows_of_like_length_share_a_piece_and_others_do_not():
    assert sorted(map(sorted, split_rows([10, 500, 12, 490], 10_000))) == [[0, 2], [1, 3]]


@pytest.fixture(scope="module")
def tiny_model():
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=128,
    )  # fmt: skip
    return LlamaForCausalLM(config).train()


def gradients(model):
    found = {name: weights.grad.clone() for name, weights in model.named_parameters()}
    model.zero_grad()
    return found


@pytest.mark.parametrize("layout", ["padded", "flat"])
@pytest.mark.parametrize("rows_per_pack", [1, 4])
def test_loss_and_gradient_of_packed_rows_are_those_of_the_separate_rows(tmp_path, tiny_model, layout, rows_per_pack):
    import torch

    from components.core.training.loop import summed_loss

    examples = random_rows(12, seed=3)
    write_rows(tmp_path / "rows.arrow", examples, rows_per_pack)
    expected = 0.0
    for ids, labels in examples:
        output = tiny_model(
            input_ids=torch.tensor([ids]), labels=torch.tensor([labels]), num_items_in_batch=torch.tensor(1)
        )
        output.loss.backward()
        expected += output.loss.item()
    separate = gradients(tiny_model)

    total = 0.0
    for piece in build_pieces(read_rows(tmp_path / "rows.arrow"), list(range(12)), 150, layout):
        loss = summed_loss(tiny_model, piece)
        loss.backward()
        total += loss.item()
    assert total == pytest.approx(expected, rel=1e-5)
    for name, gradient in gradients(tiny_model).items():
        torch.testing.assert_close(gradient, separate[name], rtol=1e-4, atol=1e-5, msg=name)


def test_a_row_that_no_other_row_may_see_changes_nothing_for_the_others(tmp_path, tiny_model):
    from components.core.training.loop import summed_loss

    examples = random_rows(3, seed=4)
    losses = []
    for first_token in (5, 60):
        ids, labels = examples[0]
        changed = ([first_token, *ids[1:]], [-100] * (len(ids) - 1) + [labels[-1]])
        write_rows(tmp_path / "rows.arrow", [changed, *examples[1:]], rows_per_pack=3)
        rows = read_rows(tmp_path / "rows.arrow")
        piece = next(build_pieces(rows, [0, 1, 2], 1000, "flat"))
        hidden = rows.lengths[0] - 1
        piece["targets"] = piece["targets"][1:]
        piece["logits_to_keep"][0, :hidden] = False
        losses.append(summed_loss(tiny_model, piece).item())
    assert losses[0] == losses[1]


def test_rows_are_divided_by_tokens_and_each_goes_to_one_process():
    lengths = [40, 3, 5, 30, 8, 20, 2, 12]
    shares = share_rows(lengths, 3)
    assert sorted(row for share in shares for row in share) == list(range(8))
    tokens = [sum(lengths[row] for row in share) for share in shares]
    assert max(tokens) - min(tokens) <= 8


def test_more_processes_than_rows_leave_some_without():
    assert sorted(share_rows([5, 7], 4)) == [[], [], [0], [1]]


def test_an_empty_piece_gives_every_trained_weight_a_gradient_of_zero():
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from components.core.training.loop import summed_loss

    config = LlamaConfig(
        vocab_size=16, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    loss = summed_loss(model, empty_piece())
    loss.backward()
    assert loss.item() == 0
    assert all(weights.grad is not None and not weights.grad.any() for weights in model.parameters())
    assert torch.isfinite(loss)


@pytest.mark.parametrize("layout", ["padded", "flat"])
def test_processes_that_go_in_step_get_equally_many_pieces_of_each_batch(tmp_path, layout):
    from components.core.training.distributed.sync import Ranks
    from components.core.training.loop import PlannedBatches

    write_rows(tmp_path / "train.arrow", random_rows(31, seed=5))
    rows = read_rows(tmp_path / "train.arrow")
    plan = plan_batches(rows.lengths, TrainingConfig(num_train_epochs=1, tokens_per_batch=200))
    shares = [PlannedBatches(rows, plan, 40, layout, Ranks(rank, 3), in_step=True) for rank in range(3)]
    alone = [PlannedBatches(rows, plan, 40, layout, Ranks(rank, 3)) for rank in range(3)]
    filled = 0
    for number in range(plan.batches):
        pieces, own = ([share[number]["pieces"] for share in kind] for kind in (shares, alone))
        wanted = max(len(found) for found in own)
        assert [len(found) for found in pieces] == [wanted] * 3
        filled += sum(wanted - len(found) for found in own)
        for mine, as_before in zip(pieces, own, strict=True):
            assert [piece["targets"].tolist() for piece in mine[: len(as_before)]] == [
                piece["targets"].tolist() for piece in as_before
            ]
            assert all(not len(piece["targets"]) for piece in mine[len(as_before) :])
    assert filled
