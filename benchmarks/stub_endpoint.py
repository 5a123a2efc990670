"""The real endpoint around a core that computes nothing: what remains is the serving layer.

    python -m benchmarks.stub_endpoint --tokens N --pace SECONDS

Everything else comes from the endpoint's own environment variables. The core emits the first token of a request at once
and one more every `pace` seconds, so that what the layer adds can be seen.
"""

import argparse
import logging
import sys
import time
from collections.abc import Sequence

from llm_endpoint.engines.seam import CoreStep, Sampling

from benchmarks.fixed_answer import OWN_SECONDS, answer_ids

_LONGEST_WAIT_SECONDS = 0.0003
"""A core is not told of arrivals while it waits, so it looks up as often as this."""


class PacedCore:
    """Says the same answer to everybody.

    Args:
        answer: Token ids.
        pace_seconds: Between two tokens of a request.
    """

    name, precision = "paced", "none"
    context_length, max_running = 8192, 1024

    def __init__(self, answer: Sequence[int], pace_seconds: float) -> None:
        self._answer, self._pace = tuple(answer), pace_seconds
        self._running: dict[int, tuple[float, int]] = {}
        """When the next token is due, and how many have been said."""
        self.own_seconds = 0.0
        """Processor time of looking whether it is time: no part of the layer."""
        self._looked_at: float | None = None
        """Thread time after a step that brought nothing; what follows it is only the way to the next look."""

    def add(self, key: int, prompt_ids: Sequence[int], sampling: Sampling, stop_ids: frozenset[int]) -> None:
        """Take a request; its first token is due now."""
        self._running[key] = (time.monotonic(), 0)

    def step(self) -> list[CoreStep]:
        """One token for each request for which it is time."""
        now = time.thread_time()
        began = now if self._looked_at is None else self._looked_at
        steps = self._steps() if self._running else []
        ended = time.thread_time()
        self._looked_at = None if steps else ended
        self.own_seconds += ended - began
        return steps

    def _steps(self) -> list[CoreStep]:
        left = min(due for due, _ in self._running.values()) - time.monotonic()
        if left > 0:
            time.sleep(min(left, _LONGEST_WAIT_SECONDS))
        now = time.monotonic()
        steps = []
        for key, (due, said) in list(self._running.items()):
            if due > now:
                continue
            done = said + 1 == len(self._answer)
            steps.append(CoreStep(key, self._answer[said : said + 1], "stop" if done else None, None if said else 0))
            if done:
                del self._running[key]
            else:
                self._running[key] = (due + self._pace, said + 1)
        return steps

    def cancel(self, key: int) -> None:
        """Forget a request."""
        self._running.pop(key, None)

    def close(self) -> None:
        """Nothing is held."""


def main() -> int:
    """Serve as `python -m llm_endpoint` does, with the core above."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--pace", type=float, required=True)
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stdout)
    from llm_endpoint.settings import load_settings
    from llm_endpoint.telemetry.ambient import disable_ambient_tracing

    settings = load_settings()
    disable_ambient_tracing()
    from llm_endpoint.server import serve
    from prometheus_client import REGISTRY, Gauge

    core = PacedCore(answer_ids(given.tokens), given.pace)
    Gauge(OWN_SECONDS, "Processor seconds of the stub core itself.", registry=REGISTRY).set_function(
        lambda: core.own_seconds
    )
    return serve(settings, open_core=lambda: core)


if __name__ == "__main__":
    sys.exit(main())
