"""What the OpenAPI page says about bodies that the routes read themselves."""

from typing import Any

from pydantic import BaseModel

from llm_endpoint.schema import ErrorBody

_MEANINGS = {
    400: "Something is missing or wrong",
    401: "No valid API key",
    404: "Not found",
    413: "The body is too large",
    429: "The queue is full; see Retry-After",
    500: "The model or the server failed",
    502: "The model server behind this one failed",
    503: "Warming up or shutting down; see Retry-After",
    504: "The answer took too long",
}


def documented(*statuses: int, shape: type[BaseModel] = ErrorBody) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route."""
    return {status: {"model": shape, "description": _MEANINGS[status]} for status in statuses}


def streamed(answer: type[BaseModel] | None = None) -> dict[int | str, dict[str, Any]]:
    """The 200 of a route that answers with JSON, or with server-sent events when the request says `stream`."""
    content: dict[str, Any] = {"text/event-stream": {}, "application/json": {}}
    said: dict[str, Any] = {"description": "The answer", "content": content}
    return {200: said if answer is None else said | {"model": answer}}


def body_of(schema: type[BaseModel]) -> dict[str, Any]:
    """`openapi_extra` of a route that parses its body itself, so that errors have our words and shape."""
    content = schema.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = content.pop("$defs", {})
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": _inlined(content, definitions)}}}
    }


def _inlined(node: Any, definitions: dict[str, Any]) -> Any:
    """References replaced by what they name: these schemas are not recursive."""
    if isinstance(node, dict):
        name = str(node.get("$ref", "")).rpartition("/")[2]
        if name in definitions:
            return _inlined(definitions[name], definitions)
        return {key: _inlined(value, definitions) for key, value in node.items()}
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in node]
    return node
