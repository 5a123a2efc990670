"""POST /score: a conversation in the request format of chat fine-tuning tutorials, continued as text."""

import logging
import re
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from llm_endpoint.answering import Answer, Answering, Caller
from llm_endpoint.engines.seam import Sampling
from llm_endpoint.errors import InvalidInput
from llm_endpoint.sampling import choose_sampling
from llm_endpoint.schema import ChatMessage, ScoreBody, ScoreParameters, ScoreRequest
from llm_endpoint.web.bodies import answer_headers, json_response, model_facts, parse_body, usage_body
from llm_endpoint.web.openai import read_turns
from llm_endpoint.web.openapi import body_of, documented

logger = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z_][\w.-]{0,39}", re.ASCII)
_MOST_NAMES = 10
_ANSWERED: dict[int | str, dict[str, Any]] = {
    200: {
        "model": ScoreBody,
        "description": "The answer: JSON, or the text alone where the request accepts text/plain only",
        "content": {"application/json": {}, "text/plain": {"schema": {"type": "string"}}},
    }
}


def score_router(find: Callable[[str], Answering]) -> APIRouter:
    """The route; `find` gives what answers under a name, or raises NotReady or NotFound."""
    router = APIRouter(tags=["Chat"])

    @router.post(
        "/score",
        summary="Continue a conversation (input_data, params)",
        openapi_extra=body_of(ScoreRequest),
        responses=_ANSWERED | documented(400, 401, 404, 413, 429, 500, 502, 503, 504),
    )
    async def score(request: Request) -> Response:
        """The generated text as `output`; what of the request was left out is said in `note` and in X-Note."""
        body = await parse_body(request, ScoreRequest)
        messages, stripped = without_ground_truth(body.input_data.input_string)
        parameters = body.input_data.parameters or ScoreParameters()
        model, others = _read_params(body.params)
        answering = find(model)
        stream = answering.chat(read_turns(messages), _sampling(parameters, answering.defaults), Caller("score", None))
        answer = await answering.finish(stream)
        note = _note(stripped, parameters, others)
        if note:
            logger.info("Request %s: %s", answer.trace_id, note)
        return _respond(request, answer, note)

    return router


def without_ground_truth(messages: list[ChatMessage]) -> tuple[list[ChatMessage], int]:
    """The turns up to the user's last one, and how many assistant turns stood after it.

    Raises:
        InvalidInput: If the conversation does not end with a user's turn then.
    """
    kept = list(messages)
    while kept and kept[-1].role == "assistant":
        kept.pop()
    if not kept or kept[-1].role != "user":
        ends = f"ends with a turn of {kept[-1].role}" if kept else "holds turns of the assistant only"
        raise InvalidInput(f"input_data.input_string {ends}: the last turn must be the user's.")
    return kept, len(messages) - len(kept)


def _read_params(params: dict[str, Any] | None) -> tuple[str, bool]:
    """The model that params names, and whether there is more in it."""
    given = dict(params or {})
    model = given.pop("model", "")
    if not isinstance(model, str):
        raise InvalidInput("params.model: Input should be a valid string.")
    return model, bool(given)


def _sampling(parameters: ScoreParameters, defaults: Sampling) -> Sampling:
    return choose_sampling(defaults, **{name: getattr(parameters, name) for name in ScoreParameters.model_fields})


def _note(stripped: int, parameters: ScoreParameters, with_params: bool) -> str:
    """What was left out of a request; ASCII, because it also is a header."""
    notes = []
    if stripped:
        turns = "turn was" if stripped == 1 else f"turns ({stripped}) were"
        notes.append(f"the trailing assistant {turns} left out; the model answers the user's last turn")
    # a caller's own names go into a header: only those that look like names
    unknown = sorted(name for name in parameters.model_extra or {} if _NAME.fullmatch(name))[:_MOST_NAMES]
    if parameters.model_extra:
        said = f": {', '.join(unknown)}" if unknown else ""
        notes.append(f"parameters that mean nothing here were left out{said}")
    if with_params:
        notes.append("params was left out, but for a model: name sampling parameters in input_data.parameters")
    return "; ".join(notes)


def _respond(request: Request, answer: Answer, note: str) -> Response:
    headers = {"x-trace-id": str(answer.trace_id)} | answer_headers(answer.answered_by)
    headers |= {"x-note": note} if note else {}
    if request.headers.get("accept", "").strip().lower() == "text/plain":
        return Response(answer.response, headers=headers, media_type="text/plain")
    response = json_response(
        {
            "output": answer.response,
            "note": note or None,
            "trace_id": str(answer.trace_id),
            **model_facts(answer),
            "usage": usage_body(answer),
            "finish_reason": answer.finish_reason,
        }
    )
    response.headers.update(headers)
    return response
