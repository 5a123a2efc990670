"""What an operator watches at /metrics."""

from collections.abc import Callable, Sequence
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from llm_endpoint.engines.seam import EngineInfo, Usage

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
        self.source_answers = Counter(
            "llm_source_answers",
            "Answers by who gave them (service, local; service,local: continued after a cut) and why a stand-in did.",
            ["source", "fallback"],
            registry=registry,
        )
        self.source_tokens = Counter(
            "llm_source_tokens", "Tokens of answers by source and kind: prompt, cached, completion.",
            ["source", "kind"], registry=registry,
        )  # fmt: skip
        self.primary_calls = Counter(
            "llm_primary_calls", "Calls to the primary by outcome.", ["outcome"], registry=registry
        )
        self.hedges = Counter(
            "llm_hedges", "Answers that both began, by who was first: primary, stand_in.", ["winner"], registry=registry
        )
        self.handovers = Counter(
            "llm_handovers", "Answers that broke off and were given by the stand-in.", ["reason"], registry=registry
        )
        self.shadow = Counter(
            "llm_shadow", "Prompts for the local model in the shadow, by what became of them.", ["event"],
            registry=registry,
        )  # fmt: skip
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
        self._registry = registry
        self._running = Gauge("llm_requests_running", "Requests that are being generated.", registry=registry)
        self._waiting = Gauge("llm_requests_waiting", "Requests in the queue.", registry=registry)
        self._ready = Gauge("llm_ready", "1 when warm and taking requests.", registry=registry)

    def watch(self, load: Callable[[], tuple[int, int]], ready: Callable[[], bool]) -> None:
        """Read the gauges from the engine whenever they are scraped."""
        self._running.set_function(lambda: load()[0])
        self._waiting.set_function(lambda: load()[1])
        self._ready.set_function(lambda: float(ready()))

    def watch_breaker(self, state: Callable[[], str]) -> None:
        """Show the state of the primary's breaker."""
        gauge = Gauge(
            "llm_primary_breaker", "1 for the state that it is in: closed, open, half_open.", ["state"],
            registry=self._registry,
        )  # fmt: skip
        for name in ("closed", "open", "half_open"):
            gauge.labels(name).set_function(partial(lambda name: float(state() == name), name))

    def note_answer(
        self, adapter: str, source: str, fallback: str, shares: Sequence[tuple[EngineInfo, Usage]], first: float | None
    ) -> None:
        """Count an answer with the tokens of each model whose words are in it."""
        self.model_answers.labels(adapter).inc()
        self.source_answers.labels(source, fallback or "none").inc()
        for info, usage in shares:
            counts = ("prompt", usage.prompt_tokens), ("cached", usage.cached_tokens)
            for kind, number in (*counts, ("completion", usage.completion_tokens)):
                self.tokens.labels(kind).inc(number)
                self.source_tokens.labels(info.source, kind).inc(number)
        if first is not None:
            self.first_token.observe(first)

    def count_fallback(self, kind: str, what: str) -> None:
        """What a chain of two engines reports: call, hedge, handover."""
        {"call": self.primary_calls, "hedge": self.hedges, "handover": self.handovers}[kind].labels(what).inc()

    def count_shadow(self, event: str) -> None:
        """What became of a prompt in the shadow."""
        self.shadow.labels(event).inc()

    def count_telemetry(self, event: str, reason: str, number: int) -> None:
        """What the telemetry reports: sent, or lost and why."""
        self.telemetry.labels(event, reason).inc(number)
