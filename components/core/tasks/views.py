"""What a person is shown of a row, and by what rows belong together: the same for questions and conversations."""

from dataclasses import dataclass

from components.core.tasks.seam import Row


@dataclass(frozen=True)
class RowView:
    """One row of a task that generates text."""

    question: str
    """What is asked last."""
    context: str
    """What it is asked about, or what was said before."""
    references: list[str]
    """Right answers; none where the context holds none."""
    starts: list[int]
    """Where each reference stands in the context; -1 where it does not."""


def view_row(row: Row) -> RowView:
    """View a canonical row.

    Raises:
        KeyError, TypeError, IndexError: If it is not one.
    """
    if "messages" not in row:
        answers = row["answers"]
        return RowView(row["question"], row["context"], answers["text"], answers["answer_start"])
    *before, question, answer = row["messages"]
    context = "\n\n".join(f"{message['role']}: {message['content']}" for message in before)
    return RowView(question["content"], context, [answer["content"]], [-1])


def references_of(row: Row) -> list[str]:
    """Right answers of a canonical row."""
    answers: list[str] = [row["messages"][-1]["content"]] if "messages" in row else row["answers"]["text"]
    return answers


def group_of(row: Row) -> str:
    """Text of a canonical row; rows with the same one rise and fall together."""
    return str(row["prompt"] if "messages" in row else row["context"])
