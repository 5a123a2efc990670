"""The models that share one core: the loaded one as it is, and with each adapter."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from llm_endpoint.engines.seam import EngineInfo, Generation, GenerationRequest, Sampling
from llm_endpoint.errors import ModelError
from llm_endpoint.served.encoding import PromptEncoder

if TYPE_CHECKING:
    from llm_endpoint.engines.local import LocalEngine

WARM_UP = GenerationRequest(text="Context: a\nQuestion: b\nAnswer:", sampling=Sampling(max_new_tokens=2))
_LOOK_AGAIN_SECONDS = 0.02


@dataclass(frozen=True, eq=False)
class Variant:
    """How texts become tokens and back, and with what the core answers."""

    encoder: PromptEncoder
    one_line: bool
    """A line break ends an answer."""
    adapter: Any = None
    """Of an AdaptableCore; None for the model as it is."""


@runtime_checkable
class AdaptableCore(Protocol):
    """A core whose requests can each have an adapter."""

    def read_adapter(self, folder: Path, largest_rank: int) -> Any:
        """Read an adapter from its folder; unlike all else of a core, any thread may.

        The adapter has `fault` (why it could not be applied), `reached` and `parts` (modules that it has changed, and
        is to change) and `dropped` (set: nothing of its requests is kept).

        Raises:
            ModelError: If it does not fit the model.
        """
        ...

    def add_adapted(
        self, key: int, prompt_ids: Sequence[int], sampling: Sampling, stop_ids: frozenset[int], adapter: Any
    ) -> None:
        """`add` for a request with an adapter."""
        ...


class VariantEngine:
    """A variant as an engine of its own, on the core that it shares.

    Args:
        engine: Started; it goes on when this one is stopped.
        variant: With an adapter.
        info: Of the adapter.
    """

    def __init__(self, engine: "LocalEngine", variant: Variant, info: EngineInfo) -> None:
        self.info, self._engine, self._variant = info, engine, variant

    async def start(self) -> None:
        """Answer one request, and make sure that every part of the adapter had its effect.

        Raises:
            ModelError: If it does not answer, or would be applied in part only.
        """
        async for _ in self.submit(WARM_UP):
            pass
        adapter = self._variant.adapter
        unreached = sorted(adapter.parts.keys() - adapter.reached)
        fault = adapter.fault or (f"{unreached[0]} does not run as a layer of its own" if unreached else "")
        if fault:
            raise ModelError(f"the adapter cannot be served beside others: {fault}. Merge it into its base.")

    def submit(self, request: GenerationRequest) -> Generation:
        """Take a request, as the shared engine does."""
        return self._engine.submit(request, self._variant)

    def healthy(self) -> bool:
        """Whether the shared engine is."""
        return self._engine.healthy()

    def load(self) -> tuple[int, int]:
        """Requests for this variant, running and waiting together, and none."""
        return self._engine.count(self._variant), 0

    async def stop(self) -> None:
        """Wait for the requests that have come in, then let the adapter's memory go."""
        while self._engine.healthy() and self._engine.count(self._variant):
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        self._variant.adapter.dropped = True
