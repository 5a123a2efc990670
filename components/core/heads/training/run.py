"""One training of a head, or this process's part of one: how its parts are put together."""

import logging
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.catalogue import FinetuneParameters
from components.core.catalogue.training_arguments import build_arguments
from components.core.errors import TrainingError
from components.core.heads.training.determinism import deterministic
from components.core.heads.training.job import HeadInputs, catalogue_task
from components.core.heads.training.model import (
    BaseOfAdapter,
    LoadedModel,
    add_adapter,
    load_model,
    load_trained,
    quiet_transformers,
    start_at_shares,
)
from components.core.heads.training.output import write_companions, write_weights
from components.core.heads.training.result import HeadTrainingResult
from components.core.heads.training.scoring import Validation
from components.core.metrics.labels import Values
from components.core.recipe.deepspeed import deepspeed_configuration
from components.core.registry.base_model import STARTER
from components.core.settings import STARTER_DIR, Settings
from components.core.training.distributed.deepspeed import kind_of_training, leave_deepspeed
from components.core.training.distributed.sync import Ranks
from components.core.training.hardware import Hardware, peak_memory
from components.core.training.model import check_finite, count_parameters
from components.core.training.run import mean_loss, memory_errors

if TYPE_CHECKING:
    from components.core.heads.training.loop import HeadTrainer

logger = logging.getLogger(__name__)

_LESS_MEMORY = (
    "Lower per_device_train_batch_size (and raise gradient_accumulation_steps), set auto_find_batch_size=true, lower "
    "max_seq_length of the preprocessing, or use a smaller model or a larger machine."
)


