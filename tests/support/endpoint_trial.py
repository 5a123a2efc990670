"""An endpoint of this machine with stubs behind its real front; tests/support/upstream_stub.py says what they are."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from support.endpoint_server import free_port

from components.core.deployment.endpoints.lifecycle import (
    create_endpoint,
    delete_endpoint,
    deploy,
    set_traffic,
)
from components.core.deployment.endpoints.record import DeploymentOptions, EndpointFolder
from components.core.deployment.local_servers import spawn
from components.core.settings import Settings

STUB = Path(__file__).with_name("upstream_stub.py")
SECONDS_TO_WAIT = 30.0


class Trial:
    """One endpoint with stubs behind it."""

    def __init__(self, home: Path, name: str = "trial") -> None:
        self.name, self.home = name, home
        self.settings = Settings(whetstone_home=home)
        self.record, self.keys = create_endpoint(name, self.settings, free_port())
        self.folder = EndpointFolder(home, name)
        self.url = self.record.front.address

    def launch(self, name, model, _port, endpoint, settings):
        port = free_port()  # not the usual one: tests run side by side
        environment = dict(os.environ) | {"API_KEYS_DIR": str(endpoint.path / "internal")}
        return spawn(name, [sys.executable, str(STUB), name, str(port), model], environment, port, endpoint.path)

    def deploy(self, name: str, **options: int):
        self.home.joinpath("stubs").mkdir(exist_ok=True)
        model = str(self.home / "stubs")
        return deploy(self.name, name, model, self.settings, DeploymentOptions(**options), self.launch)

    def tell(self, name: str, **settings: float) -> None:
        (self.home / "stubs" / f"{name}.json").write_text(json.dumps(settings))

    def post(self, path: str = "/score", key: str | None = None, client=httpx, **headers: str) -> httpx.Response:
        given = {"Authorization": f"Bearer {key or self.keys['primary']}"} | headers
        return client.post(self.url + path, content=b'{"a": 1}', headers=given, timeout=SECONDS_TO_WAIT)

    def begin_again(self) -> None:
        """All of the traffic at demo, and both stubs at full speed."""
        set_traffic(self.name, {"demo": 100}, self.settings)
        for name in ("demo", "candidate"):
            self.tell(name)


@contextmanager
def two_deployments(home: Path) -> Iterator[Trial]:
    """An endpoint with the deployments demo and candidate."""
    made = Trial(home)
    try:
        for name in ("demo", "candidate"):
            made.deploy(name, request_timeout_ms=1500)
        yield made
    finally:
        delete_endpoint(made.name, made.settings, print)
