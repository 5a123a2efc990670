"""Servers of this machine: whose answer it is that says that one is ready."""

import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from components.core.deployment import local_servers
from components.core.deployment.local_servers import HERE, ServingError, end_server, free_port, start_server

FILES = [sys.executable, "-m", "http.server", "--bind", HERE]
"""A real server that answers 200 at /."""


@pytest.fixture
def squatter():
    """Another process's server, which answers 200, too."""
    with ThreadingHTTPServer((HERE, 0), SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def start(tmp_path, port, command=FILES):
    return start_server("files", command, {}, port, tmp_path, "/", "starting")


def test_a_port_that_is_taken_while_the_server_starts_is_left_to_the_other(tmp_path, monkeypatch, squatter):
    # the look at the port comes before the other's bind, once
    looks = iter([squatter])
    monkeypatch.setattr(local_servers, "free_port", lambda wanted: next(looks, None) or free_port(wanted))
    server = start(tmp_path, squatter)
    try:
        assert server.port != squatter
        assert local_servers._listens(local_servers._process(server), server.port)
    finally:
        assert end_server(server)


def test_a_server_that_ends_says_why(tmp_path):
    with pytest.raises(ServingError, match="the files server ended: this is why"):
        start(tmp_path, free_port(18500), [sys.executable, "-c", "raise SystemExit('error: this is why')"])
