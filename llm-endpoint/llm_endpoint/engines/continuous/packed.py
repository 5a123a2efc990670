"""All rows in one forward: their new tokens stand in one line, only attention looks at each row alone."""

from collections.abc import Sequence
from typing import Any

from llm_endpoint.engines.continuous.lora import LoraModules
from llm_endpoint.engines.continuous.memory import TokenMemory
from llm_endpoint.engines.continuous.rows import Row

ATTENTION = "continuous_rows"


class PackedModel:
    """A transformers model over one key/value memory that all rows share.

    Decode and prompt pieces of many rows share every matrix product. Keys and values of a row lie side by side, so
    attention reads them in place.
    """

    chunk_tokens: int | None = 256
    """Tokens of prompts in one forward, so that a long prompt does not hold up the answers."""

    def __init__(self, model: Any, cache_layers: Sequence[Any], tokens: int) -> None:
        """Reserve the memory; the system hands it out as it is used.

        Args:
            model: A model whose attention can be replaced.
            cache_layers: Of transformers, filled: shapes and windows are taken from them.
            tokens: Tokens that the memory holds.
        """
        import torch
        from transformers import AttentionInterface

        self._model = model
        self.lora = LoraModules(model)
        self._memory = TokenMemory(tokens)
        self.windows = [getattr(layer, "sliding_window", None) for layer in cache_layers]
        self.keys, self.values = (
            [torch.empty(1, store.shape[1], tokens, store.shape[3], device=model.device) for store in stores]
            for stores in ([layer.keys for layer in cache_layers], [layer.values for layer in cache_layers])
        )
        self.slots: Any = None
        """Places in the memory of the tokens that are being read."""
        self.spans: list[tuple[int, int, int, int]] = []
        """Of each row that is read: first and last place in the line, place of its first token in the memory, tokens
        seen before."""
        self._masks: dict[tuple[int, int, int | None], Any] = {}
        AttentionInterface.register(ATTENTION, attend)
        model.set_attn_implementation(ATTENTION)

    def place(self, row: Row) -> bool:
        """Give the row its memory; False if it must wait until other rows end."""
        return self._memory.place(row)

    def share(self, row: Row) -> None:
        """Copy keys and values that another row has for the same tokens."""
        places = self._memory.share(row)
        if places is not None:
            source, target, count = places
            for store in (*self.keys, *self.values):
                store[:, :, target : target + count] = store[:, :, source : source + count]

    def release(self, row: Row) -> None:
        """End the row."""
        self._memory.release(row)

    def forget(self) -> None:
        """Drop the prefixes that are kept."""
        self._memory = TokenMemory(self._memory.tokens)

    def run(self, pieces: Sequence[tuple[Row, int]]) -> Any:
        """Advance each row by so many of its pending tokens.

        Returns:
            Logits of the next token for the rows that have none pending now, in order: shape (rows, vocabulary).
        """
        import torch

        ids: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        last: list[int] = []
        self.spans = []
        self.lora.begin(pieces)
        for row, count in pieces:
            self.spans.append((len(ids), len(ids) + count, row.start, row.done))
            ids += row.ids[row.done : row.done + count]
            positions += range(row.done, row.done + count)
            slots += range(row.start + row.done, row.start + row.done + count)
            row.done += count
            if not row.pending:
                last.append(len(ids) - 1)
        device = self._model.device
        self.slots = torch.tensor(slots, device=device)
        self._masks = {}
        with torch.inference_mode():
            logits = self._model(
                input_ids=torch.tensor([ids], device=device),
                position_ids=torch.tensor([positions], device=device),
                use_cache=False,
                logits_to_keep=torch.tensor(last, dtype=torch.long, device=device),
                rows=self,
            ).logits[0]
        self.lora.end()
        # some architectures do not know logits_to_keep; tokens are chosen on the CPU
        return (logits if len(logits) == len(last) else logits[last]).cpu()

    def mask(self, count: int, seen: int, window: int | None) -> Any:
        """Additive mask of `count` tokens after `seen` ones, shape (count, keys that any of them may see)."""
        import torch

        if (count, seen, window) not in self._masks:
            token = torch.arange(seen, seen + count)[:, None]
            other = torch.arange(first_visible(seen, window), seen + count)
            hidden = other > token if window is None else (other > token) | (token - other >= window)
            mask = torch.zeros(hidden.shape).masked_fill(hidden, float("-inf"))
            self._masks[count, seen, window] = mask.to(self._model.device)
        return self._masks[count, seen, window]


def first_visible(position: int, window: int | None) -> int:
    """The first token that the one at this position may look at."""
    return 0 if window is None else max(0, position - window + 1)


def attend(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    *,
    rows: PackedModel,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    position_bias: Any = None,
    s_aux: Any = None,
    **unused: Any,
) -> tuple[Any, None]:
    """Store the new keys and values, and let each row look at its own: an attention function of transformers.

    The query has shape (1, heads, tokens, size), key and value as many heads or fewer, the answer (1, tokens, heads,
    size).

    Raises:
        NotImplementedError: If the layer attends in a way that is not handled here.
    """
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    window = rows.windows[module.layer_idx]
    if sliding_window != window or position_bias is not None or s_aux is not None or attention_mask is not None:
        raise NotImplementedError(f"attention of {type(module).__name__}")
    keys, values = rows.keys[module.layer_idx], rows.values[module.layer_idx]
    keys.index_copy_(2, rows.slots, key)
    values.index_copy_(2, rows.slots, value)
    heads, groups = keys.shape[1], query.shape[1] // keys.shape[1]
    answers = []
    for first, last, start, seen in rows.spans:
        count = last - first
        visible = slice(start + first_visible(seen, window), start + seen + count)
        asked, key, value = query[:, :, first:last], keys[:, :, visible], values[:, :, visible]
        mask = rows.mask(count, seen, window) if count > 1 else None
        if softcap is not None:
            scores = asked @ key.repeat_interleave(groups, 1).transpose(2, 3) * (scaling or asked.shape[-1] ** -0.5)
            scores = (scores / softcap).tanh() * softcap
            answer = (scores if mask is None else scores + mask).softmax(-1) @ value.repeat_interleave(groups, 1)
        elif mask is None:
            # heads that share keys become queries of one head: twice as fast as enable_gqa for a single token
            asked = asked.reshape(1, heads, groups, -1)
            answer = scaled_dot_product_attention(asked, key, value, scale=scaling)
        else:
            answer = scaled_dot_product_attention(
                asked, key, value, attn_mask=mask, scale=scaling, enable_gqa=groups > 1
            )
        answers.append(answer.reshape(1, heads * groups, count, -1).transpose(1, 2))
    return torch.cat(answers, dim=1), None
