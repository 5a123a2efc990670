"""Step: fine-tuning for a task of the catalogue; published as finetune_<task>."""

from kfp import dsl

from components._step import step


@step
def finetune_task(
    task: str,
    parameters: dict,
    dataset_path: dsl.Input[dsl.Dataset],
    output_dir: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
):
    """Fine-tune the pretrained model with the task's head, and keep the best checkpoint."""
    from pathlib import Path

    from components._step import log_metrics
    from components.core.errors import user_errors
    from components.core.progress import log_to_stdout

    log_to_stdout()
    with user_errors():
        from components.core.catalogue import FINETUNE, read_parameters
        from components.core.catalogue.task_names import CORE_TASKS
        from components.core.heads.training import finetune_head
        from components.core.registry.hub import check_write_access
        from components.core.settings import load_settings

        settings = load_settings()
        check_write_access(settings)
        values = read_parameters(FINETUNE[task], parameters)
        folders = (Path(dataset_path.path), Path(output_dir.path))
        result = finetune_head(CORE_TASKS[task], values, *folders, settings)
        log_metrics(metrics, result.metrics())
