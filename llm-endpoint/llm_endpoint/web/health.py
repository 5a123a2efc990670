"""Liveness, readiness and the documentation page."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from llm_endpoint.errors import NotReady
from llm_endpoint.schema import HealthBody, TaskBody
from llm_endpoint.web.bodies import json_response
from llm_endpoint.web.openapi import documented

_FAILED: dict[int | str, dict[str, Any]] = {503: {"model": HealthBody, "description": "The model cannot be served"}}


def health_router(state: Callable[[], HealthBody], task: Callable[[], TaskBody]) -> APIRouter:
    """/healthz says how the server is and is 200 as long as it lives; /readyz is 200 only when it takes requests.

    /task says what the model does, once it is warm.
    """
    router = APIRouter(tags=["Health"])

    @router.get("/healthz", summary="How the server is", response_model=HealthBody, responses=_FAILED)
    async def healthz() -> Response:
        health = state()
        return json_response(health.model_dump(), 503 if health.status == "failed" else 200)

    @router.get("/readyz", summary="Whether it takes requests", response_model=HealthBody, responses=documented(503))
    async def readyz() -> Response:
        health = state()
        if health.status != "ready":
            raise NotReady(f"{health.status}: {health.detail}")
        return json_response(health.model_dump())

    @router.get("/task", summary="What the model does", response_model=TaskBody, responses=documented(401, 503))
    async def what() -> Response:
        return json_response(task().model_dump())

    # KServe's own says that it is ready from the first second; this one is found first
    @router.get("/v2/health/ready", summary="Whether it takes requests (V2)", responses=documented(503))
    async def ready_v2() -> Response:
        await readyz()
        return json_response({"ready": True})

    return router
