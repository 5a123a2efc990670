"""A worker of a distributed training with a probe: run in the place of the real one."""

from support.worker_probe import WorkerProbe, digest

from components.core.training import batches, loop, run
from components.core.training.distributed import worker


class Probe(WorkerProbe):
    """Also the gradients, and how often they are exchanged."""

    def on_train_begin(self, args, state, control, **kwargs):
        """Look at the wrapped model, and count how often its gradients are exchanged."""
        from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

        super().on_train_begin(args, state, control, **kwargs)
        self.notes["syncs"] = 0

        def count(group, bucket):
            self.notes["syncs"] += 1
            return allreduce_hook(group, bucket)

        self.trainer.model_wrapped.register_comm_hook(None, count)

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        """Hash all gradients."""
        found = [weights.grad for weights in self.trainer.model.parameters() if weights.grad is not None]
        self.notes["gradients"].append(digest(found))


def main() -> None:
    """Be a worker, and leave notes in PROBE_DIR."""
    probe = Probe(loop.FinetuneTrainer, "rows", "gradients")
    loop.build_pieces = run.build_pieces = probe.note_rows(batches.build_pieces)
    probe.note_saves()
    probe.run(worker.main)


if __name__ == "__main__":
    main()
