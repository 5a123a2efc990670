"""How probable a model finds the right answers: loss per token and perplexity, with paired intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from components.core.evaluation.bootstrap import count_changed, resample_totals, sum_groups
from components.core.evaluation.results import Difference, ModelName, Score, Slice
from components.core.recipe import EvaluationConfig
from components.core.tasks import Encoded

LOSS, PERPLEXITY = "loss", "perplexity"
METRICS = (LOSS, PERPLEXITY)

RowLoss = tuple[float, int]
"""Negative log-likelihood of a row's answers, added up, and their tokens."""

_HIDDEN = -100
_CHUNK = 1024
"""Tokens whose logits are widened to fp32 at once."""


def answer_losses(model: Any, encoded: Encoded) -> list[RowLoss]:
    """Ask a model for the likelihood of what each row teaches, a row at a time, so that nothing is padded.

    Args:
        model: A causal language model in evaluation mode.
        encoded: Token ids and labels; a row that did not fit counts nothing.
    """
    import torch

    losses: list[RowLoss] = []
    with torch.inference_mode():
        for ids, labels in zip(encoded.input_ids, encoded.labels, strict=True):
            targets = [place for place in range(1, len(ids)) if labels[place] != _HIDDEN]
            if not targets:
                losses.append((0.0, 0))
                continue
            places = torch.tensor(targets, device=model.device)
            inputs = torch.tensor([ids], device=model.device)
            # each token is predicted where the one before it stands
            logits = model(input_ids=inputs, use_cache=False, logits_to_keep=places - 1).logits[0]
            total, wanted = 0.0, inputs[0, places]
            for start in range(0, len(targets), _CHUNK):
                part = logits[start : start + _CHUNK].float()
                total += torch.nn.functional.cross_entropy(part, wanted[start : start + _CHUNK], reduction="sum").item()
            losses.append((total, len(targets)))
    return losses


def add_likelihood(
    part: Slice,
    losses: Mapping[ModelName, Sequence[RowLoss]],
    groups: npt.NDArray[np.intp],
    config: EvaluationConfig,
) -> Slice:
    """Scores and differences with loss and perplexity; a difference above 0 is a gain, so it is the other way round.

    The loss is that of all tokens together, so a long answer weighs more than a short one, as it does in training.

    Args:
        part: The slice of all rows.
        losses: By model, for each row; `tuned` is among them.
        groups: Group of each row: groups are drawn as a whole.
        config: Resamples, coverage and seed.
    """
    values = {model: np.array(found, dtype=np.float64) for model, found in losses.items()}
    # a row that one of the models could not read counts for none
    read = np.all([found[:, 1] > 0 for found in values.values()], axis=0)
    if not read.any():
        return part
    values = {model: found * read[:, None] for model, found in values.items()}
    drawn = {
        model: _measure(resample_totals(sum_groups(found, groups), config.bootstrap_samples, config.seed))
        for model, found in values.items()
    }
    whole = {model: _measure(found.sum(axis=0)[None]) for model, found in values.items()}
    scores = {model: dict(found) for model, found in part.scores.items()}
    differences = {model: dict(found) for model, found in part.differences.items()}
    for metric in METRICS:
        for model in values:
            low, high = _bounds(drawn[model][metric], config)
            scores[model][metric] = Score(value=float(whole[model][metric][0]), low=low, high=high)
        for model in differences:
            low, high = _bounds(drawn[model][metric] - drawn["tuned"][metric], config)
            gap = float(whole[model][metric][0] - whole["tuned"][metric][0])
            changed = count_changed(values[model][:, 0] - values["tuned"][:, 0], groups)
            differences[model][metric] = Difference(value=gap, low=low, high=high, changed=changed)
    return Slice(rows=part.rows, scores=scores, differences=differences)


def _measure(totals: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
    """Both metrics of sums of likelihoods and tokens, shape (n, 2)."""
    loss = totals[:, 0] / np.maximum(totals[:, 1], 1)
    return {LOSS: loss, PERPLEXITY: np.exp(np.minimum(loss, 700))}


def _bounds(values: npt.NDArray[np.float64], config: EvaluationConfig) -> tuple[float, float]:
    tail = (1 - config.confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
