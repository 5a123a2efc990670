"""One file per task; `get_task` finds it by the name in the recipe.

The tasks with a head compute with numpy, which a command that only reads a recipe does without: they are imported when
they are asked for.
"""

from typing import TYPE_CHECKING, Any

from components.core.errors import ConfigError
from components.core.recipe import TaskConfig
from components.core.tasks.chat_completion import ChatCompletion
from components.core.tasks.context_qa import ContextQA
from components.core.tasks.prompt import Prompt, read_prompt, set_chat_template, write_prompt
from components.core.tasks.seam import Encoded, EncodedPrompts, Finding, Row, RowContract, Task
from components.core.tasks.views import RowView, group_of, references_of, view_row

if TYPE_CHECKING:
    from components.core.tasks.heads.seam import HeadTask

__all__ = [
    "Encoded",
    "EncodedPrompts",
    "Finding",
    "HeadTask",
    "Prompt",
    "Row",
    "RowContract",
    "RowView",
    "Task",
    "get_generative_task",
    "get_head_task",
    "get_task",
    "group_of",
    "read_prompt",
    "references_of",
    "set_chat_template",
    "view_row",
    "write_prompt",
]


def get_task(config: TaskConfig) -> RowContract:
    """The task that a recipe names."""
    if config.name == "chat_completion":
        return ChatCompletion(config)
    return ContextQA(config) if config.name == "context_qa" else get_head_task(config.name)


def get_generative_task(config: TaskConfig) -> Task:
    """The task that a recipe names, if its model generates text.

    Raises:
        ConfigError: If it is one that a classification or regression head answers.
    """
    task = get_task(config)
    if not isinstance(task, ContextQA | ChatCompletion):
        raise ConfigError(
            f"task.name={config.name} generates no text. Use task.name=context_qa or task.name=chat_completion here."
        )
    return task


def get_head_task(name: str) -> "HeadTask":
    """The task of that name (`single_label`, `multi_label`, `regression`, `ner`), which a head answers.

    Raises:
        ConfigError: If there is none.
    """
    from components.core.tasks.multi_label import MultiLabel
    from components.core.tasks.ner import NamedEntities
    from components.core.tasks.regression import Regression
    from components.core.tasks.single_label import SingleLabel

    tasks: dict[str, HeadTask] = {
        task.name: task for task in (SingleLabel(), MultiLabel(), Regression(), NamedEntities())
    }
    if name not in tasks:
        raise ConfigError(f"task {name!r} has no classification or regression head. Choose one of: {', '.join(tasks)}.")
    return tasks[name]


def __getattr__(name: str) -> Any:
    if name == "HeadTask":
        from components.core.tasks.heads.seam import HeadTask

        return HeadTask
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
