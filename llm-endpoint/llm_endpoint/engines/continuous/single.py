"""One row in each forward, with the model's own cache: for architectures whose rows cannot stand in one line."""

from collections.abc import Sequence
from typing import Any

from llm_endpoint.engines.continuous.lora import LoraModules
from llm_endpoint.engines.continuous.rows import Row


class SingleModel:
    """A transformers model with one cache per row, whatever kind it is (recurrent states, biases, ...)."""

    chunk_tokens: int | None = None
    """A recurrent model reads a prompt in one piece."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.lora = LoraModules(model)
        self._caches: dict[int, dict[str, Any]] = {}

    def place(self, row: Row) -> bool:
        """Start the row without a cache."""
        self._caches[row.key] = {}
        return True

    def share(self, row: Row) -> None:
        """Nothing is shared: a recurrent state cannot be cut."""

    def release(self, row: Row) -> None:
        """Free the row's cache."""
        del self._caches[row.key]

    def run(self, pieces: Sequence[tuple[Row, int]]) -> Any:
        """Advance each row by its pending tokens; logits have shape (rows, vocabulary)."""
        import torch

        logits = []
        with torch.inference_mode():
            for row, count in pieces:
                ids = torch.tensor([row.ids[row.done : row.done + count]], device=self._model.device)
                self.lora.begin([(row, count)])
                output = self._model(input_ids=ids, use_cache=True, **self._caches[row.key])
                self.lora.end()
                self._caches[row.key] = {
                    name: output[name] for name in ("past_key_values", "cache_params", "state") if name in output
                }
                row.done += count
                logits.append(output.logits[0, -1])
        return torch.stack(logits).cpu()
