"""Here or on a cluster: `python -m llm-pipelines.endpoint create|deploy|traffic|promote|invoke|keys|status|delete`."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from components.core.errors import EXIT_REFUSED, ConfigError, user_errors
from components.core.settings import load_settings

# mypy cannot follow a folder whose name has a hyphen.
from .endpoint_place import Place, is_on_cluster, open_endpoints  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from components.core.deployment.endpoints.seam import Endpoints, EndpointView

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)
keys_app = typer.Typer(no_args_is_help=True, help="Show or rotate the keys of an endpoint.")
app.add_typer(keys_app, name="keys")

Endpoint = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Name of the endpoint.")]
Name = Annotated[str, typer.Option(help="Name of the deployment.")]
_COMMAND = "python -m llm-pipelines.endpoint"
_PLACE: ContextVar[Place] = ContextVar("place")
"""What was said before the command's name."""


@app.callback()
def where(
    cluster: Annotated[
        bool | None, typer.Option("--cluster/--local", help="Where; a cluster is meant where KUBECONFIG is set.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(envvar=["NAMESPACE", "KFP_NAMESPACE"], help="Of the cluster.")
    ] = None,
) -> None:
    """Endpoints of this machine or of a cluster: a front with two keys that splits the traffic among deployments."""
    on_cluster = is_on_cluster(cluster)
    _PLACE.set(Place(on_cluster, namespace if on_cluster else None))


@contextmanager
def _endpoints(**patience: float | None) -> Iterator["Endpoints"]:
    place = _PLACE.get()
    with user_errors():
        yield open_endpoints(place, place.settings(load_settings()), **patience)


def _command() -> str:
    return f"{_COMMAND} --cluster" if _PLACE.get().on_cluster else _COMMAND


@app.command()
def create(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="By default ultrachat-completion-<timestamp>.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Here: where its front listens, 8200; the next free port if it is taken.")
    ] = None,
    keep_keys: Annotated[
        bool, typer.Option("--keep-keys/--keys-once", help="Keep the keys (0600) to show them again, or hashes only.")
    ] = True,
) -> None:
    """Make an endpoint without deployments, and print its address and keys."""
    from components.core.deployment.endpoints.record import default_name

    with _endpoints() as endpoints:
        made = endpoints.create(name or default_name(), port, keep_keys)
        _pairs({"Endpoint": made.name, "Address": made.address} | _titled(made.keys))
        once = "" if keep_keys else " These keys are not shown again."
        print(f"Callers send a key as {made.key_header}.{once}")
        print(f"Next: {_command()} deploy {made.name} --name demo --model {made.model_words}")


@app.command()
def deploy(
    endpoint: Endpoint,
    model: Annotated[str, typer.Option(help="Model folder, Hub id, or NAME@VERSION of the registry.")],
    name: Name = "demo",
    request_timeout_ms: Annotated[
        int, typer.Option(min=1, help="For a whole answer; then the front says 504.")
    ] = 90000,
    liveness_initial_delay: Annotated[
        int, typer.Option(min=1, metavar="SECONDS", help="How long the model may take to load.")
    ] = 600,
    instances: Annotated[int, typer.Option(min=1, help="On a cluster: pods.")] = 1,
    gpus: Annotated[int, typer.Option(min=0, help="On a cluster: NVIDIA GPUs of each pod.")] = 0,
    gpu_product: Annotated[
        str | None, typer.Option(help="On a cluster: nodes' label nvidia.com/gpu.product; any that the model may use.")
    ] = None,
    patience: Annotated[
        float | None, typer.Option(min=1, metavar="SECONDS", help="On a cluster: longest wait until it is ready.")
    ] = None,
) -> None:
    """Start a model behind an endpoint; it gets no traffic yet."""
    from components.core.deployment.endpoints.record import DeploymentOptions
    from components.core.registry import served_model

    with _endpoints(ready_seconds=patience) as endpoints:
        options = DeploymentOptions(
            request_timeout_ms=request_timeout_ms,
            liveness_initial_delay_seconds=liveness_initial_delay,
            instances=instances,
            gpus=gpus,
            gpu_product=gpu_product,
        )
        model = served_model(model, load_settings())
        print(f"Starting {name} with {model}", flush=True)
        with _ended_by_signals():
            runs_as = endpoints.deploy(endpoint, name, model, options, _say)
        print(
            f"{name} is ready: {instances} instance{'s' if instances > 1 else ''}, {runs_as}, request timeout "
            f"{request_timeout_ms} ms, liveness delay {liveness_initial_delay} s. It gets 0 % of the traffic."
        )
        shares = "NAME=PERCENT ..." if endpoints.traffic(endpoint) else f"{name}=100"
        print(f"Next: {_command()} traffic {endpoint} {shares}")


@app.command()
def traffic(
    endpoint: Endpoint,
    shares: Annotated[list[str], typer.Argument(metavar="NAME=PERCENT...", help="Whole numbers that sum to 100.")],
) -> None:
    """Split the traffic among deployments, from the next request on."""
    from components.core.deployment.endpoints.traffic import parse_traffic

    with _endpoints() as endpoints:
        print(f"Traffic of {endpoint}: {_split(endpoints.set_traffic(endpoint, parse_traffic(shares)))}")


