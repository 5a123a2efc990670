"""Step: preprocessing for a task of the catalogue; published as preprocess_<task>."""

from kfp import dsl

from components._step import step


@step
def preprocess_task(
    task: str,
    parameters: dict,
    output_dir: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    source_version: str = "",
):
    """Check raw rows, cut missing splits, tokenize, and lay the pretrained model beside them."""
    import shutil
    from pathlib import Path

    from components._step import log_metrics
    from components.core.errors import user_errors
    from components.core.progress import log_to_stdout

    log_to_stdout()
    with user_errors():
        from components.core.catalogue.sources import read_preprocess
        from components.core.heads.preprocess import preprocess
        from components.core.settings import load_settings

        tokenization, source = read_preprocess(task, parameters)
        folder = Path(output_dir.path)
        data, model = source.data(tokenization.columns()), source.model()
        result = preprocess(task, tokenization, data, model, folder, load_settings(), source_version)
        shutil.copyfile(folder / "report.html", report.path)
        log_metrics(metrics, result.metrics())
