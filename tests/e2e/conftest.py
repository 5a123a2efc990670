"""What several end-to-end tests share."""

from collections.abc import Iterator

import pytest
from support.endpoint_server import EndpointServer


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EndpointServer]:
    """The real endpoint on the starter's base model, on the engine that a user gets."""
    with EndpointServer(tmp_path_factory.mktemp("endpoint")) as server:
        yield server
