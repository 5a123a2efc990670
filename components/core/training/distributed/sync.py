"""What the processes of one training tell each other, apart from gradients."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

_PATIENCE = timedelta(hours=1)
"""How long a process waits for the others: as long as the first one may take to write a checkpoint."""


@dataclass(frozen=True)
class Ranks:
    """The place of this process among all that train together; alone, everything here is trivial.

    All processes must call each method equally often and in the same order.
    """

    rank: int = 0
    size: int = 1
    on_this_machine: int = 1
    """Processes that share this machine's memory."""

    @property
    def first(self) -> bool:
        """Whether this is the process that saves, logs and prints."""
        return self.rank == 0

    def totals(self, *values: float) -> list[float]:
        """Sums of numbers over all processes."""
        return self._reduce(values, "SUM")

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in one of the processes."""
        return self._reduce([float(flag)], "MAX")[0] > 0

    def most(self, value: float) -> float:
        """The largest of all processes' numbers."""
        return self._reduce([value], "MAX")[0]

    def mean(self, tensor: Any) -> Any:
        """Mean of a tensor over all processes, on its own device; a GPU does not wait for it."""
        if self.size == 1:
            return tensor
        import torch.distributed as dist

        dist.all_reduce(tensor)
        return tensor / self.size

    def share(self, text: str) -> str:
        """The text of the first process."""
        if self.size == 1:
            return text
        import torch
        import torch.distributed as dist

        content = torch.frombuffer(bytearray(text.encode() or b" "), dtype=torch.uint8)
        length = torch.tensor([len(content)])
        dist.broadcast(length, src=0)
        content = content if self.first else torch.zeros(int(length), dtype=torch.uint8)
        dist.broadcast(content, src=0)
        return bytes(content.tolist()).decode().strip()

    def wait(self) -> None:
        """Wait until all processes are here."""
        self._reduce([0.0], "MAX")

    def _reduce(self, values: Any, operation: str) -> list[float]:
        if self.size == 1:
            return list(values)
        import torch
        import torch.distributed as dist

        # on the CPU, so that no GPU has to finish its work first
        tensor = torch.tensor(list(values), dtype=torch.float64)
        dist.all_reduce(tensor, getattr(dist.ReduceOp, operation))
        return [float(value) for value in tensor.tolist()]


@contextmanager
def joined() -> Iterator[Ranks]:
    """Meet the other processes that torchrun started, and take this process's own GPU, if there are any."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Ranks()
        return
    import torch
    import torch.distributed as dist

    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=_PATIENCE)
    yield Ranks(dist.get_rank(), size, int(os.environ["LOCAL_WORLD_SIZE"]))
    # not after an error: leaving the group waits for the others, who may be in the middle of a step
    dist.destroy_process_group()
