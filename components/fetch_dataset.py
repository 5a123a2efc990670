"""Step: data fetching."""

from kfp import dsl

from components._step import step


@step
def fetch_dataset(
    task: dict,
    data: dict,
    source_version: str,
    output_dataset: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    rows: dsl.Input[dsl.Dataset] = None,
):
    """Fetch the dataset, check every row against the task's contract, write JSON lines and a report.

    `rows` is the folder of an earlier step that takes the place of `data.dataset_id`.
    """
    import shutil
    from pathlib import Path

    from components._step import log_metrics
    from components.core.errors import user_errors
    from components.core.progress import log_to_stdout

    log_to_stdout()
    with user_errors():
        from components.core.data import prepare_dataset
        from components.core.recipe import DataConfig, TaskConfig
        from components.core.settings import load_settings

        folder = Path(output_dataset.path)
        config = DataConfig.model_validate(data)
        if rows:
            config = config.model_copy(update={"dataset_id": rows.path})
        result = prepare_dataset(config, TaskConfig.model_validate(task), folder, load_settings(), source_version)
        shutil.copyfile(folder / "report.html", report.path)
        log_metrics(metrics, result.metrics())
