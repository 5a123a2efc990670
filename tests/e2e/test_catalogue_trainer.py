"""The catalogue's arguments in a real Trainer: when it evaluates, which checkpoint it keeps, when it stops."""

import numpy as np
import pytest

from components.core.catalogue import FINETUNE, check_parameters, read_parameters
from components.core.catalogue.training_arguments import build_arguments
from components.core.metrics.classification import score_classification
from components.core.training.hardware import Hardware

pytestmark = pytest.mark.e2e

LABELS = ["even", "odd"]
ROWS = [
    {"input_ids": [2 + number % 2, 4, 5], "attention_mask": [1, 1, 1], "labels": number % 2} for number in range(16)
]


def train(folder, **values):
    """A Trainer that has trained a tiny encoder on 16 rows, 4 optimizer steps an epoch."""
    from transformers import BertConfig, BertForSequenceClassification, EarlyStoppingCallback, Trainer, set_seed

    parameters = read_parameters(
        FINETUNE["classification_single_label"],
        {"per_device_train_batch_size": 4, "per_device_eval_batch_size": 4, "learning_rate": 1e-3} | values,
    )
    check_parameters(parameters, cuda=False)
    set_seed(parameters.seed)
    config = BertConfig(
        vocab_size=8, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=8,
    )  # fmt: skip
    arguments = build_arguments(parameters, Hardware("cpu", "fp32", "padded", "sdpa"), folder, steps_per_epoch=4)
    patience = EarlyStoppingCallback(parameters.early_stopping_patience, parameters.early_stopping_threshold)
    trainer = Trainer(
        BertForSequenceClassification(config),
        arguments,
        train_dataset=ROWS,
        eval_dataset=ROWS,
        compute_metrics=measure,
        callbacks=[patience] if parameters.apply_early_stopping else [],
    )
    trainer.train()
    return trainer


def measure(outcome):
    logits, wanted = outcome
    predicted = np.argmax(logits, axis=1)
    return score_classification([LABELS[n] for n in wanted], [LABELS[n] for n in predicted], LABELS).values


def evaluated_at(trainer):
    return [entry["step"] for entry in trainer.state.log_history if "eval_loss" in entry]


def test_an_interval_of_half_an_epoch_evaluates_twice_an_epoch_and_keeps_the_limit(tmp_path):
    trainer = train(
        tmp_path, evaluation_strategy="steps", evaluation_steps_interval=0.5, num_train_epochs=2, save_total_limit=1
    )
    assert evaluated_at(trainer) == [2, 4, 6, 8]
    kept = {int(path.name.removeprefix("checkpoint-")) for path in tmp_path.glob("checkpoint-*")}
    losses = {entry["step"]: entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry}
    best = min(losses, key=losses.__getitem__)
    assert kept <= {best, 8}
    assert trainer.state.best_global_step == best


def test_the_metric_picks_the_checkpoint(tmp_path):
    trainer = train(tmp_path, metric_for_best_model="f1_macro", num_train_epochs=3)
    scores = {entry["step"]: entry["eval_f1_macro"] for entry in trainer.state.log_history if "eval_loss" in entry}
    assert list(scores) == [4, 8, 12]
    assert trainer.state.best_metric == max(scores.values())
    assert trainer.state.best_global_step == max(scores, key=scores.__getitem__)


def test_early_stopping_ends_a_training_that_no_longer_gains(tmp_path):
    trainer = train(
        tmp_path, apply_early_stopping=True, early_stopping_threshold=10.0, early_stopping_patience=2,
        num_train_epochs=9,
    )  # fmt: skip
    assert evaluated_at(trainer) == [4, 8, 12]


def test_more_eval_steps_than_steps_still_evaluate_once(tmp_path):
    assert evaluated_at(train(tmp_path, evaluation_strategy="steps", eval_steps=500)) == [4]
