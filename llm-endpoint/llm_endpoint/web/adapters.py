"""POST /v1/load_lora_adapter and /v1/unload_lora_adapter, as vLLM has them: adapters change while others answer."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import Response

from llm_endpoint.adapters import Adapters, folder_under_root
from llm_endpoint.errors import InvalidInput, ModelError, NotFound
from llm_endpoint.schema import AdapterBody, AdapterDropped, LoadAdapterRequest, UnloadAdapterRequest
from llm_endpoint.settings import Settings
from llm_endpoint.web.bodies import json_response, parse_body
from llm_endpoint.web.openapi import body_of, documented

Result = TypeVar("Result")
_RESPONSES = documented(400, 401, 404, 413, 429, 500, 503)


def adapters_router(ready: Callable[[], Adapters | None], settings: Settings) -> APIRouter:
    """The routes. They are off without ADAPTERS_ROOT; with it the server starts only with API keys."""
    router = APIRouter(tags=["Adapters"], include_in_schema=settings.adapters_root is not None)

    def find() -> Adapters:
        adapters = ready() if settings.adapters_root is not None else None
        if adapters is None:
            raise NotFound("adapters are not loaded over HTTP here: the operator has not set ADAPTERS_ROOT.")
        return adapters

    @router.post(
        "/v1/load_lora_adapter",
        summary="Load an adapter; it answers when this returns",
        openapi_extra=body_of(LoadAdapterRequest),
        response_model=AdapterBody,
        responses=_RESPONSES,
    )
    async def load(request: Request) -> Response:
        adapters = find()
        body = await parse_body(request, LoadAdapterRequest)
        folder = await asyncio.to_thread(folder_under_root, body.lora_path, settings)
        try:
            loaded = await _finish(adapters.load(body.lora_name, folder))
        except ModelError as error:
            # of a folder that the caller has named, so it is the caller's to mend
            raise InvalidInput(str(error)) from error
        return json_response(loaded.model_dump())

    @router.post(
        "/v1/unload_lora_adapter",
        summary="Drop an adapter once its requests are answered",
        openapi_extra=body_of(UnloadAdapterRequest),
        response_model=AdapterDropped,
        responses=_RESPONSES,
    )
    async def unload(request: Request) -> Response:
        adapters = find()
        body = await parse_body(request, UnloadAdapterRequest)
        await _finish(adapters.drop(body.lora_name))
        return json_response({"name": body.lora_name, "dropped": True})

    return router


async def _finish(change: Coroutine[Any, Any, Result]) -> Result:
    """Go on to the end, even if the caller leaves."""
    return await asyncio.shield(asyncio.ensure_future(change))
