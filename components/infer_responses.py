"""Step: batch inference of a round."""

from kfp import dsl

from components._step import step


@step
def infer_responses(
    number: int,
    reference: dict,
    model: dict,
    inference: dict,
    reference_version: str,
    output_responses: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    model_dir: dsl.Input[dsl.Model] = None,
):
    """Answer the loop's test rows with the base model, or with the one in `model_dir`."""
    from pathlib import Path

    from components._step import log_metrics
    from components.core.errors import user_errors
    from components.core.progress import log_to_stdout

    log_to_stdout()
    with user_errors():
        from components.core.loop import ReferenceConfig
        from components.core.loop.answering import infer_round
        from components.core.recipe import ModelConfig
        from components.core.settings import load_settings

        result = infer_round(
            number,
            ReferenceConfig.model_validate(reference),
            ModelConfig.model_validate(model),
            inference,
            Path(model_dir.path) if model_dir else None,
            Path(output_responses.path),
            load_settings(),
        )
        log_metrics(metrics, {"rows": result.rows})
