"""What the probes of distributed trainings share: a worker that also writes down what it did.

Nothing of the training is replaced; the trainer's own methods are called and their surroundings looked at.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, TrainerCallback


def digest(tensors) -> str:
    """Hash of tensors."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.detach().float().cpu().numpy().tobytes())
    return found.hexdigest()


class WorkerProbe(TrainerCallback):
    """Notes of one process.

    Args:
        trainer: Class of the trainer to look at.
        lists: Names of more notes, each a list.
    """

    def __init__(self, trainer: type, *lists: str) -> None:
        self.notes: dict[str, Any] = {
            "rank": int(os.environ["RANK"]), "world_size": None, "seen_by_trainer": None, "distributed_type": None,
            "wrapper": None, "stage": None, "saved": [], **{name: [] for name in lists},
        }  # fmt: skip
        self.trainer = None
        built = trainer.__init__

        def build(made, *arguments):
            built(made, *arguments)
            self.trainer = made
            made.add_callback(self)

        trainer.__init__ = build

    def on_train_begin(self, args, state, control, **kwargs):
        """Look at the engine around the model."""
        import torch.distributed as dist

        wrapped = self.trainer.model_wrapped
        self.notes["world_size"] = dist.get_world_size()
        self.notes["seen_by_trainer"] = args.world_size
        self.notes["distributed_type"] = str(self.trainer.accelerator.distributed_type)
        self.notes["wrapper"] = f"{type(wrapped).__module__}.{type(wrapped).__name__}"
        self.notes["stage"] = wrapped.zero_optimization_stage() if hasattr(wrapped, "zero_optimization_stage") else None

    def note_saves(self, *kinds: type) -> None:
        """Write down the folder of each model that is saved."""
        for kind in kinds or (PreTrainedModel,):
            kind.save_pretrained = self._noted(kind.save_pretrained)

    def _noted(self, save: Callable[..., Any]) -> Callable[..., Any]:
        def write(model, folder, **options):
            self.notes["saved"].append(Path(folder).name)
            save(model, folder, **options)

        return write

    def note_rows(self, build_pieces: Callable[..., Any]) -> Callable[..., Any]:
        """The same function; it writes down which rows this process gets."""

        def lay_out(rows, numbers, capacity, layout):
            self.notes["rows"].append([int(number) for number in numbers])
            return build_pieces(rows, numbers, capacity, layout)

        return lay_out

    def run(self, work: Callable[[Path], None]) -> None:
        """Be a worker, and leave the notes in PROBE_DIR."""
        try:
            work(Path(sys.argv[1]))
        finally:
            path = Path(os.environ["PROBE_DIR"]) / f"probe-{self.notes['rank']}.json"
            path.write_text(json.dumps(self.notes))
