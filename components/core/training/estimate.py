"""How much memory a training takes, worked out from the model's shape and the recipe; nothing is loaded for it."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from components.core.recipe import LoraConfig, Recipe, TrainingConfig

Precision = Literal["fp32", "bf16", "fp16"]
Device = Literal["cpu", "cuda"]

PIECE_TOKENS: dict[Device, int] = {"cpu": 1024, "cuda": 16384}
"""Tokens of one forward pass that keep the device busy; more only costs memory (on a CPU also cache misses)."""
CUDA_BYTES = int(0.75 * 2**30)
"""Context, kernels and matrix workspaces of one CUDA process, which no tensor shows."""
FRAGMENTATION = 1.05
"""The allocator rounds up and keeps holes."""
PROCESS_BYTES: dict[Device, int] = {"cpu": int(0.6 * 2**30), "cuda": 3 * 2**30}
"""Host memory of Python with torch and transformers, before any weight is loaded."""
HOLES: dict[Device, float] = {"cpu": 2.0, "cuda": 1.0}
"""Activations come and go in blocks that glibc's allocator keeps and rarely fits again; CUDA's own gives them back."""
_LABEL_SHARE = {"context_qa": 1 / 8, "chat_completion": 7 / 8}
"""Part of a pass's tokens that goes through the output layer, by task: answers to questions are short."""
_OPTIMIZER_BYTES = {"adamw_torch": 8, "adafactor": 0}
"""Per trained weight: two fp32 moments; Adafactor's row and column sums are next to nothing."""
_GRADIENT_BYTES = 4
_WIDTH: dict[Precision, int] = {"fp32": 4, "bf16": 2, "fp16": 2}
_NF4_BYTES = 1 / 2 + 1 / 64 + 4 / (64 * 256)
"""Of a 4-bit weight: 64 share a scale of one byte, and 256 scales share an fp32 scale of their own."""
_NF4_TABLES = 4 * (16 + 256 + 1)
"""Bytes of each 4-bit layer: what the values of weights and of scales stand for, and their mean."""


class LayerSizes(NamedTuple):
    """What the layers of a decoder measure."""

    hidden: int
    intermediate: int
    layers: int
    key_value: int
    """Width of keys and of values: key-value heads times head size."""
    active_experts: int = 1


@dataclass(frozen=True)
class ModelShape:
    """What an estimate needs to know of a base model."""

    sizes: LayerSizes
    vocabulary: int
    positions: int | None
    """Longest row, in tokens; None where the config does not say."""
    parameters: int
    active_parameters: int
    """Weights that one token meets, input embeddings not counted."""
    stored: Precision
    """Dtype of the weights on disk."""
    linear: tuple[tuple[str, int, int], ...]
    """Name, inputs and outputs of each linear layer but the output layer."""


class Memory(NamedTuple):
    """Bytes of one training process on its device."""

    weights: int
    half_copies: int
    """Half-precision copies of fp32 weights, which autocast makes for a pass; of quantized weights one layer's."""
    gradients: int
    optimizer: int
    activations: int
    logits: int
    overhead: int

    @property
    def total(self) -> int:
        """Everything together."""
        return sum(self)


@dataclass(frozen=True)
class Place:
    """Where a training would run."""

    device: Device = "cuda"
    bf16: bool = True
    """Whether the device multiplies bf16 in hardware (GPUs from compute capability 8)."""
    processes: int = 1
    """Processes that train together on one machine, each on a GPU of its own with all weights."""
    machines: int = 1

    def precision(self, training: TrainingConfig) -> Precision:
        """What the training computes in there."""
        if self.device == "cpu":
            return "bf16" if training.precision == "16" and self.bf16 else "fp32"
        return "fp32" if training.precision == "32" else "bf16" if self.bf16 else "fp16"


