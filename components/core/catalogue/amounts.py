"""What some parameters come to: steps for a fraction of an epoch, a Kubernetes quantity for 5g, nothing for -1."""

import math

from components.core.catalogue.finetune import FinetuneParameters
from components.core.catalogue.values import ALL


def unlimited(value: int) -> int | None:
    """None for -1, which sets no limit."""
    return None if value == ALL else value


def evaluation_steps(parameters: FinetuneParameters, steps_per_epoch: int) -> int:
    """Optimizer steps between two evaluations, at most all steps of the training so that there is always one.

    Args:
        parameters: `evaluation_steps_interval` above 0 is a fraction of an epoch and overrides `eval_steps`.
        steps_per_epoch: Optimizer steps of one epoch, 1 or more.
    """
    wanted = parameters.eval_steps
    if parameters.evaluation_steps_interval > 0:
        # 0.29 of 100 steps is 28.999...
        wanted = max(1, math.floor(parameters.evaluation_steps_interval * steps_per_epoch + 1e-9))
    return min(wanted, training_steps(parameters, steps_per_epoch))


def training_steps(parameters: FinetuneParameters, steps_per_epoch: int) -> int:
    """Optimizer steps of the whole training."""
    return unlimited(parameters.max_steps) or math.ceil(parameters.num_train_epochs * steps_per_epoch)


def kubernetes_quantity(memory: str) -> str:
    """`5g` as `5Gi`, for a volume in a pod."""
    unit = memory[-1]
    return f"{memory[:-1]}{unit.upper()}i" if unit in "kmgt" else memory
