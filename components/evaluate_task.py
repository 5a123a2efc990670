"""Step: evaluation and gate for a task of the catalogue; published as evaluate_<task>."""

from typing import NamedTuple

from kfp import dsl

from components._step import step


@step
def evaluate_task(
    task: str,
    parameters: dict,
    dataset_path: dsl.Input[dsl.Dataset],
    model_path: dsl.Input[dsl.Model],
    predictions: dsl.Input[dsl.Artifact],
    output_evaluation: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    summary: dsl.Output[dsl.Markdown],
    metrics: dsl.Output[dsl.Metrics],
) -> NamedTuple("Verdict", [("verdict", str)]):
    """Compare the predictions with the majority answer, a bag-of-words model and the champion, and judge the gain."""
    import shutil
    from pathlib import Path

    from components._step import log_metrics
    from components.core.errors import user_errors
    from components.core.progress import log_to_stdout

    log_to_stdout()
    with user_errors():
        from components.core.catalogue import read_parameters
        from components.core.catalogue.gate import EVALUATE
        from components.core.catalogue.task_names import CORE_TASKS
        from components.core.heads.evaluation import evaluate_head
        from components.core.recipe import EvaluationConfig
        from components.core.registry import champion_folder, head_name
        from components.core.settings import load_settings

        settings = load_settings()
        gate = read_parameters(EVALUATE[task], parameters)
        folder, model_dir = Path(output_evaluation.path), Path(model_path.path)
        name = head_name(model_dir)
        champion = champion_folder(name, settings) if gate.champion != "ignore" else None
        result = evaluate_head(
            CORE_TASKS[task],
            gate,
            EvaluationConfig(),
            Path(dataset_path.path),
            model_dir,
            Path(predictions.path),
            folder,
            settings,
            champion,
        )
        print(result.verdict.headline)
        shutil.copyfile(folder / "report.html", report.path)
        shutil.copyfile(folder / "report.md", summary.path)
        log_metrics(metrics, result.flat_metrics())
        return (result.verdict.status,)
