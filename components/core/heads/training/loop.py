"""The training loop: transformers' Trainer with checkpoints that can be trusted and our own curves."""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch.utils.data import Sampler, Subset
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_pt_utils import get_length_grouped_indices

from components.core.catalogue import FinetuneParameters
from components.core.errors import StorageError, TrainingError
from components.core.heads.training.collating import Collator
from components.core.heads.training.job import HeadInputs
from components.core.heads.training.scoring import Validation
from components.core.training.checkpoints import keep_best_and_newest, seal_checkpoint
from components.core.training.distributed.sync import Ranks
from components.core.training.hardware import peak_memory
from components.core.training.loop import Clock, duration
from components.core.training.watching import StopRequest, Watcher

logger = logging.getLogger(__name__)

_SPEEDS = ("eval_runtime", "eval_samples_per_second", "eval_steps_per_second", "eval_model_preparation_time")


@dataclass(frozen=True)
class Surroundings:
    """What a training runs in."""

    log_path: Path
    stop: StopRequest
    ranks: Ranks


class Order(Sampler[int]):
    """The order of the rows in each epoch: the same in all processes, and in a run that goes on from a checkpoint.

    Args:
        lengths: Tokens of each row.
        batch: Rows of like length that stay together, one such batch after the other at random; None mixes all rows.
        seed: Of the order.
    """

    def __init__(self, lengths: list[int], batch: int | None, seed: int) -> None:
        self._lengths, self._batch, self._seed, self._epoch = lengths, batch, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        if self._batch is None:
            yield from torch.randperm(len(self._lengths), generator=generator).tolist()
        else:
            yield from get_length_grouped_indices(self._lengths, self._batch, generator=generator)


