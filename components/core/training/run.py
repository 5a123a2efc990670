"""One training, or this process's part of one: what it works on, and how its parts are put together."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.errors import TrainingError
from components.core.recipe import LoraConfig, ModelConfig, TrainingConfig
from components.core.recipe.deepspeed import deepspeed_configuration
from components.core.registry.base_model import ResolvedModel
from components.core.training.arguments import build_arguments, fit_to_model
from components.core.training.batches import Plan, build_pieces, fill_up, plan_batches
from components.core.training.distributed.deepspeed import kind_of_training
from components.core.training.distributed.sync import Ranks
from components.core.training.distributed.whole import put_together
from components.core.training.estimate import pass_bytes_per_token, training_bytes_per_weight
from components.core.training.hardware import Fit, Hardware, fit_into_memory, free_memory, layer_sizes, peak_memory
from components.core.training.model import add_adapter, check_finite, count_parameters, load_base, size_of, write_model
from components.core.training.result import TrainingResult
from components.core.training.rows import TokenRows

if TYPE_CHECKING:
    from components.core.training.loop import FinetuneTrainer

logger = logging.getLogger(__name__)

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "No executable batch size found")
_LESS_MEMORY = (
    "Lower tokens.max_seq_length or training.tokens_per_batch, set training.gradient_checkpointing to `on`, or use a "
    "smaller model or a larger machine."
)


class TrainingRun:
    """What one fine-tuning works on."""

    def __init__(
        self,
        model: ModelConfig,
        training: TrainingConfig,
        lora: LoraConfig,
        rows: TokenRows,
        validation: TokenRows,
        base: ResolvedModel,
        hardware: Hardware,
        output_dir: Path,
        ranks: Ranks,
    ) -> None:
        self.model, self.training, self.lora, self.base, self.hardware = model, training, lora, base, hardware
        self.rows, self.validation, self.output_dir, self.ranks = rows, validation, output_dir, ranks
        self.plan: Plan = plan_batches(rows.lengths, training)
        self.notes = list(hardware.notes)
        if training.quantized_bits:
            merged = ", then merged into them unquantized" if lora.merge_lora_weights else ""
            self.notes.append(f"The adapter was trained on weights of {training.quantized_bits} bits (QLoRA){merged}.")
        if rows.left_out:
            self.notes.append(f"{rows.left_out} rows without a token to learn were left out.")
        if not len(validation):
            self.notes.append("There are no validation rows, so no validation loss.")
        if ranks.size > 1 and training.method == "lora" and lora.dropout:
            self.notes.append("Each process draws its own dropout, so another number of GPUs gives other weights.")

    def train(self, checkpoints: Path, step: int | None, began: float) -> TrainingResult:
        """Train, or go on from the checkpoint of a step; the first process writes the weights."""
        from transformers.utils.logging import disable_progress_bar

        from components.core.training.watching import LOG_FILE, StopRequest

        # its progress bars are made for a terminal, not for the log of a pod
        disable_progress_bar()
        with StopRequest().listening() as stop:
            trainer, dtype = self._build(checkpoints, self.output_dir / LOG_FILE, stop)
            if step is not None:
                logger.info("Going on from the checkpoint of step %d of %d", step, self.plan.steps)
            if self.ranks.any(stop.made):
                raise TrainingError("stopped by SIGTERM before the first step; run again to start.")
            with memory_errors(_LESS_MEMORY):
                trainer.train(resume_from_checkpoint=None if step is None else str(checkpoints / f"checkpoint-{step}"))
            if len(self.validation) and "validation_loss" not in trainer.state.log_history[-1]:
                # an earlier try was stopped between the last step and its validation
                trainer.evaluate()
            if self.ranks.any(stop.made):
                done = trainer.state.global_step
                raise TrainingError(f"stopped by SIGTERM after step {done}; run again to continue.")
        # from here on SIGTERM may end the process at once: all of the training is in the last checkpoint
        history = trainer.state.log_history
        check_finite(trainer.model)
        trained, total = count_parameters(trainer.model)
        peak = int(self.ranks.most(peak_memory(self.hardware.device)))
        model, deepspeed = trainer.model, deepspeed_configuration(self.training)
        if deepspeed is not None:
            model = put_together(model, self.base.path, self.ranks)
        if self.ranks.first:
            write_model(model, self.base.path, dtype, self.output_dir, self.lora.merge_lora_weights)
        return TrainingResult(
            steps=trainer.state.global_step,
            train_loss=mean_loss(history),
            validation_loss=next((p["validation_loss"] for p in reversed(history) if "validation_loss" in p), None),
            tokens_per_second=trainer.tokens / trainer.seconds if trainer.seconds else 0.0,
            peak_memory_bytes=max(peak, peak_memory(self.hardware.device)),
            seconds=time.monotonic() - began,
            resumed_from_step=step,
            trainable_parameters=trained,
            total_parameters=total,
            device=self.hardware.device,
            precision=self.hardware.precision,
            notes=self.notes,
            world_size=self.ranks.size,
            distributed=kind_of_training(deepspeed, self.ranks.size),
        )

    def _build(self, checkpoints: Path, log_path: Path, stop: Any) -> "tuple[FinetuneTrainer, Any]":
        """The trainer with everything in place, and the dtype of the base weights."""
        import torch
        from transformers import set_seed

        from components.core.training.loop import FinetuneTrainer, PlannedBatches, check_model

        evaluates, deepspeed = bool(len(self.validation)), self.training.apply_deepspeed
        arguments = build_arguments(self.training, self.hardware, checkpoints, self.plan.steps, evaluates)
        model, dtype = load_base(self.base.path, self.training, self.hardware)
        check_model(model)
        self._check_rows(model.config)
        if self.training.method == "lora":
            # the adapter's first weights are random
            set_seed(self.training.seed)
            model = add_adapter(model, self.lora, self.model, self.base.path, widened=not deepspeed)
        fit = self._fit(model)
        fit_to_model(arguments, model, fit.gradient_checkpointing)
        trainer = FinetuneTrainer(
            model,
            arguments,
            PlannedBatches(self.rows, self.plan, fit.piece_tokens, self.hardware.layout, self.ranks, deepspeed),
            self.plan,
            self._validation_pieces(fit.piece_tokens),
            self.training.save_total_limit,
            log_path,
            stop,
            self.ranks,
        )
        if not self.ranks.first:
            torch.manual_seed(self.training.seed + self.ranks.rank)  # for dropout of its own
        bits = self.training.quantized_bits
        logger.info(
            "Training %d steps over %d rows (%d tokens) in %s%s on %s, %d %s",
            self.plan.steps, len(self.rows), int(self.rows.lengths.sum()), self.hardware.precision,
            f" over {bits}-bit weights" if bits else "", self.hardware.device,
            self.ranks.size, "process" if self.ranks.size == 1 else "processes",
        )  # fmt: skip
        return trainer, dtype

    def _validation_pieces(self, capacity: int) -> list[dict[str, Any]]:
        """The share of this process; with DeepSpeed all get equally many."""
        by_length = sorted(range(len(self.validation)), key=lambda row: int(self.validation.lengths[row]))
        mine = by_length[self.ranks.rank :: self.ranks.size]
        pieces = [
            piece
            for first in range(0, len(mine), 512)
            for piece in build_pieces(self.validation, mine[first : first + 512], capacity, self.hardware.layout)
        ]
        return fill_up(pieces, int(self.ranks.most(len(pieces))) if self.training.apply_deepspeed else 0)

    def _check_rows(self, config: Any) -> None:
        """Raise if the rows are not for this model."""
        text = config.get_text_config()
        largest = max(self.rows.largest_id, self.validation.largest_id)
        if largest >= text.vocab_size:
            raise TrainingError(
                f"the tokens hold id {largest}, but {self.model.model_id} knows ids below {text.vocab_size} only. "
                "Tokenize with the tokenizer of this model."
            )
        longest, limit = max(self.rows.longest, self.validation.longest), getattr(text, "max_position_embeddings", None)
        if limit and longest > limit:
            raise TrainingError(
                f"the longest row has {longest} tokens, {self.model.model_id} takes {limit}. "
                "Lower tokens.max_seq_length."
            )

    def _fit(self, model: Any) -> Fit:
        trained = sum(size_of(weights) for weights in model.parameters() if weights.requires_grad)
        taken = trained * training_bytes_per_weight(self.training.optim)
        if self.training.apply_deepspeed:
            taken //= self.ranks.size
        if self.hardware.device == "cuda":
            # quantized weights are there already
            held = (weights for weights in model.parameters() if weights.device.type == "cpu")
            taken += sum(weights.numel() * weights.element_size() for weights in held)
        fit = fit_into_memory(
            self.training.gradient_checkpointing,
            self.hardware.device,
            pass_bytes_per_token(layer_sizes(model.config), self.training, self.hardware.precision),
            max(self.rows.longest, self.validation.longest),
            self._free_memory() - taken,
        )
        if fit.gradient_checkpointing and self.training.gradient_checkpointing == "auto":
            self.notes.append("Activations would not fit into memory, so they are computed twice (slower).")
        return fit

    def _free_memory(self) -> int:
        """Bytes for this process; the least of all, so that all processes choose alike."""
        sharing = 1 if self.hardware.device == "cuda" else self.ranks.on_this_machine
        return -int(self.ranks.most(-(free_memory(self.hardware.device) // sharing)))


def mean_loss(history: list[dict[str, Any]]) -> float:
    """Mean of the losses of all steps; each point of the curve is the mean of the steps since the one before."""
    total, before = 0.0, 0
    for point in history:
        if "loss" in point:
            total += point["loss"] * (point["step"] - before)
            before = point["step"]
    return total / max(before, 1)


@contextmanager
def memory_errors(remedy: str) -> Iterator[None]:
    """Say what helps when memory runs out; PyTorch raises a RuntimeError for it."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(words in str(error) for words in _OUT_OF_MEMORY):
            raise
        raise TrainingError(f"memory ran out while training. {remedy}") from error
