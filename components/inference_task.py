"""Step: batch inference for a task of the catalogue; published as inference_<task>."""

from kfp import dsl

from components._step import step


@step
def inference_task(
    task: str,
    parameters: dict,
    model_path: dsl.Input[dsl.Model],
    test_file: dsl.Input[dsl.Dataset],
    output_dir: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
):
    """Predict every row of a file (or of the test split of a preprocessed folder), one line each in the same order."""
    from pathlib import Path

    from components._step import log_metrics
    from components.core.errors import user_errors
    from components.core.progress import log_to_stdout

    log_to_stdout()
    with user_errors():
        from components.core.catalogue import InferenceParameters, read_parameters
        from components.core.heads.inference import run_inference
        from components.core.settings import load_settings

        paths = {"model_path": model_path.path, "test_file": test_file.path}
        result = run_inference(
            read_parameters(InferenceParameters, parameters | paths), Path(output_dir.path), load_settings()
        )
        log_metrics(metrics, result.metrics())
