"""The longest common runs of two strings, in time linear in both: a repetitive context must not cost more."""


class _Substrings:
    """Suffix automaton of a string: recognises its substrings letter by letter.

    Each state stands for substrings that end at the same places; the longest has `length` letters, and `shorter` is the
    state of its longest suffix that ends at more places.
    """

    def __init__(self, text: str) -> None:
        self.length, self.shorter = [0], [-1]
        self.following: list[dict[str, int]] = [{}]
        self.prefixes: list[int] = []
        """State of the string's first 1, 2, ... letters."""
        last = 0
        for letter in text:
            last = self._extend(last, letter)
            self.prefixes.append(last)

    def _add(self, length: int, shorter: int, following: dict[str, int]) -> int:
        self.length.append(length)
        self.shorter.append(shorter)
        self.following.append(following)
        return len(self.length) - 1

    def _extend(self, last: int, letter: str) -> int:
        new = self._add(self.length[last] + 1, 0, {})
        state = last
        while state >= 0 and letter not in self.following[state]:
            self.following[state][letter] = new
            state = self.shorter[state]
        if state < 0:
            return new
        target = self.following[state][letter]
        if self.length[target] != self.length[state] + 1:
            copy = self._add(self.length[state] + 1, self.shorter[target], dict(self.following[target]))
            self.shorter[target] = copy
            old, target = target, copy
            while state >= 0 and self.following[state].get(letter) == old:
                self.following[state][letter] = copy
                state = self.shorter[state]
        self.shorter[new] = target
        return new

    def longest_in(self, text: str) -> list[int]:
        """For each state, the letters of its longest substring that occurs in a text; 0 if none does."""
        longest = [0] * len(self.length)
        for stretch in text.split("\0"):
            state = matched = 0
            for letter in stretch:
                while state and letter not in self.following[state]:
                    state = self.shorter[state]
                    matched = self.length[state]
                state = self.following[state].get(letter, 0)
                matched = matched + 1 if state else 0
                if matched > longest[state]:
                    longest[state] = matched
        for state in sorted(range(1, len(longest)), key=lambda state: -self.length[state]):
            if longest[state]:
                longest[self.shorter[state]] = self.length[self.shorter[state]]
        return longest


def maximal_runs(wanted: str, text: str) -> list[tuple[int, int]]:
    """Start and end of each run of `wanted` that occurs in `text` and is part of no longer one; NUL is never part."""
    substrings = _Substrings(wanted)
    longest = substrings.longest_in(text)
    runs: list[tuple[int, int]] = []
    for end, state in enumerate(substrings.prefixes, start=1):
        while state > 0 and not longest[state]:
            state = substrings.shorter[state]
        start = end - min(longest[state], substrings.length[state])
        if start < end:
            if runs and runs[-1][0] == start:
                runs.pop()
            runs.append((start, end))
    return runs
