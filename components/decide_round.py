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
) -> NamedTuple("Decision", [("decision", str), ("rows_before", int), ("rows_left", int)]):
    """Add a round to those before, say whether another one follows, and write the loop's report.

    `rows_before` are generated so far, and `rows_left` may follow; below 0 there is no limit.
    """
    import shutil
    from pathlib import Path

    from components._step import log_metrics
    from components.core.errors import user_errors
    from components.core.progress import log_to_stdout

    log_to_stdout()
    with user_errors():
        from components.core.loop import LoopConfig
        from components.core.loop.rounds import close_round, rows_left

        folder, config = Path(output_history.path), LoopConfig.model_validate(loop)
        found = close_round(
            number,
            config,
            Path(judgements.path),
            Path(history.path) if history else None,
            Path(generated.path) if generated else None,
            Path(dataset.path) if dataset else None,
            folder,
        )
        shutil.copyfile(folder / "report.html", report.path)
        shutil.copyfile(folder / "report.md", summary.path)
        log_metrics(metrics, found.flat_metrics())
        return (found.decision, found.last.synthetic_rows, rows_left(config, found))
