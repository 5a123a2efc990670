"""A worker of a text training with DeepSpeed with a probe: run in the place of the real one."""

import peft
from support.worker_probe import WorkerProbe, digest
from transformers import PreTrainedModel

from components.core.training import batches, loop
from components.core.training.distributed import worker


class Probe(WorkerProbe):
    """Also gradients and weights of each step."""

    def on_train_begin(self, args, state, control, **kwargs):
        """Look at the engine, and at the gradients before each of its steps."""
        super().on_train_begin(args, state, control, **kwargs)
        engine = self.trainer.model_wrapped
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


def main() -> None:
    """Be a worker, and leave notes in PROBE_DIR."""
    probe = Probe(loop.FinetuneTrainer, "rows", "weights", "gradients")
    loop.build_pieces = probe.note_rows(batches.build_pieces)
    probe.note_saves(PreTrainedModel, peft.PeftModel)
    probe.run(worker.main)


if __name__ == "__main__":
    main()
