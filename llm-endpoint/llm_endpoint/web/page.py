"""The OpenAPI document and its page, without anything from another server: clusters are often offline."""

from collections.abc import Callable
from typing import Any

from llm_endpoint.heads.head import Head
from llm_endpoint.web.head_pages import describe_head
from llm_endpoint.web.openapi import documented

_HIDDEN = ("/v2/repository/",)
_KSERVE_ERRORS = (400, 401, 404, 413, 429, 500, 502, 503, 504)


def add_page(app: Any, served_name: str, head: Callable[[], Head | None]) -> None:
    """Serve /docs, and make /openapi.json describe what this server really does.

    Args:
        app: The application.
        served_name: Of the model, in the paths.
        head: Of the model, if it has one and has been loaded.
    """
    from fastapi.openapi.docs import get_swagger_ui_html
    from fastapi.openapi.utils import get_openapi
    from starlette.staticfiles import StaticFiles

    described: dict[bool, dict[str, Any]] = {}

    def describe() -> dict[str, Any]:
        found = head()
        has_head = found is not None
        if has_head not in described:
            document = get_openapi(title=app.title, version=app.version, routes=app.routes)
            described[has_head] = _describe(document, served_name)
            if found is not None:
                describe_head(described[has_head], found, served_name)
        return described[has_head]

    async def docs() -> Any:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=app.title,
            swagger_js_url="/docs/static/swagger-ui-bundle.js",
            swagger_css_url="/docs/static/swagger-ui.css",
            swagger_favicon_url="/docs/static/favicon.png",
        )

    app.openapi = describe
    app.mount("/docs/static", StaticFiles(packages=[("fastapi_offline", "static")]), name="docs")
    app.add_api_route("/docs", docs, include_in_schema=False)


def _describe(document: dict[str, Any], served_name: str) -> dict[str, Any]:
    paths = {
        path: item
        for path, item in document["paths"].items()
        if not path.startswith(_HIDDEN) and not path.endswith(":explain")
    }
    paths["/metrics"]["get"]["responses"]["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}
    errors = {
        str(status): {
            "description": response["description"],
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}},
        }
        for status, response in documented(*_KSERVE_ERRORS).items()
    }
    for path, item in paths.items():
        for operation in item.values():
            operation["responses"].pop("422", None)
            if path.startswith(("/v1/", "/v2")):
                operation["responses"] = errors | operation["responses"]
            for parameter in operation.get("parameters", []):
                if parameter["name"] == "model_name":
                    parameter["schema"]["example"] = served_name
    document["paths"] = paths
    key = {"type": "http", "scheme": "bearer", "description": "Needed when the endpoint has API keys."}
    document.setdefault("components", {})["securitySchemes"] = {"ApiKey": key}
    document["security"] = [{}, {"ApiKey": []}]
    return document
