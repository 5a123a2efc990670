"""KServe's model server with our routes, guards and errors."""

import asyncio
import gc
import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any

from llm_endpoint.engines.opening import OpenCore
from llm_endpoint.errors import EndpointError, GenerationError, InvalidInput, NotFound, NotReady
from llm_endpoint.service import Service
from llm_endpoint.settings import Settings

logger = logging.getLogger(__name__)


def serve(settings: Settings, open_core: OpenCore | None = None) -> int:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: Of this process.
        open_core: Gives the core, instead of opening what the settings name.

    Returns:
        Exit code: 0, or 2 when the model could not be loaded.
    """
    kserve_server = _import_kserve()
    from prometheus_client import REGISTRY, disable_created_metrics

    from llm_endpoint.adapters import check_adapter_settings
    from llm_endpoint.model import TaskModel
    from llm_endpoint.web.auth import ApiKeys

    disable_created_metrics()
    keys = ApiKeys(settings)
    check_adapter_settings(settings, keys.required)
    service = Service(settings, REGISTRY, open_core)
    model = TaskModel(settings.served_model_name, service.ready, service.is_ready)

    def add(name: str) -> None:
        server.register_model(TaskModel(name, lambda: service.find(name), service.is_ready))

    application = _build_application(kserve_server, service, keys)

    class Server(kserve_server.ModelServer):  # type: ignore[misc, name-defined]
        """Listens where the settings say, from the first second; the model warms up meanwhile."""

        def setup_event_loop(self) -> None:
            """KServe prepares a loop that it then does not run in."""
            import uvloop

            uvloop.install()

        async def _serve(self) -> None:
            config = self._rest_server.config
            config.host = settings.host
            config.app = application
            config.access_log = False
            config.timeout_graceful_shutdown = int(settings.shutdown_seconds)
            uvicorn_server = self._rest_server._server
            # KServe registers its own when it starts, which is after this
            self._rest_server._add_exception_handlers = lambda app: _replace_handlers(app, service.say_names)
            # its timings of each request go to a log that is off here
            self._rest_server._add_middlewares = lambda app: None
            warming = asyncio.create_task(_warm_up(service, uvicorn_server))
            stopping = asyncio.create_task(_note_stop(service, uvicorn_server))
            try:
                await asyncio.gather(*self.servers)
            finally:
                warming.cancel()
                stopping.cancel()
                await service.close()

    server = Server(
        http_port=settings.http_port,
        enable_grpc=False,
        enable_latency_logging=False,
        grace_period=int(settings.shutdown_seconds),
    )
    server.register_model(model)
    service.listeners.added, service.listeners.removed = add, server.registered_models.unload
    gc.freeze()  # what has been imported stays: no collection has to look at it again
    gc.enable()
    server.start([])
    return 2 if service.failure is not None else 0


def _import_kserve() -> Any:
    """kserve.model_server parses sys.argv when it is imported; our flags are none of its business."""
    arguments, sys.argv = sys.argv, sys.argv[:1]
    try:
        from kserve import model_server
    finally:
        sys.argv = arguments
    # KServe answers with a response class that FastAPI would like it to give up
    warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")
    for name in ("kserve", "kserve.trace", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return model_server


def _build_application(kserve_server: Any, service: Service, keys: Any) -> Any:
    from llm_endpoint.web.adapters import adapters_router
    from llm_endpoint.web.feedback import feedback_router
    from llm_endpoint.web.generate import generate_router
    from llm_endpoint.web.guards import Guards
    from llm_endpoint.web.health import health_router
    from llm_endpoint.web.openai import openai_router
    from llm_endpoint.web.page import add_page
    from llm_endpoint.web.score import score_router

    app = kserve_server.app
    app.title, app.version = "Whetstone endpoint", "1"
    app.include_router(generate_router(service.find))
    app.include_router(score_router(service.find))
    app.include_router(adapters_router(lambda: service.adapters, service.settings))
    app.include_router(feedback_router(service.ready_answering, service.telemetry, service.recent, service.store))
    app.include_router(openai_router(service.find, service.adapter_names, service.settings.served_model_name))
    app.include_router(health_router(service.health, service.task))
    add_page(app, service.settings.served_model_name, service.head)
    return Guards(app, keys, service.settings.max_body_bytes, service.metrics, lambda: service.stopping)


def _replace_handlers(app: Any, say_names: Callable[[], str]) -> None:
    """KServe's handlers log a stack trace for a caller's mistake and show internals; ours do neither."""
    from fastapi.exceptions import RequestValidationError
    from kserve import errors as theirs
    from starlette.exceptions import HTTPException

    from llm_endpoint.web.bodies import handle_endpoint_error, say_problems

    kinds: dict[type[Exception], type[EndpointError]] = {
        theirs.InvalidInput: InvalidInput,
        theirs.ModelNotFound: NotFound,
        theirs.ModelNotReady: NotReady,
        theirs.ServerNotReady: NotReady,
        theirs.ServerNotLive: NotReady,
        theirs.InferenceError: GenerationError,
    }

    async def known(request: Any, error: Exception) -> Any:
        more = f" {say_names()}" if isinstance(error, theirs.ModelNotFound) else ""
        return await handle_endpoint_error(request, kinds[type(error)](f"{error}{more}"))

    async def not_offered(request: Any, error: Exception) -> Any:
        # model versions, gRPC-only features: for the caller they are simply not there
        return await handle_endpoint_error(request, NotFound(str(error) or "this server does not offer that."))

    async def invalid(request: Any, error: Exception) -> Any:
        assert isinstance(error, RequestValidationError)
        return await handle_endpoint_error(request, InvalidInput(say_problems(error.errors())))

    async def by_status(request: Any, error: Exception) -> Any:
        assert isinstance(error, HTTPException)
        problem = EndpointError(f"{request.method} {request.url.path}: {error.detail}.")
        problem.status = error.status_code
        response = await handle_endpoint_error(request, problem)
        response.headers.update(error.headers or {})
        return response

    async def unknown(request: Any, error: Exception) -> Any:
        # our own code wraps what fails in it, so on these paths it is KServe's parser that gave up
        if request.url.path.startswith(("/v1/", "/v2/")):
            return await handle_endpoint_error(
                request, InvalidInput("the body is not a valid request of this protocol.")
            )
        return await handle_endpoint_error(
            request, EndpointError("the server failed on this request. The operator finds why in the log.")
        )

    for kind in kinds:
        app.add_exception_handler(kind, known)
    for kind in (NotImplementedError, theirs.UnsupportedProtocol):
        app.add_exception_handler(kind, not_offered)
    app.add_exception_handler(EndpointError, handle_endpoint_error)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, by_status)
    app.add_exception_handler(Exception, unknown)


async def _warm_up(service: Service, uvicorn_server: Any) -> None:
    try:
        await service.warm_up()
    except EndpointError as error:
        logger.error("error: %s", error)
        uvicorn_server.should_exit = True


async def _note_stop(service: Service, uvicorn_server: Any) -> None:
    """Readiness turns false as soon as a signal arrives; uvicorn itself finishes what runs."""
    while not uvicorn_server.should_exit:
        await asyncio.sleep(0.05)
    service.stopping = True
