"""Step: the decision after a round."""

from typing import NamedTuple

from kfp import dsl

from components._step import step


@step
def decide_round(
    number: int,
    loop: dict,
    judgements: dsl.Input[dsl.Dataset],
    output_history: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    summary: dsl.Output[dsl.Markdown],
    metrics: dsl.Output[dsl.Metrics],
    history: dsl.Input[dsl.Artifact] = None,
    generated: dsl.Input[dsl.Dataset] = None,
    dataset: dsl.Input[dsl.Dataset] = None,
) -> NamedTuple("Decision", [("decision", str)]):
    """Add a round to those before, say whether another one follows, and write the loop's report."""
    import shutil
    from pathlib import Path

    from components._step import log_metrics
    from components.core.errors import user_errors
    from components.core.progress import log_to_stdout

    log_to_stdout()
    with user_errors():
        from components.core.loop import LoopConfig
        from components.core.loop.rounds import close_round

        folder = Path(output_history.path)
        found = close_round(
            number,
            LoopConfig.model_validate(loop),
            Path(judgements.path),
            *(Path(each.path) if each else None for each in (history, generated, dataset)),
            folder,
        )
        shutil.copyfile(folder / "report.html", report.path)
        shutil.copyfile(folder / "report.md", summary.path)
        log_metrics(metrics, found.flat_metrics())
        return (found.decision,)
