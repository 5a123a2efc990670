"""Step: tracking and registration."""

from typing import NamedTuple

from kfp import dsl

from components._step import step


@step
def register_model(
    recipe: dict,
    published: dict,
    dataset: dsl.Input[dsl.Dataset],
    model_dir: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
) -> NamedTuple("Registration", [("registration", dict)]):
    """Record the run in MLflow and, when the model was published, register it as a version.

    `published` is what `upload_model` returned; empty for a model that the gate refused.
    """
    from dataclasses import asdict
    from pathlib import Path

    from components.core.errors import user_errors
    from components.core.progress import log_to_stdout

    log_to_stdout()
    with user_errors():
        from components.core.recipe import RegistryConfig
        from components.core.registry import Published, register
        from components.core.settings import load_settings

        registered = register(
            Published(**published) if published else None,
            Path(model_dir.path),
            Path(evaluation.path),
            Path(dataset.path),
            RegistryConfig.model_validate(recipe["registry"]),
            recipe,
            load_settings(),
        )
        return ({"registered": asdict(registered), "published": published},)