class _TellEpoch(TrainerCallback):  # type: ignore[misc]
    """The Trainer does not reach the order itself where several processes go on in the middle of an epoch."""

    def __init__(self, order: Order) -> None:
        self._order = order

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Say which one begins; one that is done may have come to 0.9999... of it."""
        self._order.set_epoch(int((state.epoch or 0.0) + 1e-6))


class HeadTrainer(Trainer):  # type: ignore[misc]
    """Trains a model with a head, and measures it in the metrics of its task."""

    control: Any

    def __init__(
        self,
        model: Any,
        args: TrainingArguments,
        inputs: HeadInputs,
        validation: Validation,
        parameters: FinetuneParameters,
        around: Surroundings,
    ) -> None:
        args.label_names = ["labels"]
        super().__init__(
            model=model,
            args=args,
            train_dataset=inputs.train,
            eval_dataset=Subset(cast(Any, inputs.validation), validation.order),
            data_collator=Collator(inputs.head, inputs.task.head_kind, inputs.padded_length),
            compute_metrics=self._measure,
            preprocess_logits_for_metrics=_logits_alone,
        )
        # its way to divide the loss knows one label for each row only
        self.model_accepts_loss_kwargs = False
        self.remove_callback(PrinterCallback)
        self._watcher = Watcher(around.log_path, around.stop, around.ranks)
        self.add_callback(self._watcher)
        if parameters.apply_early_stopping:
            patience, threshold = parameters.early_stopping_patience, parameters.early_stopping_threshold
            self.add_callback(EarlyStoppingCallback(patience, threshold))
        self._lengths: list[int] = inputs.train.lengths.tolist()
        self._by_length = inputs.padded_length is None
        self._tokens = int(inputs.train.lengths.sum())
        self._task = inputs.head.task
        self._validation, self._keep, self._ranks = validation, parameters.save_total_limit, around.ranks
        self._clock = Clock()
        self._epoch_at_start: float | None = None
        self._recent: list[float] = []

    @property
    def tokens_per_second(self) -> float:
        """Tokens of rows per second of training in this process, those of all processes together."""
        epochs = (self.state.epoch or 0.0) - (self._epoch_at_start or 0.0)
        seconds = self._clock.seconds()
        return self._tokens * epochs / seconds if seconds else 0.0

    @property
    def batch_size(self) -> int:
        """Rows of a batch on one device, as it fitted into memory."""
        return int(self._train_batch_size)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """One batch; a loss that is no number ends the training."""
        self._clock.start()
        if self._epoch_at_start is None:
            self._epoch_at_start = self.state.epoch or 0.0
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
        # on a GPU looking costs a wait at every step, so there the curve looks
        if loss.device.type == "cpu":
            if not math.isfinite(loss.item()):
                raise diverged(self.state.global_step + 1)
            self._recent.append(loss.item() * self.args.gradient_accumulation_steps)
        if self.accelerator.gradient_state.sync_gradients:
            self._show_progress()
        return loss

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Metrics of the validation rows."""
        self._clock.stop()
        began = time.monotonic()
        metrics: dict[str, float] = super().evaluate(*args, **kwargs)
        shown = [f"{name.removeprefix('eval_')} {metrics[name]:.4f}" for name in self._shown(metrics)]
        seconds = time.monotonic() - began
        logger.info("Step %d: validation %s (%.0f s)", self.state.global_step, ", ".join(shown), seconds)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add a point to the curves."""
        if "train_runtime" in logs:
            return
        if not all(math.isfinite(logs.get(name, 0.0)) for name in ("loss", "eval_loss")):
            raise diverged(self.state.global_step)
        point: dict[str, Any] = {"step": self.state.global_step, "epoch": round(self.state.epoch or 0.0, 4)}
        for name, value in logs.items():
            # JSON has no infinity, which is the gradient norm of a step that the fp16 scaler skips
            if name not in _SPEEDS and math.isfinite(value):
                point["validation_loss" if name == "eval_loss" else name.removeprefix("eval_")] = value
        point["peak_memory_bytes"] = peak_memory(self.args.device.type)
        self.state.log_history.append(point)
        self.control = self.callback_handler.on_log(self.args, self.state, self.control, logs)

    def catch_up(self) -> None:
        """Measure the last step where an earlier try was stopped between it and its evaluation."""
        if any(p["step"] == self.state.global_step and "validation_loss" in p for p in self.state.log_history):
            return
        metrics = self.evaluate()
        if self._determine_best_metric(metrics, None):
            self._save_checkpoint(self.model, None)

    def _measure(self, outcome: Any) -> dict[str, float]:
        """Loss and metrics of the gathered outputs; one that is not defined is never the best."""
        loss = _mean_loss(outcome.predictions, outcome.label_ids, self._task)
        if not math.isfinite(loss):
            raise diverged(self.state.global_step)
        _, values = self._validation.measure(list(outcome.predictions))
        worst = -math.inf if self.args.greater_is_better else math.inf
        return {"loss": loss} | {name: worst if value is None else value for name, value in values.items()}

    def prediction_step(self, *args: Any, **kwargs: Any) -> tuple[None, Any, Any]:
        """Outputs alone: the Trainer's mean of losses counts rows twice where processes share them unevenly."""
        _, logits, labels = super().prediction_step(*args, **kwargs)
        return None, logits, labels

    def _shown(self, metrics: dict[str, float]) -> list[str]:
        best = f"eval_{self.args.metric_for_best_model}"
        return list(dict.fromkeys(name for name in ("eval_loss", best) if name in metrics))

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        """Rows of like length in one batch, where they are not padded to one length anyway."""
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps
        grouped = self._by_length and len(self._lengths) >= 2 * batch
        order = Order(self._lengths, batch if grouped else None, self.args.seed)
        self.add_callback(_TellEpoch(order))
        return order

    def _show_progress(self) -> None:
        if not self._watcher.line_is_due():
            return
        step = self.state.global_step + 1
        left = self._clock.seconds() / (step - self._initial_global_step) * (self.state.max_steps - step)
        loss = f", loss {sum(self._recent) / len(self._recent):.4f}" if self._recent else ""
        logger.info(
            "Step %d/%d, epoch %.2f%s, %.0f tokens/s, %s left",
            step, self.state.max_steps, self.state.epoch or 0.0, loss, self.tokens_per_second, duration(left),
        )  # fmt: skip
        self._recent.clear()

    def _load_best_model(self) -> None:
        """Nothing: the model is written from the best checkpoint itself."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Save weights only: the Trainer's own adds its arguments as a pickle."""
        if not self._ranks.first:
            return
        model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        # without the option peft asks the Hub about the base model's vocabulary
        options = {"save_embedding_layers": False} if hasattr(model, "peft_config") else {}
        model.save_pretrained(output_dir, state_dict=state_dict, **options)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint, mark it as complete, and only then give up older ones."""
        self._clock.stop()
        folder, step = Path(self.args.output_dir), self.state.global_step
        try:
            super()._save_checkpoint(model, trial)
            self._ranks.wait()  # each process writes its random numbers
            if self._ranks.first:
                seal_checkpoint(folder / f"checkpoint-{step}")
                keep_best_and_newest(folder, self._keep, self.state.best_global_step)
        except (OSError, RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:200]
            raise StorageError(
                f"cannot write the checkpoint of step {step} to {folder}: {reason}. "
                "Free some space, or set CHECKPOINT_DIR to a larger disk, and run again to continue."
            ) from error


def compute_outputs(model: Any, inputs: HeadInputs, order: Sequence[int], batch_size: int) -> list[Any]:
    """Outputs of a model for validation inputs, one array for each, in the order given."""
    collate = Collator(inputs.head, inputs.task.head_kind, inputs.padded_length)
    device = next(model.parameters()).device
    model.eval()
    outputs: list[Any] = []
    with torch.no_grad():
        for first in range(0, len(order), batch_size):
            batch = collate([inputs.validation[place] for place in order[first : first + batch_size]])
            del batch["labels"]
            logits = _logits_alone(model(**{name: tensor.to(device) for name, tensor in batch.items()}).logits, None)
            outputs += list(logits.float().cpu().numpy())
    return outputs


def _mean_loss(outputs: Any, labels: Any, task: str) -> float:
    """Mean over all rows, or over all words; the same loss as the training's."""
    logits, wanted = torch.from_numpy(outputs).double(), torch.from_numpy(labels)
    functional = torch.nn.functional
    match task:
        case "regression":
            return functional.mse_loss(logits.flatten(), wanted.double().flatten()).item()
        case "multi_label":
            return functional.binary_cross_entropy_with_logits(logits, wanted.double()).item()
        case _:
            return functional.cross_entropy(logits.flatten(0, -2), wanted.flatten()).item()


def diverged(step: int) -> TrainingError:
    """What to do about a loss that is no number."""
    return TrainingError(
        f"the loss is no longer a number at step {step}. Lower learning_rate (a tenth is a good try) or max_grad_norm, "
        "or raise warmup_steps."
    )


def _logits_alone(logits: Any, labels: Any) -> Any:
    """Some models give more than the head's outputs."""
    return logits[0] if isinstance(logits, tuple) else logits
