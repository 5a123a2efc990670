"""Step: evaluation and gate."""

from typing import NamedTuple

from kfp import dsl

from components._step import step


@step
def evaluate_model(
    task: dict,
    model: dict,
    evaluation: dict,
    gate: dict,
    registry: dict,
    dataset: dsl.Input[dsl.Dataset],
    tuned_model: dsl.Input[dsl.Model],
    output_evaluation: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    summary: dsl.Output[dsl.Markdown],
    metrics: dsl.Output[dsl.Metrics],
) -> NamedTuple("Verdict", [("verdict", str)]):
    """Score base and tuned model (and the registered champion) on the test rows and judge the difference."""
    import shutil
    from pathlib import Path

    from components._step import log_metrics
    from components.core.errors import user_errors
    from components.core.progress import log_to_stdout

    log_to_stdout()
    with user_errors():
        from components.core.evaluation import evaluate
        from components.core.recipe import EvaluationConfig, GateConfig, ModelConfig, RegistryConfig, TaskConfig
        from components.core.registry import champion_folder, registered_name
        from components.core.settings import load_settings

        task_config = TaskConfig.model_validate(task)
        model_config = ModelConfig.model_validate(model)
        gate_config = GateConfig.model_validate(gate)
        settings = load_settings()
        name = registered_name(RegistryConfig.model_validate(registry), model_config, task_config)
        champion = champion_folder(name, settings) if gate_config.champion != "ignore" else None
        folder = Path(output_evaluation.path)
        result = evaluate(
            task_config,
            model_config,
            EvaluationConfig.model_validate(evaluation),
            gate_config,
            Path(dataset.path),
            Path(tuned_model.path),
            folder,
            settings,
            champion,
        )
        print(result.verdict.headline)
        shutil.copyfile(folder / "report.html", report.path)
        shutil.copyfile(folder / "report.md", summary.path)
        log_metrics(metrics, result.flat_metrics())
        return (result.verdict.status,)