def activation_bytes_per_token(sizes: LayerSizes, precision: Precision, adapters: bool) -> int:
    """Bytes that the forward pass keeps for the backward pass, for each token; attention scores are never kept.

    For decoders with gated feed-forward layers, by what autograd saves in norms, projections, rotary embeddings,
    attention and feed-forward part; one layer more stands for what the backward pass holds while it is in a layer.
    """
    return (sizes.layers + 1) * _layer_bytes(sizes, precision, adapters)


def checkpointed_bytes_per_token(sizes: LayerSizes, precision: Precision, adapters: bool) -> int:
    """The same where each layer keeps its input only and is computed again, one at a time."""
    kept = sizes.layers * sizes.hidden * (_WIDTH[precision] if adapters else 4)
    return kept + 2 * _layer_bytes(sizes, precision, adapters)


def _layer_bytes(sizes: LayerSizes, precision: Precision, adapters: bool) -> int:
    wide = 4 * sizes.intermediate * sizes.active_experts + 2 * sizes.key_value
    if precision == "fp32":
        return 4 * (wide + (6 if adapters else 8) * sizes.hidden)
    # norms and residuals stay in fp32; each adapter keeps an input of its own, frozen weights keep none
    return 2 * wide + (24 if adapters else 33) * sizes.hidden


def pass_bytes_per_token(
    sizes: LayerSizes, training: TrainingConfig, computed: Precision, checkpointing: bool = False
) -> int:
    """What a training keeps for each token of a pass.

    Quantized layers answer in what they are asked in, which is fp32 where fp16 is computed in; those of 8 bits keep
    their inputs once more.
    """
    kept: Precision = "fp32" if training.quantized_bits and computed == "fp16" else computed
    per_token = checkpointed_bytes_per_token if checkpointing else activation_bytes_per_token
    inputs = sizes.intermediate * sizes.active_experts + 2 * sizes.hidden if training.quantized_bits == 8 else 0
    layers = 2 if checkpointing else sizes.layers + 1
    return per_token(sizes, kept, training.method == "lora") + layers * inputs * _WIDTH[kept]


def training_bytes_per_weight(optim: str) -> int:
    """Gradient and optimizer state of one trained weight; all in fp32."""
    return _GRADIENT_BYTES + _OPTIMIZER_BYTES[optim]


def weight_precision(training: TrainingConfig, stored: Precision, computed: Precision) -> Precision:
    """What the base weights are held in: their own dtype below an adapter that computes in it, else fp32."""
    return stored if training.method == "lora" and stored == computed else "fp32"


def weight_bytes(shape: ModelShape, training: TrainingConfig, computed: Precision) -> int:
    """Bytes of the base weights while they are trained or stand below an adapter."""
    bits = training.quantized_bits
    if not bits:
        return shape.parameters * _WIDTH[weight_precision(training, shape.stored, computed)]
    layers = _quantized_layers(shape)
    sizes = [wide * out * _NF4_BYTES + _NF4_TABLES if bits == 4 else wide * out + 4 * out for wide, out in layers]
    others = shape.parameters - sum(wide * out for wide, out in layers)
    return int(sum(sizes)) + others * _WIDTH[_beside_quantized(computed)]


def _quantized_layers(shape: ModelShape) -> list[tuple[int, int]]:
    """Inputs and outputs of the layers that are quantized; transformers holds experts in tensors that are not."""
    return [(wide, out) for name, wide, out in shape.linear if ".experts." not in name]


def _beside_quantized(computed: Precision) -> Precision:
    """What embeddings, norms and the output layer are held in beside quantized weights."""
    return "bf16" if computed == "bf16" else "fp32"


def _copied_bytes(shape: ModelShape, training: TrainingConfig, computed: Precision, checkpointing: bool) -> int:
    """Bytes of the copies of weights that are computed with."""
    if training.quantized_bits:
        # one layer at a time is brought back, and narrowed where it was not in the dtype that is computed in
        beside = _beside_quantized(computed)
        width = _WIDTH[beside] + (0 if beside == computed else _WIDTH[computed])
        return width * max((wide * out for wide, out in _quantized_layers(shape)), default=0)
    held = weight_precision(training, shape.stored, computed)
    # below an adapter a copy lives as long as its layer's activations, else autocast keeps it for the whole pass
    copied = held == "fp32" and computed != "fp32" and not (training.method == "lora" and checkpointing)
    return sum(wide * out for _, wide, out in shape.linear) * 2 if copied else 0


