"""A worker of a head's distributed training that also writes down what it did: run in the place of the real one.

Nothing of the training is replaced; the trainer's own methods are called and their surroundings looked at.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

from transformers import PreTrainedModel, TrainerCallback

from components.core.heads.training import loop, worker


def digest(tensors) -> str:
    """Hash of tensors."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.detach().float().cpu().numpy().tobytes())
    return found.hexdigest()


class Probe(TrainerCallback):
    """Notes of one process."""

    def __init__(self) -> None:
        self.notes = {
            "rank": int(os.environ["RANK"]), "world_size": None, "seen_by_trainer": None, "distributed_type": None,
            "wrapper": None, "stage": None, "batches": [], "weights": [], "losses": [], "saved": [],
        }  # fmt: skip
        self.trainer = None

    def on_train_begin(self, args, state, control, **kwargs):
        """Look at the engine around the model."""
        import torch.distributed as dist

        wrapped = self.trainer.model_wrapped
        self.notes["world_size"] = dist.get_world_size()
        self.notes["seen_by_trainer"] = args.world_size
        self.notes["distributed_type"] = str(self.trainer.accelerator.distributed_type)
        self.notes["wrapper"] = f"{type(wrapped).__module__}.{type(wrapped).__name__}"
        self.notes["stage"] = wrapped.zero_optimization_stage() if hasattr(wrapped, "zero_optimization_stage") else None

    def on_step_end(self, args, state, control, **kwargs):
        """Hash all weights as this process has them after the step, those that are parted put together."""
        weights = list(self.trainer.model.parameters())
        if self.notes["stage"]:
            from deepspeed.utils import safe_get_full_fp32_param

            weights = [safe_get_full_fp32_param(each) for each in weights]
        self.notes["weights"].append(digest(weights))

    def write(self, folder: Path) -> None:
        """Leave the notes in the folder."""
        (folder / f"probe-{self.notes['rank']}.json").write_text(json.dumps(self.notes))


def main() -> None:
    """Be a worker, and leave notes in PROBE_DIR."""
    probe = Probe()
    built, stepped = loop.HeadTrainer.__init__, loop.HeadTrainer.training_step
    written = PreTrainedModel.save_pretrained

    def build(self, *arguments):
        built(self, *arguments)
        probe.trainer = self
        self.add_callback(probe)

    def step(self, model, inputs, *others):
        loss = stepped(self, model, inputs, *others)
        probe.notes["batches"].append(
            [ids[mask > 0].tolist() for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True)]
        )
        probe.notes["losses"].append(loss.item())
        return loss

    def write(self, folder, **options):
        probe.notes["saved"].append(Path(folder).name)
        written(self, folder, **options)

    loop.HeadTrainer.__init__, loop.HeadTrainer.training_step = build, step
    PreTrainedModel.save_pretrained = write
    try:
        worker.main(Path(sys.argv[1]))
    finally:
        probe.write(Path(os.environ["PROBE_DIR"]))


if __name__ == "__main__":
    main()
