"""Step: the training rows of a round."""

from kfp import dsl

from components._step import step


@step
def merge_datasets(
    reference: dict,
    reference_version: str,
    generated: dsl.Input[dsl.Dataset],
    output_merged: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    rows: dsl.Input[dsl.Dataset] = None,
):
    """Put the new rows below the training rows so far (`rows`, else the reference's); the test rows stay the same."""
    from pathlib import Path

    from components._step import log_metrics
    from components.core.errors import user_errors
    from components.core.progress import log_to_stdout

    log_to_stdout()
    with user_errors():
        from components.core.loop import ReferenceConfig
        from components.core.loop.growing import merge_round
        from components.core.settings import load_settings

        result = merge_round(
            ReferenceConfig.model_validate(reference),
            Path(generated.path),
            Path(rows.path) if rows else None,
            Path(output_merged.path),
            load_settings(),
        )
        log_metrics(metrics, {"train_rows": result.rows, "test_rows": result.test_rows})
