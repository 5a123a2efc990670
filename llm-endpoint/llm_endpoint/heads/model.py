"""V1 `:predict` and V2 `infer` of a model with a head."""

import json
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from kserve import InferOutput, InferRequest, InferResponse

from llm_endpoint.errors import InvalidInput
from llm_endpoint.heads.head import Head
from llm_endpoint.heads.predicting import Predicting
from llm_endpoint.heads.read_out import Prediction
from llm_endpoint.heads.rows import Row, check_count, read_instances, read_row, read_tokens
from llm_endpoint.tensors import read_texts

Read = Callable[[Prediction], Any]


class HeadModel:
    """Answers in KServe's protocols.

    Args:
        name: In the paths.
        predicting: Of the model.
    """

    def __init__(self, name: str, predicting: Predicting) -> None:
        self._name, self._predicting, self._head = name, predicting, predicting.head

    def get_input_types(self) -> list[dict[str, Any]]:
        """Inputs of V2; for words `text` or `tokens`."""
        names = ["text", "tokens"] if self._head.task == "ner" else ["text"] + ["text_pair"] * self._head.pair
        return [{"name": name, "datatype": "BYTES", "shape": [-1]} for name in names]

    def get_output_types(self) -> list[dict[str, Any]]:
        """Outputs of V2."""
        return [
            {"name": name, "datatype": kind, "shape": [-1, *shape]} for name, kind, shape, _ in _columns(self._head)
        ]

    async def predict(self, payload: Any) -> Any:
        """V1: {"instances": [...]} -> {"predictions": [...]}; V2: tensors."""
        if isinstance(payload, InferRequest):
            return await self._infer(payload)
        rows = read_instances(payload.get("instances") if isinstance(payload, dict) else None, self._head)
        predicted = await self._predicting.predict(rows, "kserve_v1")
        info = self._predicting.engine.info
        return {
            "predictions": predicted.predictions,
            "model": info.model,
            "revision": info.revision,
            "trace_id": str(predicted.trace_id),
        }

    async def _infer(self, request: InferRequest) -> InferResponse:
        rows = self._rows(request)
        predicted = await self._predicting.predict(rows, "kserve_v2")
        outputs = [
            _output(name, kind, shape, [read(prediction) for prediction in predicted.predictions])
            for name, kind, shape, read in _columns(self._head)
        ]
        return InferResponse(
            response_id=request.id or str(uuid4()),
            model_name=self._name,
            model_version=self._predicting.engine.info.revision,
            infer_outputs=outputs,
            requested_outputs=request.request_outputs,
            use_binary_outputs=request.use_binary_outputs,
        )

    def _rows(self, request: InferRequest) -> list[Row]:
        words = self._head.task == "ner" and request.get_input_by_name("tokens") is not None
        name = "tokens" if words else "text"
        columns: dict[str, list[Any]] = {name: read_texts(request, name)}
        if not words and request.get_input_by_name("text_pair") is not None:
            columns["text_pair"] = read_texts(request, "text_pair")
        lengths = {len(values) for values in columns.values()}
        if len(lengths) > 1:
            raise InvalidInput("the inputs 'text' and 'text_pair' hold different numbers of rows.")
        check_count(lengths.pop())
        if words:
            columns[name] = [read_tokens(text, f"{name}.{number}") for number, text in enumerate(columns[name])]
        rows = zip(*columns.values(), strict=True)
        return [
            read_row(dict(zip(columns, values, strict=True)), self._head, f"inputs.{number}")
            for number, values in enumerate(rows)
        ]


def _columns(head: Head) -> list[tuple[str, str, list[int], Read]]:
    """Name, type, shape after the rows, and value of each output."""
    probabilities: tuple[str, str, list[int], Read] = (
        "probabilities",
        "FP64",
        [head.outputs],
        lambda prediction: list(prediction["probabilities"].values()),
    )
    columns: dict[str, list[tuple[str, str, list[int], Read]]] = {
        "single_label": [
            ("label", "BYTES", [], lambda prediction: prediction["label"]),
            ("score", "FP64", [], lambda prediction: prediction["score"]),
            probabilities,
        ],
        "multi_label": [("labels", "BYTES", [], lambda prediction: _json(prediction["labels"])), probabilities],
        "regression": [("value", "FP64", [], lambda prediction: prediction["value"])],
        "ner": [
            ("tags", "BYTES", [], lambda prediction: _json(prediction["tags"])),
            ("entities", "BYTES", [], lambda prediction: _json(prediction["entities"])),
        ],
    }
    return columns[head.task]


def _output(name: str, kind: str, shape: Sequence[int], values: list[Any]) -> InferOutput:
    flat = [number for row in values for number in row] if shape else values
    return InferOutput(name, [len(values), *shape], kind, flat)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
