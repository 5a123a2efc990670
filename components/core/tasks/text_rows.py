"""What the tasks on one text, or on a pair of texts, have in common."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.core.tasks.fields import Parser, parse_fields, parse_id, parse_optional_text, parse_text
from components.core.tasks.heads.encoding import EncodedInputs, InputEncoder
from components.core.tasks.heads.seam import HeadKind
from components.core.tasks.seam import Finding, Row

TEXT_FIELDS: dict[str, Parser] = {"id": parse_id, "text": parse_text, "text_pair": parse_optional_text}


class TextInput:
    """A text, or a pair of texts, that a sequence classification head reads."""

    optional_columns: Sequence[str] = ("id", "text_pair")
    text_columns: Sequence[str] = ("text", "text_pair")
    input_columns: Sequence[str] = ("text",)
    head_kind: HeadKind = "sequence"

    def parse_input(self, raw: Mapping[str, Any]) -> tuple[Row | None, list[Finding]]:
        """Check the texts of one raw row."""
        return parse_fields(raw, TEXT_FIELDS)

    def row_key(self, row: Row) -> str:
        """The text, and its pair on a second line, without differences in case and whitespace."""
        return "\n".join(" ".join(row[name].casefold().split()) for name in ("text", "text_pair") if name in row)

    def encode(self, rows: Sequence[Row], encoder: InputEncoder) -> EncodedInputs:
        """Token ids of texts or pairs."""
        return encoder.encode_texts([row["text"] for row in rows], [row.get("text_pair") for row in rows])
