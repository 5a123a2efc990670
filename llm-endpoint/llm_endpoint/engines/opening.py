"""Which engine serves a model, decided once at start."""

import logging
from collections.abc import Callable

from llm_endpoint.engines.local import LocalEngine
from llm_endpoint.engines.openvino.core import usable_cores
from llm_endpoint.engines.seam import Core, Engine, EngineInfo
from llm_endpoint.errors import ModelError
from llm_endpoint.served.encoding import PromptEncoder
from llm_endpoint.served.folder import ServedModel
from llm_endpoint.served.quantization import check_int8_passed
from llm_endpoint.settings import Settings

logger = logging.getLogger(__name__)


def open_remote_engine(settings: Settings) -> Engine:
    """The engine for an OpenAI-compatible server.

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
    )


OpenCore = Callable[[], Core]


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
        return EngineInfo(core.name, served.name, served.revision, core.context_length, core.precision)

    opener = open_core or _core_opener(settings, served)
    return LocalEngine(opener, encoder, describe, served.one_line, settings.max_queue)


def _core_opener(settings: Settings, served: ServedModel) -> OpenCore:
    threads = settings.threads or usable_cores()

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

    def open_openvino() -> Core:
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

    def open_best() -> Core:
        try:
            return open_openvino()
        except (ModelError, ImportError) as error:
            logger.warning("Serving with transformers instead of OpenVINO: %s", error)
            return open_transformers()

    if settings.weights == "int8" and settings.engine == "transformers":
        raise ModelError("WEIGHTS=int8 needs the OpenVINO engine. Unset ENGINE or WEIGHTS.")
    if settings.weights == "int8":
        check_int8_passed(served.folder)
        return open_openvino
    return {"transformers": open_transformers, "openvino": open_openvino}.get(settings.engine, open_best)
