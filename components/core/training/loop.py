"""The training loop: transformers' Trainer, with steps made of pieces and a loss on the label positions only."""

import inspect
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from components.core.errors import StorageError, TrainingError
from components.core.training.batches import Layout, Plan, build_pieces, count_pieces, fill_up, share_rows
from components.core.training.checkpoints import keep_newest, seal_checkpoint
from components.core.training.distributed.sync import Ranks
from components.core.training.hardware import peak_memory
from components.core.training.rows import TokenRows
from components.core.training.watching import StopRequest, Watcher

logger = logging.getLogger(__name__)

Piece = dict[str, torch.Tensor]

_LOG_NAMES = {"eval_loss": "validation_loss"}


def summed_loss(model: Any, piece: Piece) -> torch.Tensor:
    """Cross-entropy of all labels of a piece, added up; only their positions go through the output layer."""
    inputs = {name: tensor for name, tensor in piece.items() if name != "targets"}
    # with a cache transformers takes no notice of where the rows of a flat piece begin
    logits = model(**inputs, use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.float(), piece["targets"], reduction="sum")


def check_model(model: Any) -> None:
    """Refuse a model that would compute the logits of all positions, or hide them among others.

    Raises:
        TrainingError: If its forward method does not take `logits_to_keep`; nearly all decoders of transformers do.
    """
    if "logits_to_keep" not in inspect.signature(model.forward).parameters:
        raise TrainingError(
            f"models of type {model.config.model_type} cannot be fine-tuned here: {type(model).__name__} does not "
            "compute chosen positions (logits_to_keep). Choose another base model."
        )


class PlannedBatches(Dataset[dict[str, Any]]):
    """One process's share of the batches of a plan, laid out when they are asked for.

    With `in_step` all processes get equally many pieces of each batch: DeepSpeed's talk to each other in every one.
    """

    def __init__(
        self, rows: TokenRows, plan: Plan, capacity: int, layout: Layout, ranks: Ranks, in_step: bool = False
    ) -> None:
        self._rows, self._plan, self._capacity, self._layout, self._ranks = rows, plan, capacity, layout, ranks
        self._in_step = in_step

    def __len__(self) -> int:
        return self._plan.batches

    def __getitem__(self, number: int) -> dict[str, Any]:
        numbers = self._plan.batch(number)
        shares = [numbers[share] for share in share_rows(self._rows.lengths[numbers], self._ranks.size)]
        how = self._capacity, self._layout
        pieces = list(build_pieces(self._rows, shares[self._ranks.rank], *how))
        wanted = max(count_pieces(self._rows, share, *how) for share in shares) if self._in_step else 1
        return {
            "pieces": fill_up(pieces, wanted),
            # of the whole batch: the loss is divided by all its labels, wherever they are
            "tokens": int(self._rows.lengths[numbers].sum()),
            "targets": int(self._rows.targets[numbers].sum()),
        }


