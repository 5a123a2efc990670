"""Which tokens of the key/value memory belong to whom: rows that run, and rows kept for their prefix."""

from llm_endpoint.engines.continuous.rows import Row

SHORTEST_PREFIX = 16
"""Tokens; copying fewer is not worth it."""
MOST_KEPT = 64
"""Rows; finding the longest prefix looks at each."""


class TokenMemory:
    """Hands out stretches of a fixed number of tokens."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self._running: list[Row] = []
        self._kept: list[Row] = []

    def place(self, row: Row) -> bool:
        """Find a stretch for `row.need` tokens; kept rows make room, the least recently used first.

        Returns:
            False if it must wait until other rows end.
        """
        self._kept = [old for old in self._kept if not _is_dropped(old)]
        if self._gap(row.need, []) is None:
            return False
        source, _ = self._longest_prefix(row)
        if source in self._kept:
            self._kept.remove(source)
            self._kept.append(source)
        while (start := self._gap(row.need, self._kept)) is None:
            self._kept.pop(0)
        row.start = start
        self._running.append(row)
        return True

    def share(self, row: Row) -> tuple[int, int, int] | None:
        """Find tokens of this row that another row has seen.

        Returns:
            Where they lie, where they are to be copied, and how many; None where nothing is worth a copy.
        """
        source, common = self._longest_prefix(row)
        if source is None:
            return None
        copied = common - row.done
        places = source.start + row.done, row.start + row.done, copied
        row.done, row.cached = common, row.cached + copied
        return places

    def release(self, row: Row) -> None:
        """End a row; what the model has seen of it is kept until the space is needed."""
        self._running.remove(row)
        if row.done < SHORTEST_PREFIX or _is_dropped(row):
            return
        # one that mostly repeats this row would only take space
        self._kept = [
            old
            for old in self._kept
            if old.adapter is not row.adapter or min(_common_prefix(row.ids, old.ids), row.done) * 2 < old.done
        ][-MOST_KEPT + 1 :]
        self._kept.append(row)

    def _longest_prefix(self, row: Row) -> tuple[Row | None, int]:
        source, longest = None, row.done + SHORTEST_PREFIX - 1
        for other in (*self._running, *self._kept):
            if other.adapter is not row.adapter:
                continue  # the same text has other keys and values with another adapter
            # the last token of the prompt is always computed: its logits are the first answer
            common = min(_common_prefix(row.ids, other.ids), other.done, len(row.ids) - 1)
            if common > longest and other is not row:
                source, longest = other, common
        return source, longest

    def _gap(self, length: int, kept: list[Row]) -> int | None:
        taken = [(row.start, row.start + row.need) for row in self._running]
        taken += [(row.start, row.start + row.done) for row in kept]
        free = 0
        for start, end in sorted(taken):
            if start - free >= length:
                return free
            free = end
        return free if self.tokens - free >= length else None


def _is_dropped(row: Row) -> bool:
    return row.adapter is not None and row.adapter.dropped


def _common_prefix(left: list[int], right: list[int]) -> int:
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