@app.command()
def invoke(
    endpoint: Endpoint,
    request_file: Annotated[Path, typer.Option(help="JSON file with one request.")],
    deployment: Annotated[str | None, typer.Option(help="Answers instead of the one that the split chooses.")] = None,
    path: Annotated[str, typer.Option(help="Of the request.")] = "/score",
) -> None:
    """Send a request from a file; print the raw response, and the expected answer of the file beside it.

    The key is ENDPOINT_KEY, or else the endpoint's own primary key.
    """
    from components.core.deployment.endpoints.invoking import read_request
    from components.core.deployment.endpoints.keys import KEY_VARIABLE

    with _endpoints() as endpoints:
        request, truth = read_request(request_file)
        answered = endpoints.invoke(endpoint, request, deployment, path, os.environ.get(KEY_VARIABLE))
        print(f"Deployment    {answered.deployment}")
        print(f"Response      {answered.text.strip()}")
        if truth is not None:
            print(f"Ground truth  {truth}")


@keys_app.command("show")
def show_keys(endpoint: Endpoint) -> None:
    """Print both keys."""
    with _endpoints() as endpoints:
        _pairs(_titled(endpoints.keys(endpoint)))


@keys_app.command("rotate")
def rotate(
    endpoint: Endpoint,
    which: Annotated[str, typer.Argument(metavar="primary|secondary", help="The key to replace.")],
) -> None:
    """Replace one key; the old one is refused from the next request on, on a cluster once the pods have read it."""
    from components.core.deployment.endpoints.keys import NAMES

    with _endpoints() as endpoints:
        if which not in NAMES:
            raise ConfigError(f"there is no {which} key. Rotate primary or secondary.")
        rotated = endpoints.rotate(endpoint, which, _say)
        _pairs(_titled({which: rotated.key}))
        print(rotated.taken)


@app.command()
def status(
    endpoint: Annotated[str | None, typer.Argument(metavar="[ENDPOINT]", help="All when left out.")] = None,
) -> None:
    """Print what runs, how the traffic is split, and what the front has measured."""
    with _endpoints() as endpoints:
        names = [endpoint] if endpoint else endpoints.names()
        if not names:
            print(f"There is no endpoint {endpoints.where}.")
        for name in names:
            _print_status(endpoints.view(name))


@app.command()
def promote(
    endpoint: Endpoint,
    candidate: Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="The deployment to bring to 100 %.")],
    max_latency_ms: Annotated[float, typer.Option(help="Objective: p95 of the candidate.")],
    evaluation: Annotated[
        Path | None, typer.Option(help="evaluation.json, or its folder; by default that with the candidate's model.")
    ] = None,
    min_requests: Annotated[int, typer.Option(min=1, help="Of the candidate at each step.")] = 20,
    patience: Annotated[float, typer.Option(metavar="SECONDS", help="For so many requests to come.")] = 600.0,
    probe_file: Annotated[
        Path | None,
        typer.Option(
            help="JSON request to send to the candidate, where callers do not send enough; on a cluster always."
        ),
    ] = None,
    path: Annotated[str, typer.Option(help="Of the probe.")] = "/score",
) -> None:
    """Move a candidate to 10, 50, 100 % while quality and latency hold; else back to the former split (exit code 3)."""
    from components.core.deployment.endpoints.promotion import Objective
    from components.core.deployment.endpoints.promotion import promote as move_on

    from .verdicts import candidate_quality, prober  # type: ignore[import-not-found]

    with _endpoints() as endpoints, _ended_by_signals():
        quality = candidate_quality(endpoints.model_of(endpoint, candidate), evaluation, load_settings())
        probe = prober(endpoints, endpoint, candidate, probe_file, path) if probe_file else None
        objective = Objective(max_latency_ms, min_requests, patience)
        ended = move_on(endpoints.host(endpoint, candidate, probe), candidate, quality, objective, say=_say)
    if not ended.promoted:
        print(f"ROLLED BACK: {ended.reason}. Traffic of {endpoint}: {_split(ended.traffic)}")
        raise SystemExit(EXIT_REFUSED)
    print(f"PROMOTED: {ended.reason}. Traffic of {endpoint}: {_split(ended.traffic)}")


@app.command()
def delete(
    endpoint: Endpoint,
    deployment: Annotated[str | None, typer.Option(help="Only this one, which must have no traffic.")] = None,
    patience: Annotated[
        float | None, typer.Option(min=1, metavar="SECONDS", help="On a cluster: longest wait until all is gone, 300.")
    ] = None,
) -> None:
    """End an endpoint, or one deployment of it; returns when everything of it is gone, keys included."""
    with _endpoints(gone_seconds=patience) as endpoints:
        if deployment is not None:
            gone = endpoints.remove(endpoint, deployment, _say)
            print(f"Removed {deployment} from {endpoint}: {gone}.")
            return
        gone = endpoints.delete(endpoint, _say)
        print(f"Deleted {endpoint}: {gone}.")


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM unwinds as Ctrl-C does, so that what was begun is taken back."""

    def leave(number: int, _frame: Any) -> None:
        raise SystemExit(128 + number)

    former = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _print_status(found: "EndpointView") -> None:
    _pairs({"Endpoint": f"{found.name}, created {found.created:%Y-%m-%d %H:%M} UTC", "Address": found.address})
    print(f"{'Front':<14} {found.front}")
    for each in found.deployments:
        print(f"{each.name:<14} {each.state}, {each.traffic} %, {each.model}")
        if each.measured:
            print(f"{'':<14} {each.measured}")
    for note in found.notes:
        print(f"{'Note':<14} {note}")


def _split(shares: dict[str, int]) -> str:
    return ", ".join(f"{name} {share} %" for name, share in shares.items()) or "none"


def _titled(keys: Any) -> dict[str, str]:
    return {f"{name.capitalize()} key": key for name, key in keys.items()}


def _pairs(values: dict[str, str]) -> None:
    for title, value in values.items():
        print(f"{title:<14} {value}")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    app(prog_name=_COMMAND)
