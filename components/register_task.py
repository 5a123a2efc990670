"""Step: upload, tracking and registration for a task of the catalogue; published as register_<task>."""

from typing import NamedTuple

from kfp import dsl

from components._step import step


@step
def register_task(
    task: str,
    parameters: dict,
    verdict: str,
    dataset_path: dsl.Input[dsl.Dataset],
    model_path: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    output_model: dsl.Output[dsl.Model],
) -> NamedTuple("Registration", [("registration", dict)]):
    """Record the run in MLflow and, when the gate passed it, publish the model and register it as a version."""
    from dataclasses import asdict
    from pathlib import Path

    from components.core.errors import user_errors
    from components.core.progress import log_to_stdout

    log_to_stdout()
    with user_errors():
        from components.core.catalogue import read_parameters
        from components.core.catalogue.deployment import RegisterParameters
        from components.core.recipe import RegistryConfig
        from components.core.registry import head_name, publish_head, register_head
        from components.core.settings import load_settings

        settings = load_settings()
        values = read_parameters(RegisterParameters, parameters)
        registry = RegistryConfig.model_validate({"name": head_name(Path(model_path.path))} | values.model_dump())
        folders = (Path(model_path.path), Path(evaluation.path), Path(dataset_path.path))
        published = None
        if verdict == "passed":
            published = publish_head(*folders, registry, settings, Path(output_model.path))
            output_model.metadata["uri"] = published.uri
        registered = register_head(published, *folders, registry, settings)
        # a pipeline hands no null on: a refused model has no version
        known = {name: value for name, value in asdict(registered).items() if value is not None}
        return ({"registered": known, "published": asdict(published) if published else {}},)
