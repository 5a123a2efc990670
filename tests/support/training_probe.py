"""A worker of a distributed training that also writes down what it did: run in the place of the real one.

Nothing of the training is replaced; the trainer's own methods are called and their surroundings looked at.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

from transformers import PreTrainedModel, TrainerCallback

from components.core.training import batches, loop, run
from components.core.training.distributed import worker


class Probe(TrainerCallback):
    """Notes of one process."""

    def __init__(self) -> None:
        self.notes = {
            "rank": int(os.environ["RANK"]), "world_size": None, "wrapper": None, "rows": [], "gradients": [],
            "syncs": 0, "saved": [],
        }  # fmt: skip
        self.trainer = None

    def on_train_begin(self, args, state, control, **kwargs):
        """Look at the wrapped model, and count how often its gradients are exchanged."""
        import torch.distributed as dist
        from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

        def count(group, bucket):
            self.notes["syncs"] += 1
            return allreduce_hook(group, bucket)

        self.notes["world_size"] = dist.get_world_size()
        self.notes["wrapper"] = type(self.trainer.model_wrapped).__name__
        self.trainer.model_wrapped.register_comm_hook(None, count)

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        """Hash all gradients."""
        digest = hashlib.sha256()
        for weights in self.trainer.model.parameters():
            if weights.grad is not None:
                digest.update(weights.grad.numpy().tobytes())
        self.notes["gradients"].append(digest.hexdigest())

    def write(self, folder: Path) -> None:
        """Leave the notes in the folder."""
        (folder / f"probe-{self.notes['rank']}.json").write_text(json.dumps(self.notes))


def main() -> None:
    """Be a worker, and leave notes in PROBE_DIR."""
    probe = Probe()
    built, laid_out, written = loop.FinetuneTrainer.__init__, batches.build_pieces, PreTrainedModel.save_pretrained

    def build(self, *arguments):
        built(self, *arguments)
        probe.trainer = self
        self.add_callback(probe)

    def lay_out(rows, numbers, capacity, layout):
        probe.notes["rows"].append([int(number) for number in numbers])
        return laid_out(rows, numbers, capacity, layout)

    def write(self, folder, **options):
        probe.notes["saved"].append(Path(folder).name)
        written(self, folder, **options)

    loop.FinetuneTrainer.__init__, loop.build_pieces, PreTrainedModel.save_pretrained = build, lay_out, write
    run.build_pieces = lay_out
    try:
        worker.main(Path(sys.argv[1]))
    finally:
        probe.write(Path(os.environ["PROBE_DIR"]))


if __name__ == "__main__":
    main()
