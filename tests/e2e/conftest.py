"""What several end-to-end tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.endpoint_server import EndpointServer
from support.hub_server import HubServer

from components.core.registry import hub_errors


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EndpointServer]:
    """The real endpoint on the starter's base model, on the engine that a user gets."""
    with EndpointServer(tmp_path_factory.mktemp("endpoint")) as server:
        yield server


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """A stand-in Hub that this process's client libraries talk to, without waits between tries."""
    monkeypatch.setattr(hub_errors, "RETRY_SECONDS", (0.0, 0.0, 0.0))
    with HubServer() as server:
        server.use(monkeypatch, tmp_path / "cache")
        yield server
