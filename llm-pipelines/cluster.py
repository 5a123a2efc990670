"""The endpoint and the page on a cluster: `python -m llm-pipelines.cluster api-deploy`, ui-deploy, status, logs, ..."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from components.core.deployment.deploying import deploy, destroy, prepare
from components.core.deployment.kubernetes_api import Cluster, connect
from components.core.deployment.rendering import Release
from components.core.deployment.rollout import Patience
from components.core.deployment.secrets import MissingVariable, has_api_secret, read_api_values
from components.core.deployment.status import describe, endpoint_address, page_addresses, read_logs
from components.core.errors import PlatformError, user_errors
from components.core.image_names import image_setting
from components.core.settings import DEFAULT_NAMESPACE, load_settings

ROOT = Path(__file__).resolve().parents[1]

Overlay = Annotated[str, typer.Option(envvar="OVERLAY", help="Name below manifests/<part>/overlays, or a folder.")]
Namespace = Annotated[str, typer.Option(envvar=["NAMESPACE", "KFP_NAMESPACE"], help="Where it runs.")]
Registry = Annotated[str, typer.Option(envvar="REGISTRY", help="Registry of the images; else that of images.env.")]
Tag = Annotated[str, typer.Option(envvar="TAG", help="Tag of the images; else that of images.env.")]
Model = Annotated[str | None, typer.Option(envvar="MODEL", help="What is served; none keeps what is served now.")]
Seconds = Annotated[float, typer.Option(min=1, help="Longest wait until everything is ready or gone.")]
Failing = Annotated[float, typer.Option(min=0, help="Longest wait with a cause that waiting does not cure.")]
DryRun = Annotated[bool, typer.Option(help="Render and check only; the objects are printed.")]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def api_deploy(
    overlay: Overlay = "kubeflow",
    namespace: Namespace = DEFAULT_NAMESPACE,
    registry: Registry = "",
    tag: Tag = "",
    model: Model = None,
    timeout_seconds: Seconds = 1800.0,
    failing_seconds: Failing = 60.0,
    dry_run: DryRun = False,
) -> None:
    """Bring the endpoint into the cluster, secrets first, and wait until it answers."""
    release = _release("api", overlay, namespace, registry, tag)
    patience = Patience(total=timeout_seconds, failing=failing_seconds)
    _deploy(release, model, patience, dry_run)


@app.command()
def ui_deploy(
    overlay: Overlay = "kubeflow",
    namespace: Namespace = DEFAULT_NAMESPACE,
    registry: Registry = "",
    tag: Tag = "",
    timeout_seconds: Seconds = 600.0,
    failing_seconds: Failing = 60.0,
    dry_run: DryRun = False,
) -> None:
    """Bring the page into the cluster and wait until it is up."""
    release = _release("ui", overlay, namespace, registry, tag)
    _deploy(release, None, Patience(total=timeout_seconds, failing=failing_seconds), dry_run)


@app.command()
def api_destroy(namespace: Namespace = DEFAULT_NAMESPACE, timeout_seconds: Seconds = 300.0) -> None:
    """Take the endpoint out of the cluster with its secrets; its volumes stay."""
    _destroy(Release("api", "", namespace), timeout_seconds)


@app.command()
def ui_destroy(namespace: Namespace = DEFAULT_NAMESPACE, timeout_seconds: Seconds = 300.0) -> None:
    """Take the page out of the cluster."""
    _destroy(Release("ui", "", namespace), timeout_seconds)


@app.command()
def status(namespace: Namespace = DEFAULT_NAMESPACE) -> None:
    """Say what is deployed, whether it is ready, and why not."""
    with user_errors():
        for line in describe(connect(), namespace):
            print(line)


@app.command()
def logs(
    part: Annotated[str, typer.Argument(help="api or ui", metavar="api|ui")] = "api",
    namespace: Namespace = DEFAULT_NAMESPACE,
    lines: Annotated[int, typer.Option(min=1, help="Last lines of each container.")] = 100,
) -> None:
    """Print the last lines of every pod."""
    if part not in ("api", "ui"):
        raise typer.BadParameter("choose api or ui", param_hint="PART")
    with user_errors():
        for line in read_logs(connect(), namespace, part, lines):
            print(line)


def _release(part: str, overlay: str, namespace: str, registry: str, tag: str) -> Release:
    return Release(part, overlay, namespace, registry or image_setting("REGISTRY"), tag or image_setting("TAG"))


def _deploy(release: Release, model: str | None, patience: Patience, dry_run: bool) -> None:
    with user_errors():
        settings = load_settings()
        if dry_run:
            for document in prepare(release, ROOT, settings, model):
                print(f"{document['kind']} {document['metadata']['name']}")
            return
        cluster, secret = _open(release)
        print(f"Deploying llm-{release.part} ({release.overlay}) to namespace {release.namespace} on {cluster.address}")
        live = cluster.get("ConfigMap", f"llm-{release.part}", release.namespace)
        documents = prepare(release, ROOT, settings, model, live)
        deploy(cluster, release, documents, ROOT, patience, secret)
        addresses = (endpoint_address if release.part == "api" else page_addresses)(cluster, release.namespace)
        print(f"Ready. What was applied is in build/deploy/{release.part}.yaml")
        print("\n".join(f"  {line}" for line in addresses))


def _open(release: Release) -> tuple[Cluster, dict[str, str] | None]:
    """The cluster, and the values of the endpoint's secret; none where the secret that is there is kept."""
    if release.part == "ui":
        return connect(), None
    try:
        return connect(), read_api_values(os.environ)
    except MissingVariable as missing:
        try:
            cluster = connect()
            if has_api_secret(cluster, release.namespace):
                return cluster, None
        except PlatformError:
            pass
        print(f"Error: {missing}", file=sys.stderr)
        raise typer.Exit(1) from None


def _destroy(release: Release, timeout_seconds: float) -> None:
    with user_errors():
        there_was = destroy(connect(), release, Patience(total=timeout_seconds))
        print(f"llm-{release.part} is gone." if there_was else f"There was no llm-{release.part} to take out.")


if __name__ == "__main__":
    app(prog_name="python -m llm-pipelines.cluster")
