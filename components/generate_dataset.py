"""Step: new training rows of a round."""

from kfp import dsl

from components._step import step


@step
def generate_dataset(
    number: int,
    reference: dict,
    data_gen: dict,
    reference_version: str,
    rows_before: int,
    rows_left: int,
    judgements: dsl.Input[dsl.Dataset],
    output_generated: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    rows: dsl.Input[dsl.Dataset] = None,
):
    """Have a service LLM write rows like those so far (`rows`, else the reference's) and those that failed."""
    from pathlib import Path

    from components._step import log_metrics
    from components.core.errors import user_errors
    from components.core.progress import log_to_stdout

    log_to_stdout()
    with user_errors():
        from components.core.loop import ReferenceConfig
        from components.core.loop.growing import generate_round
        from components.core.settings import load_settings

        result = generate_round(
            number,
            ReferenceConfig.model_validate(reference),
            data_gen,
            rows_before,
            rows_left,
            Path(judgements.path),
            Path(rows.path) if rows else None,
            Path(output_generated.path),
            load_settings(),
        )
        log_metrics(metrics, {"rows": result.rows, "calls": result.usage.calls, "usd": result.usage.usd})
