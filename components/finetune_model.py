"""Step: model fine-tuning."""

from kfp import dsl

from components._step import step


@step
def finetune_model(
    task: dict,
    model: dict,
    training: dict,
    lora: dict,
    tokens: dsl.Input[dsl.Dataset],
    output_model_dir: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
):
    """Fine-tune the base model on the tokens; a tried-again step goes on from its last complete checkpoint."""
    from pathlib import Path

    from components._step import log_metrics
    from components.core.errors import user_errors
    from components.core.progress import log_to_stdout

    log_to_stdout()
    with user_errors():
        from components.core.recipe import LoraConfig, ModelConfig, TaskConfig, TrainingConfig
        from components.core.registry.hub import check_write_access
        from components.core.settings import load_settings
        from components.core.training import finetune

        settings = load_settings()
        check_write_access(settings)
        result = finetune(
            TaskConfig.model_validate(task),
            ModelConfig.model_validate(model),
            TrainingConfig.model_validate(training),
            LoraConfig.model_validate(lora),
            Path(tokens.path),
            Path(output_model_dir.path),
            settings,
        )
        log_metrics(metrics, result.metrics())
