"""A worker of a text training with DeepSpeed that also writes down what it did: run in the place of the real one.

Nothing of the training is replaced; the trainer's own methods are called and their surroundings looked at.
"""

import json
import os
import sys
from pathlib import Path

import peft
from support.head_probe import digest
from transformers import PreTrainedModel, TrainerCallback

from components.core.training import batches, loop
from components.core.training.distributed import worker


class Probe(TrainerCallback):
    """Notes of one process."""

    def __init__(self) -> None:
        self.notes = {
            "rank": int(os.environ["RANK"]), "world_size": None, "seen_by_trainer": None, "distributed_type": None,
            "wrapper": None, "stage": None, "rows": [], "weights": [], "gradients": [], "saved": [],
        }  # fmt: skip
        self.trainer = None

    def on_train_begin(self, args, state, control, **kwargs):
        """Look at the engine around the model, and at the gradients before each of its steps."""
        import torch.distributed as dist

        engine = self.trainer.model_wrapped
        self.notes["world_size"] = dist.get_world_size()
        self.notes["seen_by_trainer"] = args.world_size
        self.notes["distributed_type"] = str(self.trainer.accelerator.distributed_type)
        self.notes["wrapper"] = f"{type(engine).__module__}.{type(engine).__name__}"
        self.notes["stage"] = engine.zero_optimization_stage()
        step = engine.step

        def noted_step(*arguments, **options):
            self.notes["gradients"].append(self.gradients())
            step(*arguments, **options)

        engine.step = noted_step

    def trained(self):
        """The weights that are trained, by name."""
        return [(name, each) for name, each in self.trainer.model.named_parameters() if each.requires_grad]

    def gradients(self):
        """The whole gradient as this process puts it together: hash and length."""
        from deepspeed.utils import safe_get_full_grad

        found = [safe_get_full_grad(weights) for _, weights in self.trained()]
        return [digest(found), sum(each.double().square().sum().item() for each in found) ** 0.5]

    def on_step_end(self, args, state, control, **kwargs):
        """Hash the weights that this process computes with; parted ones are put together."""
        import deepspeed

        weights = [each for _, each in self.trained()]
        with deepspeed.zero.GatheredParameters(weights, enabled=self.notes["stage"] == 3):
            self.notes["weights"].append(digest(weights))

    def write(self, folder: Path) -> None:
        """Leave the notes in the folder."""
        (folder / f"probe-{self.notes['rank']}.json").write_text(json.dumps(self.notes))


def main() -> None:
    """Be a worker, and leave notes in PROBE_DIR."""
    probe = Probe()
    built, laid_out = loop.FinetuneTrainer.__init__, batches.build_pieces
    savers = {kind: kind.save_pretrained for kind in (PreTrainedModel, peft.PeftModel)}

    def build(self, *arguments):
        built(self, *arguments)
        probe.trainer = self
        self.add_callback(probe)

    def lay_out(rows, numbers, capacity, layout):
        probe.notes["rows"].append([int(number) for number in numbers])
        return laid_out(rows, numbers, capacity, layout)

    def noted(kind):
        def write(self, folder, **options):
            probe.notes["saved"].append(Path(folder).name)
            savers[kind](self, folder, **options)

        return write

    loop.FinetuneTrainer.__init__, loop.build_pieces = build, lay_out
    for kind in savers:
        kind.save_pretrained = noted(kind)
    try:
        worker.main(Path(sys.argv[1]))
    finally:
        probe.write(Path(os.environ["PROBE_DIR"]))


if __name__ == "__main__":
    main()
