"""The OpenAI protocol: models, chat completions and completions, with server-sent events."""

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from llm_endpoint.answer import Answer, Caller, Stream, fingerprint, say_sources
from llm_endpoint.answering import Answering
from llm_endpoint.engines.seam import Handover, Message, Sampling
from llm_endpoint.errors import InvalidInput
from llm_endpoint.sampling import choose_sampling
from llm_endpoint.schema import ChatCompletionRequest, ChatMessage, CompletionRequest, OpenAIErrorBody, OpenAISampling
from llm_endpoint.web.bodies import (
    answer_headers,
    event,
    event_response,
    handover_body,
    json_response,
    parse_body,
)
from llm_endpoint.web.openapi import body_of, documented, streamed

_FINISH = {"stop": "stop", "length": "length", "cancelled": "stop"}
_RESPONSES = streamed() | documented(400, 401, 404, 413, 429, 500, 502, 503, 504, shape=OpenAIErrorBody)


def openai_router(
    find: Callable[[str], Answering], adapters: Callable[[], Sequence[str]], served_name: str
) -> APIRouter:
    """Routes under /openai/v1.

    Args:
        find: What answers under a name; raises NotReady or NotFound.
        adapters: Names that are served beside the model.
        served_name: Of the model.
    """
    router = APIRouter(prefix="/openai/v1", tags=["OpenAI"])

    @router.get("/models", summary="The models that are served", responses=documented(401, shape=OpenAIErrorBody))
    async def models() -> Response:
        entry = {"id": served_name, "object": "model", "created": 0, "owned_by": "whetstone"}
        more = [entry | {"id": name, "parent": served_name} for name in adapters()]
        return json_response({"object": "list", "data": [entry, *more]})

    @router.post(
        "/chat/completions",
        summary="Continue a conversation",
        openapi_extra=body_of(ChatCompletionRequest),
        responses=_RESPONSES,
    )
    async def chat_completions(request: Request) -> Response:
        body = await parse_body(request, ChatCompletionRequest)
        answering = find(body.model)
        messages = read_turns(body.messages)
        sampling = _sampling(body, answering.defaults, body.max_completion_tokens)
        stream = answering.chat(messages, sampling, Caller("openai_chat", body.user, body.stream))
        return await _respond(
            request, stream, body, answering, _ChatFormat(answering.engine.info.adapter or served_name, stream)
        )

    @router.post(
        "/completions", summary="Continue a text", openapi_extra=body_of(CompletionRequest), responses=_RESPONSES
    )
    async def completions(request: Request) -> Response:
        body = await parse_body(request, CompletionRequest)
        answering = find(body.model)
        prompt = body.prompt if isinstance(body.prompt, str) else body.prompt[0]
        sampling = _sampling(body, answering.defaults, None)
        stream = answering.complete(prompt, sampling, Caller("openai_completion", body.user, body.stream))
        return await _respond(
            request, stream, body, answering, _TextFormat(answering.engine.info.adapter or served_name, stream)
        )

    return router


class _Format:
    """How one endpoint writes whole answers and pieces."""

    kind = chunk_kind = prefix = ""

    def __init__(self, model: str, stream: Stream) -> None:
        self._head = {"id": f"{self.prefix}-{stream.trace_id}", "created": int(time.time()), "model": model}
        self._stream = stream

    def whole(self, answer: Answer) -> dict[str, Any]:
        choice = self.whole_choice(answer.response) | {"index": 0, "finish_reason": _FINISH[answer.finish_reason]}
        content = self._head | {"object": self.kind, "choices": [choice], "usage": _usage(answer)}
        content |= self._who() | ({"fallback": answer.fallback} if answer.fallback else {})
        if answer.grounding is not None:
            spans = [{"start": span.start, "end": span.end} for span in answer.grounding.spans]
            content["grounding"] = {"supported": answer.grounding.supported, "spans": spans}
        return content

    def piece(self, choice: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, **choice, "finish_reason": finish_reason}
        return event(self._chunk([choice]))

    def handover(self, handover: Handover) -> bytes:
        """A chunk without text that says that another model goes on; clients of the protocol read over it."""
        choice = {"index": 0, **self.delta(""), "finish_reason": None}
        return event(self._chunk([choice]) | {"handover": handover_body(handover)})

    def usage(self, answer: Answer) -> bytes:
        return event(self._chunk([]) | {"usage": _usage(answer)})

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return self._head | {"object": self.chunk_kind, "choices": choices} | self._who()

    def _who(self) -> dict[str, str]:
        who = self._stream.who()
        return {"system_fingerprint": fingerprint(who[-1]), "answered_by": say_sources(who)}

    def whole_choice(self, text: str) -> dict[str, Any]:
        raise NotImplementedError

    def first(self) -> dict[str, Any] | None:
        return None

    def delta(self, text: str) -> dict[str, Any]:
        raise NotImplementedError


class _ChatFormat(_Format):
    kind, chunk_kind, prefix = "chat.completion", "chat.completion.chunk", "chatcmpl"

    def whole_choice(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text}}

    def first(self) -> dict[str, Any]:
        return {"delta": {"role": "assistant", "content": ""}}

    def delta(self, text: str) -> dict[str, Any]:
        return {"delta": {"content": text} if text else {}}


class _TextFormat(_Format):
    kind = chunk_kind = "text_completion"
    prefix = "cmpl"

    def whole_choice(self, text: str) -> dict[str, Any]:
        return {"text": text}

    def delta(self, text: str) -> dict[str, Any]:
        return {"text": text}


async def _respond(
    request: Request, stream: Stream, body: OpenAISampling, answering: Answering, form: _Format
) -> Response:
    if not body.stream:
        answer = await answering.finish(stream)
        return json_response(form.whole(answer), headers=answer_headers(answer.answered_by))
    with_usage = bool(body.stream_options and body.stream_options.include_usage)
    return await event_response(request, _events(stream, form, with_usage), stream)


async def _events(stream: Stream, form: _Format, with_usage: bool) -> AsyncGenerator[bytes, None]:
    begun = False
    async for piece in stream.pieces:
        first = None if begun else form.first()
        begun = True
        if first is not None:
            yield form.piece(first)
        yield form.piece(form.delta(piece)) if isinstance(piece, str) else form.handover(piece)
    answer = stream.answer
    if answer is None:
        return
    yield form.piece(form.delta(""), _FINISH[answer.finish_reason])
    if with_usage:
        yield form.usage(answer)
    yield b"data: [DONE]\n\n"


def _usage(answer: Answer) -> dict[str, Any]:
    usage = answer.usage
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def _sampling(body: OpenAISampling, defaults: Sampling, longest: int | None) -> Sampling:
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ()) or None
    return choose_sampling(
        defaults,
        max_new_tokens=longest or body.max_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=None if body.top_k is None else max(body.top_k, 0),
        repetition_penalty=body.repetition_penalty,
        seed=body.seed,
        stop=stop,
    )


def read_turns(messages: Sequence[ChatMessage]) -> list[Message]:
    """The turns of a conversation as the engine takes them.

    Raises:
        InvalidInput: If one holds anything but text.
    """
    return [Message(_role(message), _text(message)) for message in messages]


def _role(message: ChatMessage) -> Any:
    return "system" if message.role == "developer" else message.role


def _text(message: ChatMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    if any(part.get("type") != "text" or not isinstance(part.get("text"), str) for part in message.content):
        raise InvalidInput("messages hold text only: send content as text, or as parts of type `text`.")
    return "".join(part["text"] for part in message.content)
