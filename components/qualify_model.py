"""Step: whether the last model of a loop may stand in for the service LLM."""

from typing import NamedTuple

from kfp import dsl

from components._step import step


@step
def qualify_model(
    history: dsl.Input[dsl.Artifact],
    output_evaluation: dsl.Output[dsl.Artifact],
    evaluation: dsl.Input[dsl.Artifact] = None,
) -> NamedTuple("Qualification", [("verdict", str), ("outcome", dict), ("registration", dict)]):
    """Put the judge's word into the model's evaluation; without one, nothing was trained and nothing is registered.

    `outcome` says how the loop ended; `registration` is the empty one of a loop that trained nothing.
    """
    from dataclasses import asdict
    from pathlib import Path

    from components.core.errors import user_errors
    from components.core.progress import log_to_stdout

    log_to_stdout()
    with user_errors():
        from components.core.loop import read_history
        from components.core.loop.qualifying import qualify

        found = qualify(
            read_history(Path(history.path)),
            Path(evaluation.path) if evaluation else None,
            Path(output_evaluation.path),
        )
        print(found.headline)
        outcome = {**asdict(found), "history": history.path}
        verdict = "passed" if found.qualified else "refused"
        return (verdict, outcome, {"registered": {}, "published": {}})
