"""Endpoints here: `python -m llm-pipelines.endpoint create|deploy|traffic|promote|invoke|keys|status|delete`."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from components.core.errors import EXIT_REFUSED, ConfigError, user_errors
from components.core.settings import Settings, load_settings

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)
keys_app = typer.Typer(no_args_is_help=True, help="Show or rotate the keys of an endpoint.")
app.add_typer(keys_app, name="keys")

Endpoint = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Name of the endpoint.")]
Name = Annotated[str, typer.Option(help="Name of the deployment.")]
_COMMAND = "python -m llm-pipelines.endpoint"


@app.callback()
def where(
    cluster: Annotated[
        bool | None, typer.Option("--cluster/--local", help="Where; a cluster is meant where KUBECONFIG is set.")
    ] = None,
) -> None:
    """Endpoints of this machine: a front with two keys that splits the traffic among named deployments."""
    asked = "--cluster" if cluster else "KUBECONFIG" if cluster is None and os.environ.get("KUBECONFIG") else ""
    with user_errors():
        if asked:
            raise ConfigError(
                f"{asked} asks for a cluster, and this command manages endpoints of this machine only. Add --local "
                "before the command's name, or bring one model to the cluster with `make task` or `make api-deploy`."
            )


@contextmanager
def _settings() -> Iterator[Settings]:
    with user_errors():
        yield load_settings()


@app.command()
def create(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="By default ultrachat-completion-<timestamp>.")
    ] = None,
    port: Annotated[int, typer.Option(help="Where its front listens; the next free port if it is taken.")] = 8200,
    keep_keys: Annotated[
        bool, typer.Option("--keep-keys/--keys-once", help="Keep the keys (0600) to show them again, or hashes only.")
    ] = True,
) -> None:
    """Start an endpoint without deployments, and print its address and keys."""
    from components.core.deployment.endpoints.lifecycle import create_endpoint
    from components.core.deployment.endpoints.record import default_name

    with _settings() as settings:
        record, keys = create_endpoint(name or default_name(), settings, port, keep_keys)
        assert record.front is not None
        _pairs({"Endpoint": record.name, "Address": record.front.address} | _titled(keys))
        once = "" if keep_keys else " These keys are not shown again."
        print(f"Callers send a key as `Authorization: Bearer <key>` or `X-API-Key`.{once}")
        print(f"Next: {_COMMAND} deploy {record.name} --name demo --model FOLDER")


@app.command()
def deploy(
    endpoint: Endpoint,
    model: Annotated[str, typer.Option(help="Model folder or Hub id.")],
    name: Name = "demo",
    request_timeout_ms: Annotated[
        int, typer.Option(min=1, help="For a whole answer; then the front says 504.")
    ] = 90000,
    liveness_initial_delay: Annotated[
        int, typer.Option(min=1, metavar="SECONDS", help="How long the model may take to load.")
    ] = 600,
) -> None:
    """Start a model behind an endpoint; it gets no traffic yet."""
    from components.core.deployment.endpoints.lifecycle import deploy as start
    from components.core.deployment.endpoints.record import DeploymentOptions, EndpointFolder

    with _settings() as settings:
        options = DeploymentOptions(
            request_timeout_ms=request_timeout_ms, liveness_initial_delay_seconds=liveness_initial_delay
        )
        print(f"Starting {name} with {model}", flush=True)
        with _ended_by_signals():
            made = start(endpoint, name, model, settings, options)
        print(
            f"{name} is ready: 1 instance, process {made.server.pid}, request timeout {request_timeout_ms} ms, "
            f"liveness delay {liveness_initial_delay} s. It gets 0 % of the traffic."
        )
        split = EndpointFolder(settings.whetstone_home, endpoint).read().traffic
        shares = "NAME=PERCENT ..." if split else f"{name}=100"
        print(f"Next: {_COMMAND} traffic {endpoint} {shares}")


@app.command()
def traffic(
    endpoint: Endpoint,
    shares: Annotated[list[str], typer.Argument(metavar="NAME=PERCENT...", help="Whole numbers that sum to 100.")],
) -> None:
    """Split the traffic among deployments, from the next request on."""
    from components.core.deployment.endpoints.lifecycle import set_traffic
    from components.core.deployment.endpoints.traffic import parse_traffic

    with _settings() as settings:
        record = set_traffic(endpoint, parse_traffic(shares), settings)
        print(f"Traffic of {endpoint}: {_split(record.traffic)}")


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
    from components.core.deployment.endpoints.invoking import invoke as send
    from components.core.deployment.endpoints.invoking import read_request
    from components.core.deployment.endpoints.keys import KEY_VARIABLE

    with _settings() as settings:
        request, truth = read_request(request_file)
        answered = send(endpoint, request, settings, deployment, path, os.environ.get(KEY_VARIABLE))
        print(f"Deployment    {answered.deployment}")
        print(f"Response      {answered.text.strip()}")
        if truth is not None:
            print(f"Ground truth  {truth}")


@keys_app.command("show")
def show_keys(endpoint: Endpoint) -> None:
    """Print both keys."""
    from components.core.deployment.endpoints.keys import shown_keys
    from components.core.deployment.endpoints.record import EndpointFolder

    with _settings() as settings:
        folder = EndpointFolder(settings.whetstone_home, endpoint)
        folder.check_there()
        _pairs(_titled(shown_keys(folder.path)))


@keys_app.command("rotate")
def rotate(
    endpoint: Endpoint,
    which: Annotated[str, typer.Argument(metavar="primary|secondary", help="The key to replace.")],
) -> None:
    """Replace one key; the old one is refused from the next request on."""
    from components.core.deployment.endpoints.keys import NAMES
    from components.core.deployment.endpoints.lifecycle import rotate_and_try

    with _settings() as settings:
        if which not in NAMES:
            raise ConfigError(f"there is no {which} key. Rotate primary or secondary.")
        _pairs(_titled({which: rotate_and_try(endpoint, which, settings)}))
        print("The front takes the new key, and no longer the old one.")


@app.command()
def status(
    endpoint: Annotated[str | None, typer.Argument(metavar="[ENDPOINT]", help="All when left out.")] = None,
) -> None:
    """Print what runs, how the traffic is split, and what the front has measured."""
    from components.core.deployment.endpoints.record import endpoint_names
    from components.core.deployment.endpoints.status import endpoint_status

    with _settings() as settings:
        names = [endpoint] if endpoint else endpoint_names(settings.whetstone_home)
        if not names:
            print("There is no endpoint on this machine.")
        for name in names:
            _print_status(endpoint_status(name, settings))


@app.command()
def promote(
    endpoint: Endpoint,
    candidate: Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="The deployment to bring to 100 %.")],
    max_latency_ms: Annotated[float, typer.Option(help="Objective: p95 of the candidate at the front.")],
    evaluation: Annotated[
        Path | None, typer.Option(help="evaluation.json, or its folder; by default that of the candidate's model.")
    ] = None,
    min_requests: Annotated[int, typer.Option(min=1, help="Of the candidate at each step.")] = 20,
    patience: Annotated[float, typer.Option(metavar="SECONDS", help="For so many requests to come.")] = 600.0,
    probe_file: Annotated[
        Path | None, typer.Option(help="JSON request to send to the candidate, where callers do not send enough.")
    ] = None,
    path: Annotated[str, typer.Option(help="Of the probe.")] = "/score",
) -> None:
    """Move a candidate to 10, 50, 100 % while quality and latency hold; else back to the former split (exit code 3)."""
    from components.core.deployment.endpoints.promotion import Objective
    from components.core.deployment.endpoints.promotion import promote as move_on

    # mypy cannot follow a folder whose name has a hyphen.
    from .verdicts import candidate_quality, prober  # type: ignore[import-not-found]

    with _settings() as settings, _ended_by_signals():
        quality = candidate_quality(endpoint, candidate, evaluation, settings)
        probe = prober(endpoint, candidate, probe_file, path, settings) if probe_file else None
        objective = Objective(max_latency_ms, min_requests, patience)
        ended = move_on(endpoint, candidate, quality, objective, settings, probe=probe, say=_say)
    if not ended.promoted:
        print(f"ROLLED BACK: {ended.reason}. Traffic of {endpoint}: {_split(ended.traffic)}")
        raise SystemExit(EXIT_REFUSED)
    print(f"PROMOTED: {ended.reason}. Traffic of {endpoint}: {_split(ended.traffic)}")


@app.command()
def delete(
    endpoint: Endpoint,
    deployment: Annotated[str | None, typer.Option(help="Only this one, which must have no traffic.")] = None,
) -> None:
    """End an endpoint, or one deployment of it; returns when every process, port and key file is gone."""
    from components.core.deployment.endpoints.lifecycle import delete_endpoint, remove_deployment

    with _settings() as settings:
        if deployment is not None:
            remove_deployment(endpoint, deployment, settings)
            print(f"Removed {deployment} from {endpoint}: its process and port are gone.")
            return
        delete_endpoint(endpoint, settings, _say)
        print(f"Deleted {endpoint}: no process, port or key file of it is left.")


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


def _print_status(found: Any) -> None:
    record = found.record
    address = record.front.address if record.front else "-"
    _pairs({"Endpoint": f"{record.name}, created {record.created:%Y-%m-%d %H:%M} UTC", "Address": address})
    print(f"{'Front':<14} {_state(found.front, record.front)}")
    for each in found.deployments:
        deployment = each.deployment
        print(f"{deployment.name:<14} {_state(each.state, deployment.server)}, {each.traffic} %, {deployment.model}")
        if each.measured:
            counts = ", ".join(f"{count} x {status}" for status, count in each.measured["statuses"].items())
            times = each.measured
            print(f"{'':<14} {counts}; p50 {times['p50_ms']:.0f} ms, p95 {times['p95_ms']:.0f} ms")
    if found.cut_off:
        print(f"{'Note':<14} {found.cut_off}")
    dead = [each.deployment.name for each in found.deployments if each.state == "dead"]
    for name in dead:
        print(f"{'Note':<14} {name} has died; its log is {name}.log. Delete it (--deployment), and deploy it again.")


def _state(state: str, server: Any) -> str:
    return f"{state} (process {server.pid}, port {server.port})" if server else state


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