def adapter_parameters(shape: ModelShape, lora: LoraConfig) -> int:
    """Weights of the adapter: rank times inputs and outputs of each layer that gets one."""
    return sum(lora.r * (wide + out) for name, wide, out in shape.linear if _is_target(name, lora.target_modules))


def _is_target(name: str, targets: str | list[str]) -> bool:
    if targets == "all-linear":
        return True
    if isinstance(targets, str):
        import re

        return re.fullmatch(targets, name) is not None
    return any(name == target or name.endswith(f".{target}") for target in targets)


def longest_row(shape: ModelShape, recipe: Recipe) -> int:
    """Most tokens of one row."""
    return min(recipe.tokens.max_seq_length, shape.positions or recipe.tokens.max_seq_length)


def batch_tokens(shape: ModelShape, recipe: Recipe) -> int:
    """Most tokens of one batch, about."""
    rows = recipe.training.per_device_train_batch_size
    return max(
        longest_row(shape, recipe), rows * longest_row(shape, recipe) if rows else recipe.training.tokens_per_batch
    )


def estimate_memory(shape: ModelShape, recipe: Recipe, place: Place, piece_tokens: int, checkpointing: bool) -> Memory:
    """Peak memory of the device while it trains.

    Args:
        shape: The base model.
        recipe: Method, optimizer, precision, adapter and task are read.
        place: Where it runs.
        piece_tokens: Tokens of one forward pass, padding counted.
        checkpointing: Whether activations are computed twice.
    """
    training, lora = recipe.training, recipe.training.method == "lora"
    computed = place.precision(training)
    adapter = adapter_parameters(shape, recipe.lora) if lora else 0
    trained = adapter if lora else shape.parameters
    per_token = pass_bytes_per_token(shape.sizes, training, computed, checkpointing)
    labels = max(1, round(piece_tokens * _LABEL_SHARE[recipe.task.name]))
    tensors = Memory(
        weights=weight_bytes(shape, training, computed) + adapter * 4,
        half_copies=_copied_bytes(shape, training, computed, checkpointing),
        # processes that train together exchange gradients through buckets of the same size
        gradients=trained * _GRADIENT_BYTES * (2 if place.processes * place.machines > 1 else 1),
        optimizer=trained * _OPTIMIZER_BYTES[training.optim],
        activations=int(piece_tokens * per_token * HOLES[place.device]),
        # logits, their fp32 copy, log-probabilities and the gradients of all three
        logits=labels * shape.vocabulary * (12 if computed == "fp32" else 16),
        overhead=0,
    )
    fixed = CUDA_BYTES if place.device == "cuda" else PROCESS_BYTES["cpu"]
    return tensors._replace(overhead=fixed + int(tensors.total * (FRAGMENTATION - 1)))


def least_memory(shape: ModelShape, recipe: Recipe, place: Place) -> Memory:
    """What must be there: one row of full length at a time, computed twice unless the recipe forbids it."""
    return estimate_memory(
        shape, recipe, place, longest_row(shape, recipe), recipe.training.gradient_checkpointing != "off"
    )


def host_memory(shape: ModelShape, recipe: Recipe, place: Place) -> int:
    """Host memory of a training on a GPU: the process, and the weights, which are loaded and written from there.

    Quantized weights are read into the GPU; for merging, and then for the evaluation, the stored ones are read once.
    """
    if recipe.training.quantized_bits:
        return PROCESS_BYTES["cuda"] + shape.parameters * _WIDTH[shape.stored]
    held = weight_precision(recipe.training, shape.stored, place.precision(recipe.training))
    return PROCESS_BYTES["cuda"] + shape.parameters * _WIDTH[held] * place.processes
