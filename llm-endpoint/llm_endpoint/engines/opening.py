"""Which engine serves a model, decided once at start."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from llm_endpoint.breaker import Breaker
from llm_endpoint.engines.fallback import FallbackEngine
from llm_endpoint.engines.local import LocalEngine
from llm_endpoint.engines.openvino.core import usable_cores
from llm_endpoint.engines.seam import Core, Engine, EngineInfo
from llm_endpoint.errors import EndpointError, ModelError
from llm_endpoint.served.encoding import PromptEncoder
from llm_endpoint.served.folder import ADAPTER_CONFIG, ServedModel, open_served_model
from llm_endpoint.served.quantization import check_int8_passed
from llm_endpoint.settings import Settings

logger = logging.getLogger(__name__)

OpenCore = Callable[[], Core]


def is_remote(settings: Settings) -> bool:
    """Whether an OpenAI-compatible server answers, and no model on this machine."""
    if settings.always_local or settings.stand_in is not None:
        return False
    return settings.engine == "openai" or (settings.engine == "auto" and bool(settings.openai_base_url))


def is_chain(settings: Settings) -> bool:
    """Whether a service and a local model answer together.

    Raises:
        ModelError: If the settings contradict each other.
    """
    if settings.engine == "openai" and (settings.always_local or settings.stand_in is not None):
        wish = "ALWAYS_LOCAL" if settings.always_local else "STAND_IN"
        raise ModelError(f"{wish} is set, but ENGINE is openai, which has no local model. Unset ENGINE.")
    if settings.stand_in is not None and not settings.always_local and settings.openai_base_url is None:
        raise ModelError("STAND_IN is set, but OPENAI_BASE_URL is not. Set it to the service's /v1 address.")
    if settings.shadow_sample and settings.stand_in != "local":
        raise ModelError(
            "SHADOW_SAMPLE is set, but no service answers with a local model beside it. Set STAND_IN=local."
        )
    if settings.shadow_sample and not settings.shadow_consent:
        raise ModelError(
            "SHADOW_SAMPLE is set, but SHADOW_CONSENT is not: it keeps callers' prompts and answers. Set "
            "SHADOW_CONSENT=true if they agreed, or unset SHADOW_SAMPLE."
        )
    return settings.stand_in is not None and not settings.always_local


def open_fallback_engine(settings: Settings, local: LocalEngine, count: Callable[[str, str], None]) -> FallbackEngine:
    """Service and local model as one engine.

    Args:
        settings: Who stands in for whom, and the limits.
        local: Not started.
        count: Hears of events.
    """
    service = open_remote_engine(settings, backed=True)
    primary, stand_in = (service, local) if settings.stand_in == "local" else (local, service)
    seconds = settings.breaker_seconds
    breaker = Breaker(settings.breaker_failures, seconds, longest_seconds=3 * seconds)
    return FallbackEngine(primary, stand_in, breaker, settings.first_token_seconds, settings.stall_seconds, count)


def open_remote_engine(settings: Settings, backed: bool = False) -> Engine:
    """The engine for an OpenAI-compatible server.

    Args:
        settings: Its address and the limits.
        backed: Another engine stands in for it.

    Raises:
        ModelError: Without OPENAI_BASE_URL.
    """
    from llm_endpoint.engines.remote import RemoteEngine

    if settings.openai_base_url is None:
        raise ModelError("ENGINE is openai, but OPENAI_BASE_URL is not set. Set it to the server's /v1 address.")
    return RemoteEngine(
        base_url=settings.openai_base_url,
        api_key=settings.openai_api_key,
        model=settings.openai_model,
        timeout_seconds=settings.request_timeout_seconds,
        max_running=settings.max_running,
        max_queue=settings.max_queue,
        backed=backed,
    )


def open_local_engine(
    settings: Settings, served: ServedModel, encoder: PromptEncoder, open_core: OpenCore | None = None
) -> LocalEngine:
    """The engine for a model on this machine; the model itself is loaded by its `start`.

    Args:
        settings: Which core, and its limits.
        served: The model folder.
        encoder: Of that folder.
        open_core: Opened instead of what the settings say.
    """

    def describe(core: Core) -> EngineInfo:
        facts = (core.name, served.name, served.revision, core.context_length, core.precision)
        return EngineInfo(*facts, content_sha256=served.content_sha256)

    opener = open_core or _core_opener(settings, served)
    return LocalEngine(opener, encoder, describe, served.one_line, settings.max_queue)


def open_ahead(settings: Settings) -> OpenCore | None:
    """Begin to open the model in a thread, so that it is there when the rest of the server has been imported.

    Only OpenVINO's way, which imports next to nothing: two threads must not import large packages at once.

    Returns:
        What waits for the core; None where the start itself opens it, or says why it cannot.
    """
    folder = Path(settings.model)
    if is_remote(settings) or not folder.is_dir() or (folder / ADAPTER_CONFIG).is_file():
        return None  # what may have to be downloaded is not waited for here
    try:
        served = open_served_model(settings)
        return None if served.head is not None else _core_opener(settings, served, ahead=True)
    except EndpointError:
        return None


def _core_opener(settings: Settings, served: ServedModel, ahead: bool = False) -> OpenCore:
    threads = settings.threads or usable_cores()
    if settings.engine == "onnxruntime":
        raise ModelError(f"ENGINE is onnxruntime, which serves models with a head; {served.name} has none. Unset it.")
    if settings.weights == "int8":
        if settings.engine == "transformers":
            raise ModelError("WEIGHTS=int8 needs the OpenVINO engine. Unset ENGINE or WEIGHTS.")
        check_int8_passed(served.folder)

    if settings.wants_adapters and settings.engine == "openvino":
        raise ModelError("ENGINE is openvino, which does not take adapters by request. Unset it, or unset ADAPTERS.")
    if settings.wants_adapters and settings.weights == "int8":
        raise ModelError("WEIGHTS is int8, for which no adapter was trained. Unset it, or unset ADAPTERS.")

    def open_transformers() -> Core:
        from llm_endpoint.engines.continuous import open_continuous_core

        return open_continuous_core(
            served.folder,
            base_folder=served.base_folder,
            threads=threads,
            max_running=settings.max_running,
            kv_cache_gb=settings.kv_cache_gb,
            context_length=served.context_length,
        )

    def load_openvino() -> Core:
        from llm_endpoint.engines.openvino.opening import open_openvino_core

        return open_openvino_core(
            served.folder,
            base_folder=served.base_folder,
            cache=settings.engine_cache,
            precision=settings.weights,
            threads=threads,
            max_running=settings.max_running,
            kv_cache_gb=settings.kv_cache_gb,
            context_length=served.context_length,
        )

    if settings.engine == "transformers" or settings.wants_adapters:
        return open_transformers
    open_openvino = _begin(load_openvino) if ahead else load_openvino

    def open_best() -> Core:
        try:
            return open_openvino()
        except (ModelError, ImportError) as error:
            logger.warning("Serving with transformers instead of OpenVINO: %s", error)
            return open_transformers()

    return open_openvino if settings.engine == "openvino" or settings.weights == "int8" else open_best


def _begin(open_core: OpenCore) -> OpenCore:
    opened: Future[Core] = Future()

    def run() -> None:
        try:
            opened.set_result(open_core())
        except BaseException as error:  # goes to whoever waits
            opened.set_exception(error)

    threading.Thread(target=run, name="opening", daemon=True).start()
    return opened.result
