"""What the OpenAPI page says of a model with a head."""

from typing import Any

from llm_endpoint.heads.head import Head
from llm_endpoint.heads.rows import MOST_ROWS

_TEXT = {"type": "string", "minLength": 1}
_NUMBER = {"type": "number"}
_QUESTIONS = ("/generate", "/score", "/feedback", "/openai/")


def describe_head(document: dict[str, Any], head: Head, served_name: str) -> None:
    """Leave the routes for questions out of an OpenAPI document, and describe the bodies of V1 and V2."""
    paths = document["paths"]
    for path in [path for path in paths if path.startswith(_QUESTIONS)]:
        del paths[path]
    predict = paths["/v1/models/{model_name}:predict"]["post"]
    predict["summary"] = f"Predict ({head.task})"
    predict["requestBody"] = {"required": True, "content": {"application/json": _with_example(head)}}
    answer = _object(
        predictions={"type": "array", "items": _prediction(head)},
        model={"type": "string"},
        revision={"type": "string"},
        trace_id={"type": "string", "format": "uuid"},
    )
    predict["responses"]["200"] = {
        "description": "A prediction for each instance",
        "content": {"application/json": {"schema": answer}},
    }
    inputs = "`text` or `tokens` (each a JSON list)" if head.task == "ner" else "`text`"
    pair = ", and `text_pair` for pairs" if head.pair else ""
    outputs = ", ".join(f"`{name}`" for name in _outputs(head))
    infer = paths["/v2/models/{model_name}/infer"]["post"]
    infer["summary"] = f"Predict ({head.task}, V2)"
    infer["description"] = f"Inputs, BYTES: {inputs}{pair}. Outputs: {outputs}."
    for item in paths.values():
        for operation in item.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"] == "model_name":
                    parameter["schema"] |= {"enum": [served_name]}


def _with_example(head: Head) -> dict[str, Any]:
    instance: dict[str, Any] = {"text": "Ada Morrow keeps the light on Tern Island."}
    texts: dict[str, Any] = {"type": "object", "properties": {"text": _TEXT}, "required": ["text"]}
    if head.pair:
        instance["text_pair"] = "A light is kept."
        texts["properties"]["text_pair"] = _TEXT
    kinds = [texts, _TEXT]
    if head.task == "ner":
        words = {"type": "array", "items": {"type": "string"}, "minItems": 1}
        kinds.insert(1, {"type": "object", "properties": {"tokens": words}, "required": ["tokens"]})
    instances = {"type": "array", "items": {"anyOf": kinds}, "minItems": 1, "maxItems": MOST_ROWS}
    return {"schema": _object(instances=instances), "example": {"instances": [instance]}}


def _prediction(head: Head) -> dict[str, Any]:
    return _object(**_outputs(head), cut={"type": "boolean", "description": "A part of the text was left out."})


def _outputs(head: Head) -> dict[str, Any]:
    label = {"type": "string", "enum": head.labels}
    probabilities = _object(**dict.fromkeys(head.labels, _NUMBER))
    place = {"type": "integer", "minimum": 0}
    entity = _object(
        type={"type": "string"},
        text={"type": "string"},
        start_token=place,
        end_token=place,
        start=place,
        end=place,
        score=_NUMBER,
    )
    outputs: dict[str, dict[str, Any]] = {
        "single_label": {"label": label, "score": _NUMBER, "probabilities": probabilities},
        "multi_label": {"labels": {"type": "array", "items": label}, "probabilities": probabilities},
        "regression": {"value": _NUMBER},
        "ner": {"tags": {"type": "array", "items": label}, "entities": {"type": "array", "items": entity}},
    }
    return outputs[head.task]


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}
