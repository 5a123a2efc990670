"""What a recipe needs, held against one kind of GPU."""

from dataclasses import dataclass

from components.core.deployment.gpu_nodes import GpuPool, quantity
from components.core.preflight.gpu_types import flops_per_second
from components.core.recipe import Recipe
from components.core.training.estimate import (
    Memory,
    ModelShape,
    Place,
    batch_tokens,
    estimate_memory,
    host_memory,
    least_memory,
    longest_row,
    pass_bytes_per_token,
)

GIB = 2**30


@dataclass(frozen=True)
class Needs:
    """What one training needs."""

    shape: ModelShape
    recipe: Recipe
    place: Place

    @property
    def least(self) -> Memory:
        """Device memory without which it cannot run."""
        return least_memory(self.shape, self.recipe, self.place)

    @property
    def host_bytes(self) -> int:
        """Memory of the pod: all of the training on a CPU, the process and the weights beside a GPU."""
        return self.least.total if self.place.device == "cpu" else host_memory(self.shape, self.recipe, self.place)

    @property
    def limit_bytes(self) -> int:
        """Memory that the recipe gives the pod."""
        return int(quantity(self.recipe.resources.memory))


def needs_of(shape: ModelShape, recipe: Recipe, bf16: bool = True) -> Needs:
    """What a recipe needs where it would run; `bf16` tells whether the GPU has it."""
    if recipe.gpu.count == 0:
        # whether the node's CPU has bf16 units is not known, and fp32 is the larger
        return Needs(shape, recipe, Place("cpu", bf16=False, machines=recipe.gpu.num_nodes))
    return Needs(shape, recipe, Place("cuda", bf16, recipe.gpu.count, recipe.gpu.num_nodes))


@dataclass(frozen=True)
class Prediction:
    """How a training would use a device of so much memory."""

    piece_tokens: int
    checkpointing: bool
    peak_bytes: int


def predict(needs: Needs, device_bytes: int) -> Prediction:
    """What the training will choose there, by its own rule."""
    from components.core.training.hardware import fit_into_memory

    shape, recipe, place = needs.shape, needs.recipe, needs.place
    fixed = estimate_memory(shape, recipe, place, 0, False)
    taken = fixed.weights + fixed.gradients + fixed.optimizer + fixed.overhead
    per_token = pass_bytes_per_token(shape.sizes, recipe.training, place.precision(recipe.training))
    wanted, longest = recipe.training.gradient_checkpointing, longest_row(shape, recipe)
    fit = fit_into_memory(wanted, place.device, per_token, longest, device_bytes - taken)
    share = -(-batch_tokens(shape, recipe) // (place.processes * place.machines))
    tokens = max(longest, min(fit.piece_tokens, share))
    peak = estimate_memory(shape, recipe, place, tokens, fit.gradient_checkpointing).total
    return Prediction(tokens, fit.gradient_checkpointing, peak)


def seconds_per_million_tokens(needs: Needs, pool: GpuPool, checkpointing: bool) -> float | None:
    """Time for a million tokens on the recipe's GPUs; None where the GPU's speed is not known.

    Forward and backward pass take 6 operations per weight and token, 4 below an adapter (frozen weights need no
    gradient), 2 more when activations are computed twice; attention adds what grows with the row.
    """
    speed = flops_per_second(pool.product)
    if speed is None:
        return None
    training, sizes = needs.recipe.training, needs.shape.sizes
    passes = (2 if training.method == "lora" else 3) + (1 if checkpointing else 0)
    attention = sizes.layers * sizes.hidden * longest_row(needs.shape, needs.recipe)
    operations = 2 * passes * (needs.shape.active_parameters + attention)
    return 1e6 * operations / (speed * needs.recipe.gpu.count * needs.recipe.gpu.num_nodes)
