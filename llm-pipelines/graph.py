"""The fine-tuning graph: which step feeds which, and what its pods need."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from kfp import dsl

from components.core.recipe import Recipe
from components.evaluate_model import evaluate_model
from components.fetch_dataset import fetch_dataset
from components.finetune_model import finetune_model
from components.register_model import register_model
from components.tokenize_dataset import tokenize_dataset
from components.upload_model import upload_model

# mypy cannot follow a folder whose name has a hyphen.
from .pods import Pods  # type: ignore[import-not-found]

FINE_TUNE = "fine-tune-pipeline"
PARAMETERS = ("task", "model", "data", "tokens", "training", "lora", "evaluation", "gate", "registry")
"""Recipe sections that are pipeline parameters; `gpu` and `resources` shape the pods when the graph is compiled."""


class Results(NamedTuple):
    """What a run leaves for its user."""

    dataset: dsl.Dataset
    tokens: dsl.Dataset
    evaluation: dsl.Artifact
    registration: dict
    trained_model: dsl.Model


def build_pipeline(
    recipe: Recipe,
    source_version: str = "",
    environment: Mapping[str, str] | None = None,
    name: str = FINE_TUNE,
    display_name: str | None = None,
) -> Any:
    """The graph of one recipe, ready to compile or to run.

    Args:
        recipe: All sections; the parameters' defaults are its values.
        source_version: What the dataset's content was when the run was asked for, so that the cache notices a change.
        environment: Variables of every pod, for example the address of the MLflow server; never a secret.
        name: Of the pipeline.
        display_name: What it is called on pages; none shows the name.
    """
    pods = Pods(recipe.gpu, recipe.resources, environment or {})
    # A pipeline parameter cannot hold null: a key that is none stays out and takes its default again.
    sections = recipe.model_dump(mode="json", exclude_none=True)
    default = {name: sections[name] for name in PARAMETERS}

    @dsl.pipeline(
        name=name,
        display_name=display_name,
        description="Fetch, tokenize, fine-tune, evaluate and, when the gate passes, upload and register.",
    )
    def fine_tune_pipeline(
        task: dict = default["task"],
        model: dict = default["model"],
        data: dict = default["data"],
        tokens: dict = default["tokens"],
        training: dict = default["training"],
        lora: dict = default["lora"],
        evaluation: dict = default["evaluation"],
        gate: dict = default["gate"],
        registry: dict = default["registry"],
        recipe_sections: dict = default,
        data_version: str = source_version,
    ) -> Results:
        fetched = pods.small(fetch_dataset(task=task, data=data, source_version=data_version))
        tokenized = pods.small(
            tokenize_dataset(task=task, model=model, tokens=tokens, dataset=fetched.outputs["output_dataset"])
        )
        tuned = pods.tuning(
            finetune_model(
                task=task, model=model, training=training, lora=lora, tokens=tokenized.outputs["output_tokens"]
            )
        )
        inputs = {"dataset": fetched.outputs["output_dataset"]}
        judged = pods.large(
            evaluate_model(
                task=task,
                model=model,
                evaluation=evaluation,
                gate=gate,
                registry=registry,
                tuned_model=tuned.outputs["output_model_dir"],
                **inputs,
            )
        )
        inputs |= {"model_dir": tuned.outputs["output_model_dir"], "evaluation": judged.outputs["output_evaluation"]}
        with dsl.If(judged.outputs["verdict"] == "passed", name="gate-passed"):
            uploaded = pods.small(upload_model(recipe=recipe_sections, **inputs))
            registered = pods.small(
                register_model(recipe=recipe_sections, published=uploaded.outputs["published"], **inputs)
            )
        with dsl.Else(name="gate-refused"):
            refused = pods.small(register_model(recipe=recipe_sections, published={}, **inputs))
            refused.set_display_name("record-refused-run")
        return Results(
            dataset=fetched.outputs["output_dataset"],
            tokens=tokenized.outputs["output_tokens"],
            evaluation=judged.outputs["output_evaluation"],
            registration=dsl.OneOf(registered.outputs["registration"], refused.outputs["registration"]),
            trained_model=tuned.outputs["output_model_dir"],
        )

    return fine_tune_pipeline