class FinetuneTrainer(Trainer):  # type: ignore[misc]
    """Trains on planned batches, divided over all processes.

    To the Trainer the whole run is one epoch whose batches are in order, so that a resumed run finds its place by
    counting; the real epochs are the plan's.
    """

    control: Any

    def __init__(
        self,
        model: Any,
        args: TrainingArguments,
        batches: PlannedBatches,
        plan: Plan,
        validation: list[Piece],
        keep_checkpoints: int,
        log_path: Path,
        stop: StopRequest,
        ranks: Ranks,
    ) -> None:
        super().__init__(
            model=model, args=args, train_dataset=batches, eval_dataset=validation, data_collator=_only_batch
        )
        self.remove_callback(PrinterCallback)
        self._watcher = Watcher(log_path, stop, ranks)
        self.add_callback(self._watcher)
        self._plan, self._validation, self._keep, self._stop = plan, validation, keep_checkpoints, stop
        self._ranks = ranks
        self._clock = Clock()
        self.tokens = 0
        """Tokens of rows trained on since this process began, in all processes, padding not counted."""
        self._tokens_logged = 0
        self._seconds_logged = 0.0
        self._fresh_loss, self._fresh_steps = torch.zeros((), device=args.device), 0
        # the loss is divided by the tokens of the whole step already
        self._unscaled = {"scale_wrt_gas": False} if self.is_deepspeed_enabled else {}

    @property
    def seconds(self) -> float:
        """Seconds of training in this process, without validation and saving."""
        return self._clock.seconds()

    def get_train_dataloader(self) -> Any:
        """The batches as they are planned: they are divided over the processes already."""
        pinned = self.args.dataloader_pin_memory
        return DataLoader(self.train_dataset, batch_size=1, collate_fn=_only_batch, pin_memory=pinned)

    def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: Any) -> tuple[list[Any], int]:
        """Batches of one optimizer step, and their label tokens by which the loss is divided."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        return batches, sum(batch["targets"] for batch in batches)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Add the gradients of one batch, piece by piece; with the last piece of a step they are made the mean of all.

        Returns:
            The loss of the whole batch.
        """
        self._clock.start()
        model.train()
        batch_loss = torch.zeros((), device=self.args.device)
        pieces = self._prepare_inputs(inputs)["pieces"]
        for number, piece in enumerate(pieces, 1):
            with nullcontext() if number == len(pieces) else self._more_to_come(model):
                with self.compute_loss_context_manager():
                    # gradients become the mean over the processes, and are meant to be the sum
                    loss = summed_loss(model, piece) * self._ranks.size / num_items_in_batch
                self.accelerator.backward(loss, **self._unscaled)
            batch_loss += loss.detach()
        total: torch.Tensor = self._ranks.mean(batch_loss)
        if total.device.type == "cpu" and not math.isfinite(total.item()):
            # on a GPU looking costs a wait at every step, so there log and checkpoint look
            raise _diverged(self.state.global_step + 1)
        self.tokens += inputs["tokens"]
        self._fresh_loss += total
        if self.accelerator.gradient_state.sync_gradients:
            self._fresh_steps += 1
            self._show_progress()
        return total

    @contextmanager
    def _more_to_come(self, model: Any) -> Iterator[None]:
        """Gradients are added up only; DeepSpeed would take a step with each piece that it takes for a step's last."""
        if not self.is_deepspeed_enabled:
            with self.accelerator.no_sync(model):
                yield
            return
        state = self.accelerator.gradient_state
        last_of_step = state.sync_gradients
        state._set_sync_gradients(False)
        yield
        state._set_sync_gradients(last_of_step)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Mean loss per label token of all validation rows; empty if asked to stop before the end."""
        self._clock.stop()
        self.model.eval()
        total, targets = torch.zeros((), device=self.args.device, dtype=torch.float64), 0
        with torch.no_grad():
            for piece in self._validation:
                # with DeepSpeed no process may leave the others alone with a piece
                if self._ranks.any(self._stop.made) if self.is_deepspeed_enabled else self._stop.made:
                    break
                total += summed_loss(self.model, self._prepare_inputs(piece)).double()
                targets += len(piece["targets"])
        loss, labels, stopped = self._ranks.totals(total.item(), targets, self._stop.made)
        if stopped:
            self._stop.made = self.control.should_training_stop = self.control.should_save = True
            return {}
        metrics = {"eval_loss": loss / labels}
        self.log(metrics)
        logger.info("Step %d: validation loss %.4f", self.state.global_step, metrics["eval_loss"])
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add a point to the curves."""
        if "train_runtime" in logs:
            return
        if not all(math.isfinite(logs.get(name, 0.0)) for name in ("loss", "eval_loss")):
            raise _diverged(self.state.global_step)
        step = self.state.global_step
        point: dict[str, Any] = {"step": step, "epoch": round(self._plan.epoch_after(step), 4)}
        # JSON has no infinity, which is the gradient norm of a step that the fp16 scaler skips
        point |= {_LOG_NAMES.get(name, name): value for name, value in logs.items() if math.isfinite(value)}
        if "loss" in logs:
            seconds = self.seconds - self._seconds_logged
            point["tokens_per_second"] = round((self.tokens - self._tokens_logged) / max(seconds, 1e-9), 1)
            self._tokens_logged, self._seconds_logged = self.tokens, self.seconds
        point["peak_memory_bytes"] = peak_memory(self.args.device.type)
        self.state.log_history.append(point)
        self.control = self.callback_handler.on_log(self.args, self.state, self.control, logs)

    def _show_progress(self) -> None:
        if not self._watcher.line_is_due():
            return
        step = self.state.global_step + 1
        done = step - self._initial_global_step
        left = self.seconds / done * (self.state.max_steps - step)
        logger.info(
            "Step %d/%d, epoch %.2f, loss %.4f, %.0f tokens/s, %s left",
            step, self.state.max_steps, self._plan.epoch_after(step), self._fresh_loss.item() / self._fresh_steps,
            self.tokens / self.seconds, duration(left),
        )  # fmt: skip
        self._fresh_loss.zero_()
        self._fresh_steps = 0

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Save weights only: the Trainer's own adds its arguments as a pickle."""
        if not self._ranks.first:
            return
        # without the option peft asks the Hub about the base model's vocabulary
        options: dict[str, Any] = {"save_embedding_layers": False} if hasattr(self.model, "peft_config") else {}
        # with ZeRO-3 the model itself holds a part of its weights
        self.model.save_pretrained(output_dir, state_dict=state_dict, **options)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint, mark it as complete, and only then give up older ones."""
        self._clock.stop()
        if not math.isfinite(self._tr_loss.item()):
            raise _diverged(self.state.global_step)
        folder = Path(self.args.output_dir)
        try:
            super()._save_checkpoint(model, trial)
            self._ranks.wait()  # each process writes its random numbers
            if self._ranks.first:
                seal_checkpoint(folder / f"checkpoint-{self.state.global_step}")
                keep_newest(folder, self._keep)
        except (OSError, RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:200]
            raise StorageError(
                f"cannot write the checkpoint of step {self.state.global_step} to {folder}: {reason}. "
                "Free some space, or set CHECKPOINT_DIR to a larger disk, and run again to continue."
            ) from error


class Clock:
    """Counts seconds between start and stop."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._done, self._since = now, 0.0, None  # type: tuple[Callable[[], float], float, float | None]

    def start(self) -> None:
        """Count from here on, if it does not already."""
        if self._since is None:
            self._since = self._now()

    def stop(self) -> None:
        """Count no more."""
        self._done, self._since = self.seconds(), None

    def seconds(self) -> float:
        """Counted so far."""
        return self._done + (self._now() - self._since if self._since is not None else 0.0)


def _only_batch(batches: list[dict[str, Any]]) -> dict[str, Any]:
    return batches[0]


def _diverged(step: int) -> TrainingError:
    return TrainingError(
        f"the loss is no longer a number at step {step}. Lower training.learning_rate (a tenth is a good try) or "
        "training.max_grad_norm, or raise training.warmup_steps."
    )


def duration(seconds: float) -> str:
    """Such as 1 h 20 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
