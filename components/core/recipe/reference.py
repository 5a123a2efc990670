"""The recipe reference in docs/recipe.md, made from the types: `python -m components.core.recipe.reference`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from components.core.recipe.section import Section
from components.core.recipe.sections import Recipe

REFERENCE = Path(__file__).resolve().parents[3] / "docs" / "recipe.md"

HEAD = """# Recipe reference

Made from the types by `make docs`; a test keeps it current. A recipe is a YAML file of these sections; any key can also
be given on the command line as `section.key=value`. Precedence: defaults < model-specific defaults (`recipes/models/`)
< recipe file < command line. An unknown key is an error.
"""


def reference() -> str:
    """The whole reference as Markdown."""
    return HEAD + "".join(_section(name, field) for name, field in Recipe.model_fields.items())


def _section(name: str, field: FieldInfo) -> str:
    section = cast(type[Section], field.annotation)
    doc = (section.__doc__ or "").strip().splitlines()[0]
    return f"\n## {name}\n\n{doc}\n\n{table(section.model_fields)}"


def table(fields: Mapping[str, FieldInfo]) -> str:
    """A Markdown table of fields: key, type with limits, default, meaning."""
    return "| key | type | default | meaning |\n|---|---|---|---|\n" + "".join(_row(*each) for each in fields.items())


def _row(key: str, field: FieldInfo) -> str:
    limits = ", ".join(_limits(field))
    kind = _type_name(field.annotation) + (f", {limits}" if limits else "")
    default = "none" if field.default is None else str(field.default).replace("\n", "\\n")
    cells = (f"`{key}`", kind, "required" if field.is_required() else f"`{default}`", field.description or "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _type_name(annotation: Any) -> str:
    arguments = get_args(annotation)
    if annotation is type(None):
        return "none"
    if not arguments:
        return str(getattr(annotation, "__name__", annotation))
    origin = get_origin(annotation)
    if origin in (list, dict):
        return f"{origin.__name__} of {' to '.join(_type_name(argument) for argument in arguments)}"
    if hasattr(annotation, "__metadata__"):
        return _type_name(arguments[0])
    if all(isinstance(argument, str) for argument in arguments):
        return " or ".join(f"`{argument}`" for argument in arguments)
    return " or ".join(_type_name(argument) for argument in arguments)


def _limits(field: FieldInfo) -> Iterator[str]:
    signs = {Ge: (">=", "ge"), Gt: (">", "gt"), Le: ("<=", "le"), Lt: ("<", "lt")}
    for limit in field.metadata:
        if type(limit) in signs:
            sign, attribute = signs[type(limit)]
            yield f"{sign} {getattr(limit, attribute)}"


if __name__ == "__main__":
    REFERENCE.write_text(reference(), encoding="utf-8")