class HeadRun:
    """What one fine-tuning works on."""

    def __init__(
        self, inputs: HeadInputs, parameters: FinetuneParameters, hardware: Hardware, output_dir: Path, ranks: Ranks
    ) -> None:
        self.inputs, self.parameters, self.hardware = inputs, parameters, hardware
        self.output_dir, self.ranks = output_dir, ranks
        self.notes = list(hardware.notes)
        self.deepspeed = deepspeed_configuration(parameters)
        batch = parameters.per_device_train_batch_size * parameters.gradient_accumulation_steps * ranks.size
        self.steps_per_epoch = math.ceil(len(inputs.train) / batch)

    def train(self, checkpoints: Path, step: int | None, began: float, settings: Settings) -> HeadTrainingResult:
        """Train, or go on from the checkpoint of a step; the first process writes the model folder."""
        from components.core.training.watching import LOG_FILE, StopRequest

        with deterministic(self.parameters.enable_full_determinism), quiet_transformers():
            with StopRequest().listening() as stop:
                trainer = self._build(checkpoints, self.output_dir / LOG_FILE, stop)
                if step is not None:
                    logger.info("Going on from the checkpoint of step %d", step)
                if self.ranks.any(stop.made):
                    raise TrainingError("stopped by SIGTERM before the first step; run again to start.")
                with memory_errors(_LESS_MEMORY):
                    trainer.train(
                        resume_from_checkpoint=None if step is None else str(checkpoints / f"checkpoint-{step}")
                    )
                    if self.ranks.any(stop.made):
                        raise TrainingError(
                            f"stopped by SIGTERM after step {trainer.state.global_step}; a checkpoint is written. Run "
                            "again with resume_from_checkpoint=true to continue."
                        )
                    trainer.catch_up()
            # from here on SIGTERM may end the process at once: all of the training is in its checkpoints
            check_finite(trainer.model)
            return self._finish(trainer, checkpoints, step, began, settings)

    def _build(self, checkpoints: Path, log_path: Path, stop: Any) -> "HeadTrainer":
        from transformers import set_seed

        parameters, inputs = self.parameters, self.inputs
        # read before the model: it says that DeepSpeed parts the weights while they are loaded
        arguments = build_arguments(parameters, self.hardware, checkpoints, self.steps_per_epoch)

        from components.core.heads.training.loop import HeadTrainer, Surroundings

        # the head's and the adapter's first weights are random
        set_seed(parameters.seed)
        quantized = (parameters.precision, self.hardware) if parameters.precision in (4, 8) else None
        loaded = load_model(inputs.pretrained, inputs.task, inputs.head, parameters.ignore_mismatched_sizes, quantized)
        self._take_note(loaded)
        if inputs.head.task == "multi_label":
            start_at_shares(loaded, inputs.train.label_shares())
        model = loaded.model
        if parameters.apply_lora:
            model = add_adapter(loaded, inputs.task, parameters, self._base())
        around = Surroundings(log_path, stop, self.ranks)
        trainer = HeadTrainer(model, arguments, inputs, Validation(inputs), parameters, around)
        logger.info(
            "Training %s on %d inputs (%d tokens), %d steps an epoch, in %s%s on %s, %d %s",
            catalogue_task(inputs.head.task), len(inputs.train), int(inputs.train.lengths.sum()), self.steps_per_epoch,
            self.hardware.precision, f" over {parameters.precision}-bit weights" if quantized else "",
            self.hardware.device, self.ranks.size, "process" if self.ranks.size == 1 else "processes",
        )  # fmt: skip
        return trainer

    def _take_note(self, loaded: LoadedModel) -> None:
        if self.parameters.precision in (4, 8):
            self.notes.append(f"The adapter was trained on weights of {self.parameters.precision} bits (QLoRA).")
        if loaded.fresh:
            parts = sorted({name.rpartition(".")[0] for name in loaded.fresh})
            shown = ", ".join(parts[:4]) + (", ..." if len(parts) > 4 else "")
            self.notes.append(f"The base model has no such weights, so they began at random: {shown}.")
        for note in self.notes:
            logger.info("%s", note)

    def _base(self) -> BaseOfAdapter:
        """What the adapter is loaded on later: the id where it has one, not where it was downloaded to."""
        model = self.inputs.arguments.get("model") or {}
        name = str(model.get("id") or "")
        if name == STARTER:
            return BaseOfAdapter(str(STARTER_DIR / "model"))
        if Path(name).expanduser().is_dir():
            return BaseOfAdapter(str(Path(name).expanduser().resolve()))
        if name and name.count("/") <= 1 and not name.startswith(("/", ".", "~")):
            return BaseOfAdapter(name, model.get("revision"))
        return BaseOfAdapter(str(self.inputs.pretrained.resolve()))

    def _finish(
        self, trainer: "HeadTrainer", checkpoints: Path, step: int | None, began: float, settings: Settings
    ) -> HeadTrainingResult:
        """Write the best checkpoint as a model folder, and measure what was written."""
        state, parameters = trainer.state, self.parameters
        best = state.best_global_step or state.global_step
        if not state.best_global_step:
            self.notes.append(
                f"{parameters.metric_for_best_model} was not defined on the validation rows, so the last step is kept."
            )
        trained, total = count_parameters(trainer.model)
        peak = int(self.ranks.most(peak_memory(self.hardware.device)))
        values: Values = {}
        if self.deepspeed is not None:
            leave_deepspeed()
        if self.ranks.first:
            model = load_trained(
                checkpoints / f"checkpoint-{best}", self.inputs.pretrained, self.inputs.task, self.inputs.head,
                parameters.apply_lora, parameters.merge_lora_weights,
            )  # fmt: skip
            values = self._write(model, trainer)
            if parameters.apply_ort:
                values = self._export(settings)
        return HeadTrainingResult(
            steps=state.global_step,
            train_loss=mean_loss(state.log_history),
            validation_loss=next(
                (p["validation_loss"] for p in state.log_history if p["step"] == best and "validation_loss" in p), None
            ),
            validation_metrics=values,
            runtime="onnxruntime" if parameters.apply_ort else "pytorch",
            best_metric=state.best_metric if state.best_global_step else None,
            best_step=best,
            stopped_early=state.global_step < state.max_steps,
            resumed_from_step=step,
            tokens_per_second=trainer.tokens_per_second,
            peak_memory_bytes=max(peak, peak_memory(self.hardware.device)),
            seconds=time.monotonic() - began,
            trainable_parameters=trained,
            total_parameters=total,
            device=self.hardware.device,
            precision=self.hardware.precision,
            method="lora" if parameters.apply_lora else "full",
            world_size=self.ranks.size,
            distributed=kind_of_training(self.deepspeed, self.ranks.size),
            notes=self.notes,
        )

    def _write(self, model: Any, trainer: "HeadTrainer") -> Values:
        """Write the model folder; thresholds and metrics come from the very weights that are written."""
        from components.core.heads.training.loop import compute_outputs

        write_weights(model, self.output_dir)
        validation = Validation(self.inputs)
        model.to(trainer.args.device)
        outputs = compute_outputs(model, self.inputs, validation.order, self.parameters.per_device_eval_batch_size)
        head, values = validation.measure(outputs)
        write_companions(self.inputs, head, self._arguments(trainer), self.output_dir)
        shown = ", ".join(f"{name} {value:.4f}" for name, value in values.items() if value is not None)
        logger.info(
            "Kept the checkpoint of step %d: %s", trainer.state.best_global_step or trainer.state.global_step, shown
        )
        return values

    def _arguments(self, trainer: "HeadTrainer") -> dict[str, Any]:
        """The content of finetune_args.json."""
        return {
            "format": 1,
            "task": self.inputs.head.task,
            "catalogue_task": catalogue_task(self.inputs.head.task),
            "parameters": self.parameters.model_dump(mode="json"),
            "effective": {
                "per_device_train_batch_size": trainer.batch_size,
                "steps": trainer.state.max_steps,
                "steps_per_epoch": self.steps_per_epoch,
                "device": self.hardware.device,
                "precision": self.hardware.precision,
                "processes": self.ranks.size,
                "deepspeed": self.deepspeed,
            },
        }

    def _export(self, settings: Settings) -> Values:
        """Write model.onnx, and measure what ONNX Runtime computes with it."""
        from components.core.heads.inference import open_predictor, predict
        from components.core.heads.onnx import export_onnx

        rows, quantization = self.inputs.validation_rows, self.parameters.ort_quantization
        export_onnx(self.output_dir, rows, quantization, settings)
        predictor = open_predictor(self.output_dir, settings, runtime="onnxruntime")
        predictions = predict(predictor, self.inputs.task, rows)
        return self.inputs.task.score(rows, predictions, predictor.head).values
