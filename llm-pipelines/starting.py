"""Starting the fine-tuning graph: on a cluster, or on this machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.errors import EXIT_REFUSED, StorageError
from components.core.recipe import LoadedRecipe, Recipe
from components.core.settings import Settings

# mypy cannot follow a folder whose name has a hyphen.
from .graph import FINE_TUNE, build_pipeline  # type: ignore[import-not-found]
from .local_run import run_here  # type: ignore[import-not-found]
from .preflight import find_cluster  # type: ignore[import-not-found]
from .remote.launch import Launch, launch  # type: ignore[import-not-found]
from .remote.session import connect  # type: ignore[import-not-found]
from .serve import first_answerable, serve_and_ask  # type: ignore[import-not-found]


@dataclass(frozen=True)
class Start:
    """One run of the graph."""

    loaded: LoadedRecipe
    settings: Settings
    cache: bool = True
    name: str = FINE_TUNE
    """Of the pipeline."""
    display_name: str | None = None

    def pipeline(self, recipe: Recipe | None = None, source_version: str = "", pods: bool = True) -> Any:
        """The graph; with `pods` every step gets the addresses of the settings."""
        environment = self.settings.pod_environment() if pods else None
        return build_pipeline(recipe or self.loaded.recipe, source_version, environment, self.name, self.display_name)

    def there(self, host: str, namespace: str, launching: Launch, check_gpus: bool) -> int:
        """Run it on a cluster, and give its exit code."""
        if check_gpus:
            check_fits(self.loaded, self.settings)
        pipeline = self.pipeline(source_version=self._source_version())
        return int(launch(pipeline, connect(host, namespace, self.settings), launching, self.cache))

    def here(self, serve: bool) -> int:
        """Run it on this machine, and give its exit code."""
        from components.core.registry.hub import check_write_access

        version = self._source_version()
        check_write_access(self.settings)
        # What fails here fails again: the cause is the recipe, not a node that went away. Checkpoints are files here.
        recipe = self.loaded.recipe
        resources = recipe.resources.model_copy(update={"retries": 0, "checkpoint_volume": None})
        pipeline = self.pipeline(recipe.model_copy(update={"resources": resources}), version, pods=False)
        outputs = run_here(pipeline, self.settings.whetstone_home, self.cache)
        code = _report(outputs, self.settings)
        if serve and code == 0:
            _serve(outputs, self.settings)
        return code

    def _source_version(self) -> str:
        from components.core.data import source_version

        recipe = self.loaded.recipe
        return str(source_version(recipe.data, self.settings, recipe.task.name))


def has_cuda() -> bool:
    """Whether this machine has a CUDA device; slow, so asked only where something depends on it."""
    import torch

    return bool(torch.cuda.is_available())


def check_fits(loaded: LoadedRecipe, settings: Settings) -> None:
    """Stop a run that cannot fit; one whose base model cannot be looked at from here goes on."""
    from components.core.preflight import preflight

    print("\nPreflight:")
    try:
        lines = preflight(loaded.recipe, settings, find_cluster(), loaded.model)
        print("\n".join(f"  {line}" for line in lines), flush=True)
    except StorageError as error:
        print(f"  not possible from here: {error}", flush=True)


def _serve(outputs: dict[str, Any], settings: Settings) -> None:
    uri: str = outputs["registration"]["published"]["uri"]
    model, _, revision = uri.removeprefix("hf://").partition("@") if uri.startswith("hf://") else (uri, "", "")
    serve_and_ask(model, settings, revision or None, first_answerable(Path(outputs["dataset"].path) / "test.jsonl"))


def _report(outputs: dict[str, Any], settings: Settings) -> int:
    """Say what came of a run and where to look; the exit code tells a refused model from one that passed."""
    from components.core.evaluation import print_summary, read_evaluation

    registration = outputs["registration"]
    published, registered = registration["published"], registration["registered"]
    print()
    print(print_summary(read_evaluation(Path(outputs["evaluation"].path))))
    print()
    for label, name in (("Evaluation report", "evaluation"), ("Data report", "dataset"), ("Token report", "tokens")):
        print(f"{label:<18} {Path(outputs[name].path) / 'report.html'}")
    print(f"MLflow             {settings.tracking_uri}, run {registered['run_id']} (`make mlflow` opens its page)")
    if not published:
        print("Model              not uploaded: the gate refused it")
        return EXIT_REFUSED
    print(f"Model              {published['uri']}")
    print(f"Registered as      {registered['name']} version {registered['version']}")
    return 0
