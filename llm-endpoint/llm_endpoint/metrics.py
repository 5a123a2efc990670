"""What an operator watches at /metrics."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_BATCH_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters, gauges and histograms of one endpoint, in one registry.

    Labels never hold text of a request.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "llm_requests", "Requests by route and HTTP status.", ["route", "status"], registry=registry
        )
        self.latency = Histogram(
            "llm_request_seconds", "From arrival to the last byte.", ["route"], buckets=_SECONDS, registry=registry
        )
        self.first_token = Histogram(
            "llm_time_to_first_token_seconds", "From arrival to the first token.", buckets=_SECONDS, registry=registry
        )
        self.tokens = Counter(
            "llm_tokens", "Tokens by kind: prompt, cached (of the prompt), completion.", ["kind"], registry=registry
        )
        self.answers = Counter(
            "llm_answers",
            "Context answers by what the evidence says: supported, not_in_context.",
            ["evidence"],
            registry=registry,
        )
        self.model_answers = Counter(
            "llm_model_answers", "Answers by adapter; `base` is the model as it is.", ["adapter"], registry=registry
        )
        self.adapter_changes = Counter(
            "llm_adapter_changes", "Adapters by what became of them: loaded, refused, dropped.", ["event"],
            registry=registry,
        )  # fmt: skip
        self.rows = Counter("llm_rows", "Rows that a model with a head has answered.", registry=registry)
        self.batch_rows = Histogram(
            "llm_batch_rows", "Inputs of the model that shared a batch.", buckets=_BATCH_ROWS, registry=registry
        )
        self.errors = Counter("llm_errors", "Failed requests by kind of error.", ["kind"], registry=registry)
        self.telemetry = Counter(
            "llm_telemetry_items", "Traces and feedback by what became of them.", ["event", "reason"], registry=registry
        )
        self._running = Gauge("llm_requests_running", "Requests that are being generated.", registry=registry)
        self._waiting = Gauge("llm_requests_waiting", "Requests in the queue.", registry=registry)
        self._ready = Gauge("llm_ready", "1 when warm and taking requests.", registry=registry)

    def watch(self, load: Callable[[], tuple[int, int]], ready: Callable[[], bool]) -> None:
        """Read the gauges from the engine whenever they are scraped."""
        self._running.set_function(lambda: load()[0])
        self._waiting.set_function(lambda: load()[1])
        self._ready.set_function(lambda: float(ready()))

    def count_telemetry(self, event: str, reason: str, number: int) -> None:
        """What the telemetry reports: sent, or lost and why."""
        self.telemetry.labels(event, reason).inc(number)
