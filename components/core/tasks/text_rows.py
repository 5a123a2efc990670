"""What the tasks on one text, or on a pair of texts, have in common."""

from components.core.tasks.fields import Parser, parse_id, parse_optional_text, parse_text
from components.core.tasks.seam import Row

TEXT_FIELDS: dict[str, Parser] = {"id": parse_id, "text": parse_text, "text_pair": parse_optional_text}


def text_key(row: Row) -> str:
    """The text, and its pair on a second line, without differences in case and whitespace."""
    return "\n".join(" ".join(row[name].casefold().split()) for name in ("text", "text_pair") if name in row)
