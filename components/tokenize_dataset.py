"""Step: data tokenization."""

from kfp import dsl

from components._step import step


@step
def tokenize_dataset(
    task: dict,
    model: dict,
    tokens: dict,
    dataset: dsl.Input[dsl.Dataset],
    output_tokens: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
):
    """Render, tokenize, mask and pack the rows with the base model's tokenizer."""
    import shutil
    from pathlib import Path

    from components._step import log_metrics
    from components.core.errors import user_errors
    from components.core.progress import log_to_stdout

    log_to_stdout()
    with user_errors():
        from components.core.data.tokens import tokenize_dataset as tokenize
        from components.core.recipe import ModelConfig, TaskConfig, TokensConfig
        from components.core.settings import load_settings

        folder = Path(output_tokens.path)
        result = tokenize(
            TaskConfig.model_validate(task),
            ModelConfig.model_validate(model),
            TokensConfig.model_validate(tokens),
            Path(dataset.path),
            folder,
            load_settings(),
        )
        shutil.copyfile(folder / "report.html", report.path)
        log_metrics(metrics, result.metrics())
