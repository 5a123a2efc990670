"""Components of the task catalogue, made from the task specification: `preprocess_ner`, `finetune_regression`, ...

A step such as `preprocess_task` takes the name of a task and a dictionary of parameters. A component has each parameter
as an input of its own, with type, default and description. So its source is written here, from the step's own body and
from the types of the parameters; KFP reads it like any other function.
"""

import ast
import inspect
import linecache
import textwrap
from collections.abc import Callable, Iterator, Mapping
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from components._step import step
from components.core.catalogue.steps import VERBS, fields_of
from components.core.catalogue.task_names import CORE_TASKS
from components.deploy_task import deploy_task
from components.evaluate_task import evaluate_task
from components.finetune_task import finetune_task
from components.inference_task import inference_task
from components.preprocess_task import preprocess_task
from components.register_task import register_task


class Input(NamedTuple):
    """One parameter as a component has it."""

    type: str
    default: Any
    """`inspect.Parameter.empty` where it must be given."""
    description: str


def inputs_of(verb: str, task: str) -> dict[str, Input]:
    """The parameters of a component; what may be nothing is an empty text, since a pipeline knows no null."""
    found = {}
    for name, field in fields_of(verb, task).items():
        kind, optional = _plain_type(field.annotation)
        default = inspect.Parameter.empty if field.is_required() else field.default
        if optional and default is None:
            kind, default = "str", ""
        found[name] = Input(kind, default, " ".join((field.description or "").split()))
    return found


def task_component(verb: str, task: str) -> Any:
    """The KFP component `<verb>_<task>`."""
    return step(_function(f"{verb}_{task}", _STEPS[verb].python_func, task, inputs_of(verb, task)))


def task_components() -> dict[str, Callable[[], Any]]:
    """How to make each component, by its name."""

    def maker(verb: str, task: str) -> Callable[[], Any]:
        return lambda: task_component(verb, task)

    return {f"{verb}_{task}": maker(verb, task) for task in CORE_TASKS for verb in VERBS}


_STEPS: dict[str, Any] = {
    "preprocess": preprocess_task,
    "finetune": finetune_task,
    "inference": inference_task,
    "evaluate": evaluate_task,
    "register": register_task,
    "deploy": deploy_task,
}


def _plain_type(annotation: Any) -> tuple[str, bool]:
    """KFP's type of a field, and whether it may be none."""
    if get_origin(annotation) in (Union, UnionType):
        kinds = [_plain_type(each)[0] for each in get_args(annotation) if each is not type(None)]
        return kinds[0], len(kinds) < len(get_args(annotation))
    if get_origin(annotation) is Literal:
        return type(get_args(annotation)[0]).__name__, False
    if hasattr(annotation, "__metadata__"):
        return _plain_type(get_args(annotation)[0])
    return str(getattr(annotation, "__name__", "str")), False


def _function(name: str, template: Callable[..., Any], task: str, inputs: Mapping[str, Input]) -> Callable[..., Any]:
    """A function of the template's body with one argument for each parameter."""
    source = _source(name, template, task, inputs)
    file = f"<component {name}>"
    # where inspect, and so KFP, looks for the source of what has no file
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    scope = dict(template.__globals__) | {"__name__": f"components.{name}"}
    exec(compile(source, file, "exec"), scope)  # noqa: S102 - our own text, from our own types
    made: Callable[..., Any] = scope[name]
    return made


def _source(name: str, template: Callable[..., Any], task: str, inputs: Mapping[str, Input]) -> str:
    text = textwrap.dedent(inspect.getsource(template))
    node = next(each for each in ast.parse(text).body if isinstance(each, ast.FunctionDef))
    first = node.body[1]  # behind the docstring
    body = textwrap.dedent("\n".join(text.splitlines()[first.lineno - 1 : node.end_lineno]))
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    lines = [f"def {name}(", *(f"    {argument}," for argument in _arguments(node, inputs)), f"){returns}:"]
    given = ", ".join(f"{key!r}: {key}" for key in inputs)
    inner = [f'"""{_documentation(node, inputs)}"""', f"task = {task!r}", f"parameters = {{{given}}}", body]
    return "\n".join(lines) + "\n" + textwrap.indent("\n".join(inner), "    ") + "\n"


def _arguments(node: ast.FunctionDef, inputs: Mapping[str, Input]) -> Iterator[str]:
    """Artifacts and what must be given first, then what has a default."""
    own = [each for each in node.args.args if each.arg not in ("task", "parameters")]
    defaults = [ast.unparse(each) for each in node.args.defaults]
    plain = own[: len(own) - len(defaults)]
    yield from (ast.unparse(each) for each in plain)
    yield from (f"{key}: {each.type}" for key, each in inputs.items() if each.default is inspect.Parameter.empty)
    for key, each in inputs.items():
        if each.default is not inspect.Parameter.empty:
            yield f"{key}: {each.type} = {each.default!r}"
    yield from (f"{ast.unparse(each)} = {value}" for each, value in zip(own[len(plain) :], defaults, strict=True))


def _documentation(node: ast.FunctionDef, inputs: Mapping[str, Input]) -> str:
    said = [f"    {key}: {each.description}" for key, each in inputs.items()]
    return "\n".join([ast.get_docstring(node) or "", "", "Args:", *said, ""])
