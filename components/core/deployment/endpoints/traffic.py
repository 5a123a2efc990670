"""How much of the traffic a deployment gets: read, checked, and split evenly."""

import secrets
from collections.abc import Collection, Mapping, Sequence

from components.core.errors import ConfigError

WHOLE = 100
_TURN = 0x9E3779B97F4A7C15
"""2^64 divided by the golden ratio."""
_RANGE = 1 << 64


def parse_traffic(words: Sequence[str]) -> dict[str, int]:
    """Read `demo=90 candidate=10`.

    Raises:
        ConfigError: If a word is not NAME=PERCENT, or a name stands twice.
    """
    shares: dict[str, int] = {}
    for word in words:
        name, equals, percent = word.partition("=")
        if not (name and equals and percent.isascii() and percent.isdigit()):
            raise ConfigError(f"{word!r} is no share of the traffic. Write NAME=PERCENT with a whole number: demo=90")
        if name in shares:
            raise ConfigError(f"{name} stands twice. Give each deployment one share.")
        shares[name] = int(percent)
    return shares


def check_traffic(shares: Mapping[str, int], deployments: Collection[str]) -> None:
    """Raise if shares cannot be the traffic of these deployments.

    Raises:
        ConfigError: If a name is not there, a share is not from 0 to 100, or they do not sum to 100.
    """
    unknown = [name for name in shares if name not in deployments]
    if unknown:
        there = ", ".join(deployments) or "none"
        raise ConfigError(f"there is no deployment {', '.join(unknown)} (there are: {there}). Deploy it first.")
    wrong = [f"{name}={percent}" for name, percent in shares.items() if not 0 <= percent <= WHOLE]
    if wrong:
        raise ConfigError(f"a share of the traffic is a whole number from 0 to 100, not {', '.join(wrong)}.")
    total = sum(shares.values())
    if total != WHOLE:
        written = " + ".join(str(percent) for percent in shares.values()) or "nothing"
        raise ConfigError(f"the traffic must sum to 100, and {written} is {total}. Change the shares.")


def with_share(shares: Mapping[str, int], name: str, percent: int) -> dict[str, int]:
    """Give one deployment a share and the others the rest, in the proportion that they have.

    Raises:
        ConfigError: If no other deployment has traffic to give or take.
    """
    others = {other: share for other, share in shares.items() if other != name and share > 0}
    whole, rest = sum(others.values()), WHOLE - percent
    if not others:
        raise ConfigError(f"{name} has all of the traffic: there is no other deployment to share it with.")
    given = {other: rest * share // whole for other, share in others.items()}
    # what rounding left over goes to those that lost most by it
    by_loss = sorted(others, key=lambda other: (-(rest * others[other] % whole), other))
    for other in by_loss[: rest - sum(given.values())]:
        given[other] += 1
    return {each: share for each, share in {**given, name: percent}.items() if share > 0}


class Split:
    """Chooses a deployment for each request so that any stretch of requests is close to the shares.

    Steps of the golden ratio around a circle: 1,000 requests lie within a few of their share, and callers who take
    turns, such as every second one asking something hard, are spread evenly too, which counting by turns would not do.

    Args:
        start: Where on the circle to begin, 0 to 2^64 - 1; at random when left out.
    """

    def __init__(self, start: int | None = None) -> None:
        self._place = secrets.randbelow(_RANGE) if start is None else start

    def choose(self, shares: Mapping[str, int]) -> str | None:
        """The deployment for the next request; none where nobody gets traffic."""
        whole = sum(shares.values())
        if whole <= 0:
            return None
        self._place = (self._place + _TURN) % _RANGE
        mark, passed = self._place * whole, 0
        for name, percent in shares.items():
            passed += percent
            if mark < passed * _RANGE:
                return name
        return None
