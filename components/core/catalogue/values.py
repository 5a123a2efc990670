"""Types of parameter values.

A pipeline hands an integer over as 3.0 and nothing as "": both are given back as meant.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

ALL = -1
"""Stands for no limit of one's own: all epochs, every checkpoint, the model's maximum."""


class Parameters(BaseModel):
    """Base of all parameter groups: immutable, an unknown key is an error, and no number is NaN or infinite."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


def _whole_number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("is true or false; give a whole number")
    if isinstance(value, str) and value.strip().removeprefix("-").isdigit():
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _all_or_some(value: int) -> int:
    if value != ALL and value < 1:
        raise ValueError(f"must be {ALL} or at least 1")
    return value


def _nothing_if_empty(value: Any) -> Any:
    return None if value == "" else value


def _amount_of_memory(value: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]*([kmgt]|[KMGT]i)?", value):
        raise ValueError("is not an amount of memory; write it like 5g")
    return value


Integer = Annotated[int, BeforeValidator(_whole_number)]
Count = Annotated[Integer, Field(ge=1)]
Whole = Annotated[Integer, Field(ge=0)]
Seed = Annotated[Integer, Field(ge=0, lt=2**32)]
AllOr = Annotated[Integer, AfterValidator(_all_or_some)]
"""-1, or a number from 1 on."""
Fraction = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Bits = Annotated[Literal[32, 16, 8, 4], BeforeValidator(_whole_number)]
Stage = Annotated[Literal[2, 3], BeforeValidator(_whole_number)]
Key = Annotated[str, Field(min_length=1)]
OptionalText = Annotated[Key | None, BeforeValidator(_nothing_if_empty)]
"""Text, or nothing; a pipeline writes nothing as ""."""
Memory = Annotated[str, AfterValidator(_amount_of_memory)]
"""Such as 5g, where k, m, g and t are binary."""
