"""One request from rows to predictions: encode, model, read_out, with its trace and its numbers."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from langchain_core.runnables import Runnable, RunnableLambda

from llm_endpoint.errors import EndpointError, GenerationError, ModelError, RequestTimeout
from llm_endpoint.heads.batching import HeadEngine
from llm_endpoint.heads.encoding import Encoded, InputEncoder
from llm_endpoint.heads.head import Head
from llm_endpoint.heads.read_out import Prediction, read_out
from llm_endpoint.heads.rows import Row, read_row
from llm_endpoint.metrics import Metrics
from llm_endpoint.telemetry.telemetry import RequestTrace, Telemetry

logger = logging.getLogger(__name__)

_LONG_TEXT = 20_000
"""Characters of a request from which its tokens and words are made in a thread."""


@dataclass
class Predicted:
    """A finished request."""

    predictions: list[Prediction]
    trace_id: UUID


@dataclass
class _Work:
    """What is known of a request on its way."""

    rows: Sequence[Row]
    long: bool
    encoded: Encoded = field(default_factory=lambda: Encoded([], []))
    outputs: list[Any] = field(default_factory=list)
    predictions: list[Prediction] = field(default_factory=list)


class Predicting:
    """Answers requests with one engine.

    Args:
        engine: Started.
        encoder: Of its model.
        head: Of its model.
        timeout_seconds: Longest time of a request.
    """

    def __init__(
        self,
        engine: HeadEngine,
        encoder: InputEncoder,
        head: Head,
        timeout_seconds: float,
        telemetry: Telemetry,
        metrics: Metrics,
    ) -> None:
        self.engine, self.head = engine, head
        self._encoder, self._timeout_seconds = encoder, timeout_seconds
        self._telemetry, self._metrics = telemetry, metrics

    async def start(self) -> None:
        """Load the model and answer one row (warm-up).

        Raises:
            ModelError: If it cannot be served.
        """
        await self.engine.start()
        rows = [read_row({"text": "a warm-up"}, self.head, "warm-up")]
        try:
            encoded = self._encoder.encode(rows)
            read_out(await self.engine.run(encoded.pieces), encoded, rows, self.head)
        except EndpointError as error:
            raise ModelError(f"the model was loaded but does not answer: {error}") from error

    async def predict(self, rows: Sequence[Row], protocol: str) -> Predicted:
        """Predictions in the order of the rows.

        Raises:
            EndpointError: TooManyRequests, RequestTimeout and their like.
        """
        info = self.engine.info
        trace = self._telemetry.start(None, {"protocol": protocol, **info.trace_facts()})
        error = "the caller left"
        encoded: Encoded | None = None
        started = time.monotonic()
        try:
            with self.engine.place():
                async with asyncio.timeout(self._timeout_seconds):
                    work = await self._answer(rows, trace)
            encoded, error = work.encoded, ""
            self._metrics.rows.inc(len(rows))
            return Predicted(work.predictions, trace.trace_id)
        except TimeoutError as problem:
            late = RequestTimeout(f"the answer took longer than {self._timeout_seconds:.0f} s. Send fewer rows.")
            error = self._count(late)
            raise late from problem
        except EndpointError as problem:
            error = self._count(problem)
            raise
        except Exception as problem:
            error = f"internal error: {type(problem).__name__}"
            self._metrics.errors.labels("internal").inc()
            logger.exception("request %s failed", trace.trace_id)
            raise GenerationError(f"the answer failed inside the server (request {trace.trace_id}).") from problem
        finally:
            trace.finish(error or None, _facts(rows, encoded, time.monotonic() - started))

    def _count(self, problem: EndpointError) -> str:
        self._metrics.errors.labels(type(problem).__name__).inc()
        return f"{type(problem).__name__}: {problem}"

    async def _answer(self, rows: Sequence[Row], trace: RequestTrace) -> _Work:
        long = sum(len(row.text) for row in rows) > _LONG_TEXT
        work = _Work(rows, long)
        if not trace.callbacks:
            # nobody looks at the steps, and a chain costs as much as a small model
            await self._encode(work)
            await self._model(work)
            await self._read_out(work)
            return work
        config: Any = {"run_id": trace.trace_id, "callbacks": trace.callbacks, "run_name": self.head.task}
        await self._chain(work).ainvoke({"rows": [row.inputs() for row in rows]}, config)
        return work

    def _chain(self, work: _Work) -> Runnable[Any, Any]:
        """The same steps as a LangChain sequence: plain values go in and out, so that a trace can show them."""

        async def encode(_: Any) -> dict[str, Any]:
            await self._encode(work)
            tokens = [len(piece.input_ids) for piece in work.encoded.pieces]
            return {"tokens": tokens, "cut": work.encoded.cut}

        async def model(_: Any) -> dict[str, Any]:
            await self._model(work)
            return {"inputs": len(work.outputs)}

        async def read(_: Any) -> dict[str, Any]:
            await self._read_out(work)
            return {"predictions": work.predictions}

        return (
            RunnableLambda(encode, name="encode")
            | RunnableLambda(model, name="model")
            | RunnableLambda(read, name="read_out")
        )

    async def _encode(self, work: _Work) -> None:
        # the event loop answers others meanwhile
        encode = self._encoder.encode
        work.encoded = await asyncio.to_thread(encode, work.rows) if work.long else encode(work.rows)

    async def _model(self, work: _Work) -> None:
        work.outputs = await self.engine.run(work.encoded.pieces)

    async def _read_out(self, work: _Work) -> None:
        given = (work.outputs, work.encoded, work.rows, self.head)
        work.predictions = await asyncio.to_thread(read_out, *given) if work.long else read_out(*given)


def _facts(rows: Sequence[Row], encoded: Encoded | None, seconds: float) -> dict[str, Any]:
    facts: dict[str, Any] = {"rows": len(rows), "latency_seconds": round(seconds, 6)}
    if encoded is not None:
        facts |= {"inputs": len(encoded.pieces), "cut": sum(encoded.cut)}
        facts["prompt_tokens"] = sum(len(piece.input_ids) for piece in encoded.pieces)
    return facts
