"""DeepSpeed configurations: those for ZeRO-2 and ZeRO-3 that come with the product, and the check of a user's own."""

import json
from pathlib import Path
from typing import Any, Protocol

from components.core.errors import ConfigError
from components.core.recipe.sections import Recipe

GATHER = "stage3_gather_16bit_weights_on_model_save"


class DeepSpeedChoice(Protocol):
    """What a user chooses, by a recipe's names and by those of the catalogue's parameters."""

    @property
    def apply_deepspeed(self) -> bool:
        """Whether it is used."""
        ...

    @property
    def deepspeed(self) -> str | None:
        """A configuration of the user's own: a file, or its content."""
        ...

    @property
    def deepspeed_stage(self) -> int:
        """ZeRO stage of the product's."""
        ...


def deepspeed_configuration(choice: DeepSpeedChoice) -> dict[str, Any] | None:
    """The user's configuration, else the product's for the stage; None without `apply_deepspeed`.

    Raises:
        ConfigError: If the user's own cannot be used.
    """
    if not choice.apply_deepspeed:
        return None
    if choice.deepspeed is not None:
        return read_configuration(choice.deepspeed)
    return default_configuration(choice.deepspeed_stage)


def zero_stage(choice: DeepSpeedChoice) -> int | None:
    """The ZeRO stage that a training runs with; None without DeepSpeed."""
    configuration = deepspeed_configuration(choice)
    return int(configuration["zero_optimization"]["stage"]) if configuration else None


def default_configuration(stage: int) -> dict[str, Any]:
    """Configuration of ZeRO stage 2 or 3; the Trainer fills in each `auto` from its own arguments.

    It names no optimizer and no scheduler, so that `optim` and `lr_scheduler_type` hold.
    """
    zero: dict[str, Any] = {"stage": stage, "overlap_comm": True, "contiguous_gradients": True}
    if stage == 3:
        sizes = ("reduce_bucket_size", "stage3_prefetch_bucket_size", "stage3_param_persistence_threshold")
        # without gathering, a saved model would hold one process's share of the weights only
        zero |= dict.fromkeys(sizes, "auto") | {GATHER: True}
    else:
        zero |= {"reduce_scatter": True, "reduce_bucket_size": 200_000_000, "allgather_bucket_size": 200_000_000}
    return {
        "bf16": {"enabled": "auto"},
        "fp16": {"enabled": "auto"},
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
    }


def read_configuration(source: str) -> dict[str, Any]:
    """Read a user's own configuration.

    Args:
        source: Path of a file, or its content: a pod cannot read a file of the machine that started the run.

    Raises:
        ConfigError: If it cannot be read, has no integer stage, or is a ZeRO-3 that would save a part of the model.
    """
    inline = source.lstrip().startswith("{")
    path = "(content)" if inline else source
    try:
        found = json.loads(source if inline else Path(source).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"deepspeed={path}: cannot be read ({error.strerror}). Check the path.") from error
    except ValueError as error:
        raise ConfigError(f"deepspeed={path}: is not valid JSON ({error}). Correct the file.") from error
    zero = found.get("zero_optimization") if isinstance(found, dict) else None
    stage = zero.get("stage") if isinstance(zero, dict) else None
    if not isinstance(zero, dict) or type(stage) is not int:
        raise ConfigError(
            f"deepspeed={path}: zero_optimization.stage is {json.dumps(stage)}, not an integer. "
            'Write "zero_optimization": {"stage": 2} or 3.'
        )
    if stage == 3 and zero.get(GATHER) is not True:
        raise ConfigError(
            f"deepspeed={path}: ZeRO-3 with {GATHER}={json.dumps(zero.get(GATHER))} saves a part of the weights only. "
            f'Set "{GATHER}": true in zero_optimization.'
        )
    return dict(found)


def with_content(recipe: Recipe) -> Recipe:
    """Put the content of a DeepSpeed file that is used for its path: no pod could read it, and the cache must know it.

    Raises:
        ConfigError: If it cannot be used.
    """
    training = recipe.training
    if not training.apply_deepspeed or training.deepspeed is None:
        return recipe
    content = json.dumps(read_configuration(training.deepspeed))
    return recipe.model_copy(update={"training": training.model_copy(update={"deepspeed": content})})
