"""The model as KServe sees it, whatever its task; and V1 `:predict` and V2 `infer` with questions and contexts."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from kserve import InferOutput, InferRequest, InferResponse, Model

from llm_endpoint.answering import Answer, Answering, Caller, Question
from llm_endpoint.errors import InvalidInput
from llm_endpoint.heads.model import HeadModel
from llm_endpoint.heads.predicting import Predicting
from llm_endpoint.schema import GenerateRequest
from llm_endpoint.tensors import read_texts
from llm_endpoint.web.bodies import answer_body, validate
from llm_endpoint.web.generate import sampling_of

_LARGEST_BATCH = 64


class TaskModel(Model):
    """Registered from the first second; answers as the model that is found, for its task.

    Args:
        name: In the paths.
        ready: Gives what answers, or raises NotReady.
        is_ready: Whether requests are taken.
    """

    def __init__(self, name: str, ready: Callable[[], Answering | Predicting], is_ready: Callable[[], bool]) -> None:
        super().__init__(name, return_response_headers=True)
        self._ready, self._is_ready = ready, is_ready
        self.ready = True

    async def healthy(self) -> bool:
        """True only when warm; KServe's readiness asks this."""
        return self._is_ready()

    def get_input_types(self) -> list[dict[str, Any]]:
        """Inputs of V2."""
        return self._found().get_input_types()

    def get_output_types(self) -> list[dict[str, Any]]:
        """Outputs of V2."""
        return self._found().get_output_types()

    async def predict(
        self,
        payload: Any,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> Any:
        """V1 and V2."""
        found = self._found()
        content = await found.predict(payload)
        if response_headers is not None and isinstance(found, ContextQAModel):
            response_headers["x-answered-by"] = found.sources
        return content

    def _found(self) -> "ContextQAModel | HeadModel":
        ready = self._ready()
        return HeadModel(self.name, ready) if isinstance(ready, Predicting) else ContextQAModel(self.name, ready)


class ContextQAModel:
    """Answers batches of questions; each goes through the same chain as `/generate`.

    Args:
        name: In the paths.
        answering: Warm.
    """

    def __init__(self, name: str, answering: Answering) -> None:
        self._name, self._answering = name, answering
        self.sources = ""
        """Who gave the last answers."""

    def get_input_types(self) -> list[dict[str, Any]]:
        """Inputs of V2."""
        return [{"name": name, "datatype": "BYTES", "shape": [-1]} for name in ("question", "context")]

    def get_output_types(self) -> list[dict[str, Any]]:
        """Outputs of V2; `spans` is JSON: [{"start", "end"}, ...]."""
        kinds = {"response": "BYTES", "supported": "BOOL", "spans": "BYTES", "trace_id": "BYTES"}
        return [{"name": name, "datatype": kind, "shape": [-1]} for name, kind in kinds.items()]

    async def predict(self, payload: Any) -> Any:
        """V1: {"instances": [{"question", "context"}]} -> {"predictions": [...]}. V2: BYTES question and context."""
        if isinstance(payload, InferRequest):
            return await self._infer(payload)
        instances = payload.get("instances") if isinstance(payload, dict) else None
        if not isinstance(instances, list) or not instances:
            raise InvalidInput('send {"instances": [{"question": ..., "context": ...}]}.')
        if len(instances) > _LARGEST_BATCH:
            raise InvalidInput(f"{len(instances)} instances are too many: send at most {_LARGEST_BATCH} at once.")
        requests = []
        for number, instance in enumerate(instances):
            if not isinstance(instance, dict):
                raise InvalidInput(f"instances.{number} is not an object with question and context.")
            try:
                requests.append(validate(instance, GenerateRequest))
            except InvalidInput as error:
                raise InvalidInput(f"instances.{number}: {error}") from error
        answers = await self._answer_all(requests, "kserve_v1")
        return {"predictions": [answer_body(answer) for answer in answers]}

    async def _infer(self, request: InferRequest) -> InferResponse:
        questions, contexts = (read_texts(request, name) for name in ("question", "context"))
        if len(questions) != len(contexts):
            raise InvalidInput(f"{len(questions)} questions and {len(contexts)} contexts: send as many of each.")
        if not 1 <= len(questions) <= _LARGEST_BATCH:
            raise InvalidInput(f"send 1 to {_LARGEST_BATCH} questions at once.")
        sampling = {key: value for key, value in (request.parameters or {}).items() if key in _SAMPLING}
        requests = [
            validate({"question": question, "context": context, **sampling}, GenerateRequest)
            for question, context in zip(questions, contexts, strict=True)
        ]
        answers = await self._answer_all(requests, "kserve_v2")
        return InferResponse(
            response_id=request.id or str(uuid4()),
            model_name=self._name,
            model_version=answers[-1].info.revision,
            infer_outputs=_outputs(answers),
            requested_outputs=request.request_outputs,
            use_binary_outputs=request.use_binary_outputs,
        )

    async def _answer_all(self, requests: Sequence[GenerateRequest], protocol: str) -> list[Answer]:
        answering = self._answering
        for request in requests:
            if not request.question.strip() or not request.context.strip():
                raise InvalidInput("Both 'question' and 'context' are required")

        async def answer(request: GenerateRequest) -> Answer:
            question = Question(request.question, request.context)
            caller = Caller(protocol, request.session_id)
            return await answering.finish(answering.ask(question, sampling_of(request, answering.defaults), caller))

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(answer(request)) for request in requests]
        except BaseExceptionGroup as failures:
            # the first failure has cancelled the others, and is the one to tell
            raise failures.exceptions[0] from failures
        answers = [task.result() for task in tasks]
        self.sources = ",".join(dict.fromkeys(answer.sources for answer in answers))
        return answers


_SAMPLING = ("max_new_tokens", "do_sample", "temperature", "top_p", "top_k", "repetition_penalty", "seed")


def _outputs(answers: Sequence[Answer]) -> list[InferOutput]:
    def spans(answer: Answer) -> str:
        found = answer.grounding.spans if answer.grounding else ()
        return json.dumps([{"start": span.start, "end": span.end} for span in found])

    columns: dict[str, tuple[str, list[Any]]] = {
        "response": ("BYTES", [answer.response for answer in answers]),
        "supported": ("BOOL", [bool(answer.grounding and answer.grounding.supported) for answer in answers]),
        "spans": ("BYTES", [spans(answer) for answer in answers]),
        "trace_id": ("BYTES", [str(answer.trace_id) for answer in answers]),
    }
    return [InferOutput(name, [len(answers)], kind, data) for name, (kind, data) in columns.items()]
