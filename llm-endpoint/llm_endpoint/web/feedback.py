"""POST /feedback: what a user thinks of an answer, for the traces and, with consent, for the next training."""

from collections.abc import Callable

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from llm_endpoint.answering import Answering
from llm_endpoint.errors import NotFound
from llm_endpoint.feedback import FeedbackStore, Outcome, RecentAnswer, RecentAnswers, learned_answer
from llm_endpoint.schema import FeedbackBody, FeedbackRequest
from llm_endpoint.telemetry.telemetry import Telemetry
from llm_endpoint.web.bodies import json_response, parse_body
from llm_endpoint.web.openapi import body_of, documented

_DETAILS: dict[Outcome, str] = {
    "stored": "Thank you. Kept as training data.",
    "duplicate": "Thank you. This was already kept as training data.",
    "nothing_to_learn": "Thank you. Nothing was kept as training data: it needs a correction.",
    "too_long": "Thank you. Nothing was kept as training data: the context is too long for a training row.",
    "full": "Thank you. Nothing was kept as training data: the file is full, please tell the operator.",
}


def feedback_router(
    ready: Callable[[], Answering], telemetry: Telemetry, recent: RecentAnswers, store: FeedbackStore
) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["QA"])

    @router.post(
        "/feedback",
        summary="Say whether an answer was right",
        response_model=FeedbackBody,
        openapi_extra=body_of(FeedbackRequest),
        responses=documented(400, 401, 404, 413, 503),
    )
    async def feedback(request: Request) -> Response:
        """Goes to the trace; with `consent` the question, its context and the right answer become training data."""
        body = await parse_body(request, FeedbackRequest)
        answering = ready()
        answer = recent.find(body.trace_id)
        if answer is None and body.question and body.context and body.response is not None:
            answer = RecentAnswer(body.question, body.context, body.response)
        if answer is None:
            raise NotFound(
                "this server does not remember that trace_id. Send question, context and response with the feedback."
            )
        telemetry.feedback(body.trace_id, body.score, body.comment, body.correction)
        if not body.consent:
            return json_response({"stored": False, "detail": "Thank you. Nothing was kept as training data."})
        learned = learned_answer(answer.response, body.score, body.correction, answering.asking.prompt.no_answer_text)
        outcome = await run_in_threadpool(
            store.add, body.trace_id, answer.context, answer.question, learned, body.comment, body.score
        )
        return json_response({"stored": outcome == "stored", "detail": _DETAILS[outcome]})

    return router
