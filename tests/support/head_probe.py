"""A worker of a head's distributed training with a probe: run in the place of the real one."""

from support.worker_probe import WorkerProbe, digest

from components.core.heads.training import loop, worker


class Probe(WorkerProbe):
    """Also the weights after each step."""

    def on_step_end(self, args, state, control, **kwargs):
        """Hash all weights as this process has them after the step, those that are parted put together."""
        weights = list(self.trainer.model.parameters())
        if self.notes["stage"]:
            from deepspeed.utils import safe_get_full_fp32_param

            weights = [safe_get_full_fp32_param(each) for each in weights]
        self.notes["weights"].append(digest(weights))


def main() -> None:
    """Be a worker, and leave notes in PROBE_DIR."""
    stepped = loop.HeadTrainer.training_step
    probe = Probe(loop.HeadTrainer, "batches", "weights", "losses")

    def step(self, model, inputs, *others):
        loss = stepped(self, model, inputs, *others)
        probe.notes["batches"].append(
            [ids[mask > 0].tolist() for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True)]
        )
        probe.notes["losses"].append(loss.item())
        return loss

    loop.HeadTrainer.training_step = step
    probe.note_saves()
    probe.run(worker.main)


if __name__ == "__main__":
    main()
