"""What is registered, who is champion, and who may use it.

`python -m llm-pipelines.registry list|show|lineage|promote|rollback|restrict|unrestrict`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from components.core.errors import user_errors
from components.core.settings import Settings, load_settings

if TYPE_CHECKING:
    from components.core.registry import Moved

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)

Model = Annotated[
    str, typer.Argument(metavar="NAME[@VERSION]", help="Registered model; a version is a number, label or alias.")
]
Namespace = Annotated[
    str | None, typer.Option(envvar="KFP_NAMESPACE", help="Namespace that asks; none takes that of this pod.")
]
_LONGEST_CELL = 60


@contextmanager
def _registry(namespace: str | None) -> Iterator[Settings]:
    with user_errors():
        settings = load_settings()
        yield settings.model_copy(update={"kfp_namespace": namespace}) if namespace else settings


@app.command("list")
def list_(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One model; all when left out.")] = None,
    namespace: Namespace = None,
) -> None:
    """Print every version that this namespace may use, the newest of each model first."""
    from components.core.registry import list_models

    with _registry(namespace) as settings:
        found = list_models(settings, name)
        if not found:
            print(f"Nothing is registered for namespace {settings.namespace} in {_where(settings)}.")
            return
        rows = [
            (
                each.name, each.version, ", ".join(each.aliases), each.task,
                f"{each.access.namespace} only" if each.access.restricted else "all", _day(each.created), each.headline,
            )
            for each in found
        ]  # fmt: skip
        _table(("NAME", "VERSION", "ALIASES", "TASK", "FOR", "SINCE", "VERDICT"), rows)


@app.command()
def show(model: Model, namespace: Namespace = None) -> None:
    """Print where a version is, how it was judged, and its scores; the newest where no version is named."""
    with _lineage(model, namespace) as found:
        access = found["access"]
        _pairs(
            {
                "Model": f"{found['name']} version {found['version']}",
                "Label": found["label"],
                "Aliases": ", ".join(found["aliases"]),
                "For": f"namespace {access['namespace']} only" if access["restricted"] else "all namespaces",
                "Place": found["uri"],
                "Verdict": found["verdict"],
                "Content": found["content_sha256"],
                "Weights": found["weights"],
                "Description": found["description"].replace("\n\n", " ").replace("\n", " "),
            }
        )
        print()
        scores = {key: value for key, value in found["metrics"].items() if not key.startswith("training_")}
        _table(("METRIC", "VALUE"), [(key, f"{value:.4g}") for key, value in scores.items()])


@app.command()
def lineage(model: Model, namespace: Namespace = None) -> None:
    """Print what a version was made from: base model, data, code, run, and every parameter."""
    with _lineage(model, namespace) as found:
        base, data, run = found["base_model"], found["dataset"], found["run"]
        _pairs(
            {
                "Model": f"{found['name']} version {found['version']}",
                "Label": found["label"],
                "Base model": f"{base['id']} {base['revision']}",
                "Dataset": f"{data['id']} {data['revision']}",
                "Fingerprint": data["fingerprint"],
                "Code": found["git_commit"],
                "Training run": run["training_run"],
                "MLflow run": f"{run['id']}, {_day(run['recorded'])}",
            }
        )
        print()
        _table(("PARAMETER", "VALUE"), list(found["recipe"].items()))


@app.command()
def promote(model: Model, namespace: Namespace = None) -> None:
    """Make a version the champion, which later models are compared with; the candidate where no version is named."""
    from components.core.registry import promote as move

    name, _, version = model.partition("@")
    with _registry(namespace) as settings:
        moved = move(name, version or None, settings)
        if moved.previous == moved.version:
            print(f"{name} version {moved.version} is champion already.")
            return
        _say(moved)
        if not moved.passed:
            print(f"  The gate has not found it better: {moved.headline}")


@app.command()
def rollback(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Registered model.")], namespace: Namespace = None
) -> None:
    """Give `champion` back to the version that had it before."""
    from components.core.registry import rollback as move

    with _registry(namespace) as settings:
        _say(move(name, settings))


def _say(moved: "Moved") -> None:
    before = f"version {moved.previous} was it before" if moved.previous else "there was none before"
    print(f"{moved.name} version {moved.version} is champion now; {before}.")


@app.command()
def restrict(model: Model, namespace: Namespace = None) -> None:
    """Keep other namespaces from a model (with its versions to come), or from one version of it."""
    _change(model, namespace, restricted=True)


@app.command()
def unrestrict(model: Model, namespace: Namespace = None) -> None:
    """Let all namespaces use a model, or one version of it."""
    _change(model, namespace, restricted=False)


def _change(model: str, namespace: str | None, restricted: bool) -> None:
    from components.core.registry import change_access

    name, _, version = model.partition("@")
    with _registry(namespace) as settings:
        for each in change_access(name, version or None, restricted, settings):
            who = f"namespace {settings.namespace} only" if restricted else "all namespaces"
            print(f"{name} version {each.version} is for {who}.")
            if not each.in_files:
                print(f"  {each.uri} still says what it said when it was published: publish it again to change that.")


@contextmanager
def _lineage(model: str, namespace: str | None) -> Iterator[dict[str, Any]]:
    from components.core.registry import lineage as find_lineage
    from components.core.registry.names import CANDIDATE

    name, _, version = model.partition("@")
    with _registry(namespace) as settings:
        yield find_lineage(name, version or CANDIDATE, settings)


def _where(settings: Settings) -> str:
    from components.core.registry.names import public_name

    return public_name(settings.mlflow_tracking_uri) if settings.mlflow_tracking_uri else settings.tracking_uri


def _day(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M}"


def _pairs(values: dict[str, str]) -> None:
    for title, value in values.items():
        if value.strip():
            print(f"{title:<13} {value.strip()}")


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their contents; the last one as it is."""
    cut = [[cell if len(cell) <= _LONGEST_CELL else f"{cell[: _LONGEST_CELL - 3]}..." for cell in row] for row in rows]
    lines = [list(titles), *cut]
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


if __name__ == "__main__":
    app(prog_name="python -m llm-pipelines.registry")
