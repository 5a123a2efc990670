"""MLflow on a real server: runs, versions and champions, and servers that refuse or break."""

import http.server
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from support.run_output import RunOutput, write_run

from components.core.errors import RegistryError
from components.core.registry import Published, champion_folder, lineage, publish, register
from components.core.registry.mlflow_store import open_client

pytestmark = pytest.mark.e2e

NAME = "starter-context-qa"


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The address of a real `mlflow server`."""
    folder = tmp_path_factory.mktemp("server")
    run = write_run(folder / "run")
    open_client(run.settings)  # much faster than to let the server make its tables
    shutil.copyfile(run.settings.whetstone_home / "mlflow.db", folder / "server.db")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/server.db"]
    command += ["--artifacts-destination", str(folder / "store")]
    with (folder / "log").open("w") as log:
        env = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=env, start_new_session=True)
    try:
        for _ in range(1500):
            if process.poll() is not None:
                pytest.fail((folder / "log").read_text())
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        yield url
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def finish(run: RunOutput, folder: Path) -> Published:
    """Publish and register a model that passed."""
    published = publish(*run.inputs(), folder)
    register(published, *run.inputs())
    return published


def another(run: RunOutput, folder: Path, fill: float) -> RunOutput:
    """A later model of the same name in the same registry."""
    uri = run.settings.mlflow_tracking_uri
    return write_run(folder, fill=fill, whetstone_home=run.settings.whetstone_home, mlflow_tracking_uri=uri)


def test_a_real_server_keeps_runs_versions_artifacts_and_champions(server, tmp_path):
    run = write_run(tmp_path / "run", mlflow_tracking_uri=server)
    finish(run, tmp_path / "out")
    finish(another(run, tmp_path / "next", 0.25), tmp_path / "out2")
    assert champion_folder(NAME, run.settings) == run.settings.local_registry / NAME / "2"
    found = lineage(NAME, "2", run.settings)
    assert found["uri"] == f"whetstone:/{NAME}/2"
    client = open_client(run.settings)
    card = client.download_artifacts(found["run"]["id"], "README.md", str(tmp_path))
    assert "# starter-context-qa" in Path(card).read_text(encoding="utf-8")
    assert [point.value for point in client.get_metric_history(found["run"]["id"], "train/loss")] == [2.5, 1.5]
    assert not (run.settings.whetstone_home / "mlflow.db").exists()


def test_a_hub_address_is_taken_by_a_real_server(server, tmp_path):
    run = write_run(tmp_path, mlflow_tracking_uri=server)
    run.registry = run.registry.model_copy(update={"name": "on-the-hub"})
    published = Published(f"hf://acme/tuned@{'a' * 40}", "a" * 40, "on-the-hub", "a" * 12, "https://x", "b" * 64)
    register(published, *run.inputs())
    assert lineage("on-the-hub", "candidate", run.settings)["uri"] == published.uri


def test_a_server_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run = write_run(tmp_path, mlflow_tracking_uri="http://me:planted-password@127.0.0.1:9")
    with pytest.raises(RegistryError, match="http://127.0.0.1:9 cannot be reached. Start the server") as raised:
        register(None, *run.inputs())
    assert "planted-password" not in str(raised.value)
    with pytest.raises(RegistryError, match="cannot look up the champion .* cannot be reached"):
        champion_folder(NAME, run.settings)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, b"You are not authenticated.", r"refused us \(401\). Set MLFLOW_TRACKING_USERNAME"),
        (403, b'{"error_code": "PERMISSION_DENIED", "message": "no"}', r"refused us \(403\). Set MLFLOW_TRACKING"),
        (500, b"<html>Internal Server Error</html>", r"has a problem \(500\). Look at the server's log"),
        (503, b"", r"has a problem \(503\). Look at the server's log"),
        (200, b"<html>Sign in</html>", "does not answer like an MLflow server. Correct MLFLOW_TRACKING_URI"),
    ],
)
def test_a_server_that_refuses_or_breaks_is_told(tmp_path, monkeypatch, caplog, status, body, message):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "planted-token")
    broken = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=broken.serve_forever, daemon=True).start()
    try:
        run = write_run(tmp_path, mlflow_tracking_uri=f"http://127.0.0.1:{broken.server_port}")
        with pytest.raises(RegistryError, match=message) as raised:
            register(None, *run.inputs())
    finally:
        broken.shutdown()
        broken.server_close()
    assert "planted-token" not in f"{raised.value} {caplog.text}"
    assert "\n" not in str(raised.value)
