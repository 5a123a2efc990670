"""Step: model upload."""

from typing import NamedTuple

from kfp import dsl

from components._step import step


@step
def upload_model(
    recipe: dict,
    dataset: dsl.Input[dsl.Dataset],
    model_dir: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    output_model: dsl.Output[dsl.Model],
) -> NamedTuple("Published", [("published", dict)]):
    """Complete the model folder (card, facts, checksums) and put it into the Hub repository or the local registry."""
    from dataclasses import asdict
    from pathlib import Path

    from components.core.errors import user_errors
    from components.core.progress import log_to_stdout

    log_to_stdout()
    with user_errors():
        from components.core.recipe import RegistryConfig
        from components.core.registry import publish
        from components.core.settings import load_settings

        published = publish(
            Path(model_dir.path),
            Path(evaluation.path),
            Path(dataset.path),
            RegistryConfig.model_validate(recipe["registry"]),
            recipe,
            load_settings(),
            Path(output_model.path),
        )
        output_model.metadata["uri"] = published.uri
        return (asdict(published),)
