"""The endpoint's life: warming, ready, stopping; what belongs together is made here, once."""

import asyncio
import gc
import logging
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from llm_endpoint.answering import Answering
from llm_endpoint.engines.opening import OpenCore, is_remote, open_local_engine, open_remote_engine
from llm_endpoint.engines.seam import Engine, Sampling
from llm_endpoint.errors import EndpointError, NotReady
from llm_endpoint.feedback import FeedbackStore, RecentAnswers
from llm_endpoint.grounding import ground
from llm_endpoint.metrics import Metrics
from llm_endpoint.schema import HealthBody
from llm_endpoint.served.encoding import PromptEncoder
from llm_endpoint.served.folder import open_served_model
from llm_endpoint.served.prompt import INSTRUCTION_PROMPT
from llm_endpoint.settings import Settings
from llm_endpoint.telemetry.telemetry import open_telemetry

logger = logging.getLogger(__name__)


class Service:
    """One served model with its telemetry and metrics.

    Args:
        settings: Of this process.
        registry: Where the metrics are registered.
        open_core: Opened instead of the core that the settings name.
    """

    def __init__(self, settings: Settings, registry: CollectorRegistry, open_core: OpenCore | None = None) -> None:
        self.settings = settings
        self._open_core = open_core
        self.metrics = Metrics(registry)
        self.telemetry = open_telemetry(settings, self.metrics.count_telemetry)
        self.recent = RecentAnswers()
        self.store = FeedbackStore(settings.feedback_file or settings.whetstone_home / "feedback.jsonl")
        self.answering: Answering | None = None
        self.failure: EndpointError | None = None
        self.stopping = False
        self._engine: Engine | None = None
        self.metrics.watch(self.load, self.is_ready)

    async def warm_up(self) -> None:
        """Load the model and answer once; a failure is kept for /healthz and said in the log.

        Raises:
            ModelError: If the model cannot be served.
        """
        started = time.monotonic()
        logger.info("Loading %s", self.settings.model)
        try:
            self.answering = await self._open()
        except EndpointError as error:
            self.failure = error
            raise
        # what is loaded now stays; looking through it again and again would hold up answers for a tenth of a second
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 10, 10)
        info = self.answering.engine.info
        logger.info(
            "Ready after %.1f s: %s, revision %s, on %s (%s)",
            time.monotonic() - started, info.model, info.revision, info.engine, info.precision,
        )  # fmt: skip

    async def close(self) -> None:
        """Stop the engine, then send the traces that wait."""
        self.stopping = True
        if self._engine is not None:
            await self._engine.stop()
        await asyncio.to_thread(self.telemetry.close, self.settings.flush_seconds)

    def ready_answering(self) -> Answering:
        """What the routes answer with.

        Raises:
            NotReady: While warming up, or when loading has failed.
        """
        if self.failure is not None:
            raise NotReady(f"the model could not be loaded: {self.failure}")
        if self.answering is None:
            raise NotReady("the model is still warming up. Try again in a few seconds.")
        return self.answering

    def is_ready(self) -> bool:
        """Warm, healthy and not stopping."""
        return self.answering is not None and not self.stopping and self.answering.engine.healthy()

    def load(self) -> tuple[int, int]:
        """Requests running and waiting."""
        return self._engine.load() if self._engine is not None else (0, 0)

    def health(self) -> HealthBody:
        """What /healthz says."""
        info = self.answering.engine.info if self.answering else None
        model = info.model if info else self.settings.model
        revision, engine = (info.revision, info.engine) if info else ("", "")
        if self.failure is not None:
            return HealthBody(status="failed", model=model, revision="", engine="", detail=str(self.failure))
        if self.stopping:
            status, detail = "stopping", "finishes what runs and takes no new requests"
        elif self.answering is None:
            status, detail = "warming", "the model is being loaded"
        elif not self.answering.engine.healthy():
            status, detail = "failed", "the model has stopped answering; restart the server"
        else:
            running, waiting = self.load()
            status, detail = "ready", f"{running} running, {waiting} waiting"
        return HealthBody(status=status, model=model, revision=revision, engine=engine, detail=detail)  # type: ignore[arg-type]

    async def _open(self) -> Answering:
        settings = self.settings
        engine: Engine
        if is_remote(settings):
            engine, prompt, has_chat = open_remote_engine(settings), INSTRUCTION_PROMPT, True
            shield: Callable[[str], str] = str
            penalty = settings.repetition_penalty
        else:
            served = await asyncio.to_thread(open_served_model, settings)
            if not served.info:
                logger.warning("%s brings no prompt.json: the standard context-QA prompt is used", served.name)
            encoder = await asyncio.to_thread(PromptEncoder, served.folder, served.prompt.chat_template)
            engine = open_local_engine(settings, served, encoder, self._open_core)
            prompt, has_chat, shield = served.prompt, served.prompt.chat_template, encoder.shield
            penalty = settings.repetition_penalty
            if served.repetition_penalty is not None and "repetition_penalty" not in settings.model_fields_set:
                penalty = served.repetition_penalty
        self._engine = engine
        await engine.start()
        # its first call reads tables that no user should wait for
        ground("a", "a", "a")
        defaults = Sampling(
            max_new_tokens=settings.max_new_tokens,
            do_sample=settings.do_sample,
            temperature=settings.temperature,
            top_p=settings.top_p,
            repetition_penalty=penalty,
        )
        return Answering(
            engine, prompt, has_chat, shield, defaults, settings.request_timeout_seconds,
            self.telemetry, self.metrics, self.recent,
        )  # fmt: skip
