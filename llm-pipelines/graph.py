"""The fine-tuning graph: which step feeds which, and what its pods need."""

from typing import Any, NamedTuple

from kfp import dsl, kubernetes

from components.core.recipe import Recipe
from components.evaluate_model import evaluate_model
from components.fetch_dataset import fetch_dataset
from components.finetune_model import finetune_model
from components.register_model import register_model
from components.tokenize_dataset import tokenize_dataset
from components.upload_model import upload_model

HUB_SECRET = "huggingface-secret"
CHECKPOINT_MOUNT = "/checkpoints"
"""Where the checkpoint volume is mounted; the pipeline image sets CHECKPOINT_DIR to the same path."""

PARAMETERS = ("task", "model", "data", "tokens", "training", "lora", "evaluation", "gate", "registry")
"""Recipe sections that are pipeline parameters; `gpu` and `resources` shape the pods when the graph is compiled."""


Results = NamedTuple(
    "Results",
    [
        ("data_report", dsl.HTML),
        ("token_report", dsl.HTML),
        ("evaluation", dsl.Artifact),
        ("evaluation_report", dsl.HTML),
        ("registration", dict),
    ],
)
"""What a run leaves for its user."""


def build_pipeline(recipe: Recipe, source_version: str) -> Any:
    """The graph of one recipe, ready to compile or to run.

    Args:
        recipe: All sections; the parameters' defaults are its values.
        source_version: What the dataset's content was when the run was asked for, so that the cache notices a change.
    """
    # A pipeline parameter cannot hold null: a key that is none stays out and takes its default again.
    sections = recipe.model_dump(mode="json", exclude_none=True)
    default = {name: sections[name] for name in PARAMETERS}

    @dsl.pipeline(
        name="fine-tune-pipeline",
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
        fetched = _small(fetch_dataset(task=task, data=data, source_version=data_version))
        tokenized = _small(
            tokenize_dataset(task=task, model=model, tokens=tokens, dataset=fetched.outputs["output_dataset"])
        )
        tuned = _large(
            finetune_model(
                task=task, model=model, training=training, lora=lora, tokens=tokenized.outputs["output_tokens"]
            ),
            recipe,
        )
        if recipe.resources.checkpoint_volume:
            kubernetes.mount_pvc(tuned, recipe.resources.checkpoint_volume, CHECKPOINT_MOUNT)
        inputs = {"dataset": fetched.outputs["output_dataset"]}
        judged = _large(
            evaluate_model(
                task=task,
                model=model,
                evaluation=evaluation,
                gate=gate,
                registry=registry,
                tuned_model=tuned.outputs["output_model_dir"],
                **inputs,
            ),
            recipe,
        )
        inputs |= {"model_dir": tuned.outputs["output_model_dir"], "evaluation": judged.outputs["output_evaluation"]}
        with dsl.If(judged.outputs["verdict"] == "passed", name="gate-passed"):
            uploaded = _small(upload_model(recipe=recipe_sections, **inputs))
            registered = _small(register_model(recipe=recipe_sections, published=uploaded.outputs["published"], **inputs))
        with dsl.Else(name="gate-refused"):
            refused = _small(register_model(recipe=recipe_sections, published={}, **inputs))
            refused.set_display_name("record-refused-run")
        return Results(
            data_report=fetched.outputs["report"],
            token_report=tokenized.outputs["report"],
            evaluation=judged.outputs["output_evaluation"],
            evaluation_report=judged.outputs["report"],
            registration=dsl.OneOf(registered.outputs["registration"], refused.outputs["registration"]),
        )

    return fine_tune_pipeline


def _small(task: Any) -> Any:
    """A CPU pod of fixed size with the Hub's secret in its environment."""
    task.set_cpu_request("1").set_memory_request("2Gi").set_memory_limit("4Gi")
    return _with_hub_secret(task)


def _large(task: Any, recipe: Recipe) -> Any:
    """A pod of the recipe's size with its GPUs, if any."""
    task.set_cpu_request(recipe.resources.cpu)
    task.set_memory_request(recipe.resources.memory).set_memory_limit(recipe.resources.memory)
    gpu = recipe.gpu
    if gpu.count:
        task.set_accelerator_type(gpu.resource).set_accelerator_limit(gpu.count)
        kubernetes.add_toleration(task, key=gpu.resource, operator="Exists", effect="NoSchedule")
        if gpu.product:
            kubernetes.add_node_selector(task, "nvidia.com/gpu.product", gpu.product)
        kubernetes.empty_dir_mount(task, "dshm", "/dev/shm", medium="Memory", size_limit=gpu.shm_size)
    if recipe.resources.retries:
        task.set_retry(recipe.resources.retries, backoff_duration="30s", backoff_factor=2.0)
    return _with_hub_secret(task)


def _with_hub_secret(task: Any) -> Any:
    # Optional: a public model needs no token, and without the secret the model goes to the local registry.
    return kubernetes.use_secret_as_env(task, HUB_SECRET, {"token": "HF_TOKEN", "repo": "HF_REPO"}, optional=True)
