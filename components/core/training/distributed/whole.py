"""A model that DeepSpeed has trained, put together again."""

from copy import deepcopy
from pathlib import Path
from typing import Any

from components.core.errors import TrainingError
from components.core.training.distributed.deepspeed import leave_deepspeed
from components.core.training.distributed.sync import Ranks
from components.core.training.model import read_base


def put_together(trained: Any, base_dir: Path, ranks: Ranks) -> Any:
    """Read the base again in the first process, and give it the weights that DeepSpeed trained, which it keeps in fp32.

    All processes take part, since each has a share of them; afterwards models are read whole again.

    Args:
        trained: The model inside DeepSpeed's engine, with or without an adapter.
        base_dir: Folder of the base model.
        ranks: The processes.

    Returns:
        The model on the CPU, in the first process; None in the others.

    Raises:
        TrainingError: If trained weights are no longer numbers.
    """
    weights = _trained_weights(trained, ranks)
    leave_deepspeed()
    if not ranks.first:
        return None
    model = read_base(base_dir, dtype="auto")
    if hasattr(trained, "peft_config"):
        import peft

        model = peft.get_peft_model(model, deepcopy(trained.peft_config["default"]))
    unexpected = model.load_state_dict(weights, strict=False).unexpected_keys
    if unexpected:
        raise TrainingError(f"the base model in {base_dir} has no weights {unexpected[0]}. Run again to start anew.")
    return model


def _trained_weights(model: Any, ranks: Ranks) -> dict[str, Any]:
    """Whole fp32 weights by name, one after the other; empty but in the first process."""
    import torch
    from deepspeed.utils import safe_get_full_fp32_param  # type: ignore[import-untyped]

    found: dict[str, Any] = {}
    for name, weights in model.named_parameters():
        if not weights.requires_grad:
            continue
        whole = safe_get_full_fp32_param(weights)
        if not torch.isfinite(whole.sum()):
            raise TrainingError(f"trained weights are no longer numbers ({name}). Lower training.learning_rate.")
        if ranks.first:
            found[name] = whole.detach().to("cpu", copy=True)
    return found
