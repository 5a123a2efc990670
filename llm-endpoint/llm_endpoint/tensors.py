"""Texts in the tensors of KServe's V2 protocol."""

from typing import Any

from kserve import InferInput, InferRequest

from llm_endpoint.errors import InvalidInput


def read_texts(request: InferRequest, name: str) -> list[str]:
    """The texts of an input, in order, whatever its shape.

    Raises:
        InvalidInput: If it is missing, of another type or no text.
    """
    found: InferInput | None = request.get_input_by_name(name)
    if found is None:
        raise InvalidInput(f"the input {name!r} is missing: send it as BYTES.")
    if found.datatype != "BYTES":
        raise InvalidInput(f"the input {name!r} is {found.datatype}; send BYTES.")
    texts: list[str] = []
    _flatten(found.data, name, texts)
    return texts


def _flatten(value: Any, name: str, texts: list[str]) -> None:
    if isinstance(value, bytes):
        try:
            texts.append(value.decode())
        except UnicodeDecodeError as error:
            raise InvalidInput(f"the input {name!r} is not UTF-8.") from error
    elif isinstance(value, str):
        texts.append(value)
    elif isinstance(value, list | tuple):
        for item in value:
            _flatten(item, name, texts)
    else:
        raise InvalidInput(f"the input {name!r} holds {type(value).__name__}; send text.")
