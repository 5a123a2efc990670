"""The endpoint's life: warming, ready, stopping; what belongs together is made here, once."""

import asyncio
import gc
import logging
import time

from prometheus_client import CollectorRegistry

from llm_endpoint.adapters import Adapters, Listeners, parse_adapters, refuse_adapters
from llm_endpoint.answering import Answering
from llm_endpoint.asking import Asking, open_asking
from llm_endpoint.engines.heads.opening import refuse_remote
from llm_endpoint.engines.local import LocalEngine
from llm_endpoint.engines.opening import (
    OpenCore,
    is_chain,
    is_remote,
    open_fallback_engine,
    open_local_engine,
    open_remote_engine,
)
from llm_endpoint.engines.seam import Engine
from llm_endpoint.errors import EndpointError, NotFound, NotReady
from llm_endpoint.feedback import FeedbackStore, RecentAnswers
from llm_endpoint.grounding import ground
from llm_endpoint.heads.batching import HeadEngine
from llm_endpoint.heads.head import Head
from llm_endpoint.heads.opening import open_predicting
from llm_endpoint.heads.predicting import Predicting
from llm_endpoint.metrics import Metrics
from llm_endpoint.schema import HealthBody, TaskBody
from llm_endpoint.served.adapter import AdapterModel, BaseModel
from llm_endpoint.served.encoding import PromptEncoder
from llm_endpoint.served.folder import ServedModel, open_served_model
from llm_endpoint.served.prompt import INSTRUCTION_PROMPT
from llm_endpoint.served.verdict import check_may_stand_in
from llm_endpoint.settings import Settings
from llm_endpoint.shadow import Shadow, ShadowStore
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
        """Answers questions; None until it is warm, and where a model with a head is served."""
        self.predicting: Predicting | None = None
        """Answers for a model with a head, once it is warm."""
        self.adapters: Adapters | None = None
        """On the model, where the settings want some and it is warm."""
        self.listeners = Listeners()
        self._generates = "context_qa"
        self.failure: EndpointError | None = None
        self.stopping = False
        self._engine: Engine | HeadEngine | None = None
        self._shadow: Shadow | None = None
        self.metrics.watch(self.load, self.is_ready)

    async def warm_up(self) -> None:
        """Load the model and answer once; a failure is kept for /healthz and said in the log.

        Raises:
            ModelError: If the model cannot be served.
        """
        started = time.monotonic()
        logger.info("Loading %s", self.settings.model)
        try:
            await self._open()
        except EndpointError as error:
            self.failure = error
            raise
        # what is loaded now stays; looking through it again and again would hold up answers for a tenth of a second
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 10, 10)
        info = self.ready().engine.info
        logger.info(
            "Ready after %.1f s: %s, revision %s, on %s (%s)",
            time.monotonic() - started, info.model, info.revision, info.engine, info.precision,
        )  # fmt: skip

    async def close(self) -> None:
        """Stop the engine, then send the traces that wait."""
        self.stopping = True
        if self._shadow is not None:
            await self._shadow.stop()
        if self._engine is not None:
            await self._engine.stop()
        await asyncio.to_thread(self.telemetry.close, self.settings.flush_seconds)

    def ready(self) -> Answering | Predicting:
        """What answers.

        Raises:
            NotReady: While warming up, or when loading has failed.
        """
        if self.failure is not None:
            raise NotReady(f"the model could not be loaded: {self.failure}")
        found = self.answering or self.predicting
        if found is None:
            raise NotReady("the model is still warming up. Try again in a few seconds.")
        return found

    def ready_answering(self) -> Answering:
        """What answers questions.

        Raises:
            NotReady: While warming up, or when loading has failed.
            NotFound: If the model does not answer questions.
        """
        found = self.ready()
        if isinstance(found, Predicting):
            raise NotFound(
                f"this server answers the task {found.head.task}, no questions: send texts to "
                f"/v1/models/{self.settings.served_model_name}:predict."
            )
        return found

    def find(self, name: str) -> Answering:
        """What answers questions under a name; "" means the model itself.

        Raises:
            NotReady: While warming up, or when loading has failed.
            NotFound: If there is no such name.
        """
        base = self.ready_answering()
        if name in ("", self.settings.served_model_name, base.engine.info.model):
            return base
        found = self.adapters.get(name) if self.adapters else None
        if found is None:
            raise NotFound(f"the model {name[:100]!r} is not served here. {self.say_names()}")
        return found

    def adapter_names(self) -> list[str]:
        """What is served beside the model."""
        return self.adapters.names() if self.adapters else []

    def say_names(self) -> str:
        """All names, for whoever asked for another."""
        return f"Use {' or '.join(repr(name) for name in (self.settings.served_model_name, *self.adapter_names()))}."

    def head(self) -> Head | None:
        """Of the model, if it has one and is warm."""
        return self.predicting.head if self.predicting else None

    def task(self) -> TaskBody:
        """What /task says."""
        found = self.ready()
        info, head = found.engine.info, found.head if isinstance(found, Predicting) else None
        return TaskBody(
            task=head.task if head else self._generates,  # type: ignore[arg-type]
            labels=head.labels if head else [],
            thresholds=head.thresholds if head else None,
            scale=head.scale.model_dump() if head and head.scale else None,
            max_seq_length=info.context_length,
            pair=bool(head and head.pair),
            model=info.model,
            revision=info.revision,
            engine=info.engine,
            adapters=[] if self.adapters is None else self.adapters.describe(),
        )

    def is_ready(self) -> bool:
        """Warm, healthy and not stopping."""
        found = self.answering or self.predicting
        return found is not None and not self.stopping and found.engine.healthy()

    def load(self) -> tuple[int, int]:
        """Requests running and waiting."""
        return self._engine.load() if self._engine is not None else (0, 0)

    def health(self) -> HealthBody:
        """What /healthz says."""
        found = self.answering or self.predicting
        info = found.engine.info if found else None
        task = "" if found is None else found.head.task if isinstance(found, Predicting) else self._generates
        model = info.model if info else self.settings.model
        revision, engine = (info.revision, info.engine) if info else ("", "")
        if self.failure is not None:
            return HealthBody(status="failed", model=model, revision="", engine="", task=task, detail=str(self.failure))
        if self.stopping:
            status, detail = "stopping", "finishes what runs and takes no new requests"
        elif found is None:
            status, detail = "warming", "the model is being loaded"
        elif not found.engine.healthy():
            status, detail = "failed", "the model has stopped answering; restart the server"
        else:
            running, waiting = self.load()
            status, detail = "ready", f"{running} running, {waiting} waiting"
        return HealthBody(
            status=status,  # type: ignore[arg-type]
            model=model,
            revision=revision,
            engine=engine,
            task=task,
            detail=detail,
        )

    async def _open(self) -> None:
        settings = self.settings
        chain = is_chain(settings)
        if is_remote(settings):
            refuse_remote(settings)
            refuse_adapters(settings, "another server answers (OPENAI_BASE_URL). Load them there.")
            await self._open_service()
            return
        served = await asyncio.to_thread(open_served_model, settings)
        if settings.stand_in is not None:
            refuse_adapters(settings, "STAND_IN is set. Serve the adapters alone.")
        if settings.stand_in == "local":
            check_may_stand_in(served)
        if served.head is None:
            await self._open_answering(served, chain)
            return
        refuse_adapters(settings, "the model has a head. Adapters are served on models that write text.")
        predicting = open_predicting(settings, served, served.head, self.telemetry, self.metrics)
        self._engine = predicting.engine
        await predicting.start()
        self.predicting = predicting

    async def _open_service(self) -> None:
        settings = self.settings
        # its first call reads tables that no user should wait for
        ground("a", "a", "a")
        self._engine = remote = open_remote_engine(settings)
        await remote.start()
        self.answering = self._answering_of(remote, open_asking(settings, INSTRUCTION_PROMPT, str, None))

    async def _open_answering(self, served: ServedModel, chain: bool) -> None:
        settings = self.settings
        ground("a", "a", "a")
        if served.base_folder is not None:
            refuse_adapters(settings, "MODEL is an adapter itself. Set MODEL to its base and name it in ADAPTERS.")
        if not served.info:
            logger.warning("%s brings no prompt.json: the standard context-QA prompt is used", served.name)
        encoder = await asyncio.to_thread(PromptEncoder, served.folder, served.prompt.chat_template)
        engine = open_local_engine(settings, served, encoder, self._open_core)
        self._generates = served.info.get("task", "context_qa")
        asking = open_asking(settings, served.prompt, encoder.shield, served.repetition_penalty)
        if chain:
            await self._open_chain(engine, asking)
            return
        self._engine = engine
        await engine.start()
        answering = self._answering_of(engine, asking)
        if settings.wants_adapters:
            await self._open_adapters(BaseModel(served, encoder, settings.model), engine)
        self.answering = answering

    async def _open_chain(self, local: LocalEngine, asking: Asking) -> None:
        """The service and the local model, one standing in for the other."""
        settings = self.settings
        self._engine = chain = open_fallback_engine(settings, local, self.metrics.count_fallback)
        self.metrics.watch_breaker(chain.breaker.state)
        await chain.start()
        if settings.shadow_sample:
            store = ShadowStore(settings.shadow_file, settings.shadow_max_bytes)
            count = self.metrics.count_shadow
            self._shadow = Shadow(local, store, settings.shadow_sample, settings.shadow_queue, count)
            self._shadow.start()
        sides = (open_asking(settings, INSTRUCTION_PROMPT, str, None), asking)
        first, other = sides if settings.stand_in == "local" else sides[::-1]
        self.answering = self._answering_of(chain, first, other)

    async def _open_adapters(self, base: BaseModel, engine: LocalEngine) -> None:
        def make(own: Engine, model: AdapterModel) -> Answering:
            shield = model.variant.encoder.shield
            return self._answering_of(own, open_asking(settings, model.prompt, shield, model.served.repetition_penalty))

        settings = self.settings
        reserved = {settings.served_model_name, engine.info.model}
        adapters = Adapters(settings, base, engine, make, reserved, self.metrics, self.listeners)
        # a load over HTTP is not to wait for it
        await asyncio.to_thread(lambda: base.weights_sha256)
        for name, folder in parse_adapters(settings.adapters).items():
            await adapters.load(name, folder.resolve())
        self.adapters = adapters

    def _answering_of(self, engine: Engine, asking: Asking, stand_in: Asking | None = None) -> Answering:
        return Answering(
            engine, asking, self.settings.request_timeout_seconds, self.telemetry, self.metrics, self.recent,
            stand_in, self._shadow,
        )  # fmt: skip
