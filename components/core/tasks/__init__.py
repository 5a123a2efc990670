"""One file per task; `get_task` finds it by the name in the recipe."""

from components.core.recipe import TaskConfig
from components.core.tasks.context_qa import ContextQA
from components.core.tasks.prompt import Prompt, read_prompt, write_prompt
from components.core.tasks.seam import Encoded, EncodedPrompts, Finding, Row, Task

__all__ = ["Encoded", "EncodedPrompts", "Finding", "Prompt", "Row", "Task", "get_task", "read_prompt", "write_prompt"]


def get_task(config: TaskConfig) -> Task:
    """The task that a recipe names."""
    return {"context_qa": ContextQA}[config.name](config)
