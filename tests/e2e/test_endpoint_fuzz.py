"""Fuzzing the whole HTTP surface from its own OpenAPI page: no 500, no hang, every status and body as documented."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.e2e

_HANG_SECONDS = 30.0
_CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def test_no_request_from_the_page_breaks_the_server(endpoint, tmp_path):
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{endpoint.url}/openapi.json"]
    command += ["--checks", _CHECKS, "--max-examples", "40", "--request-timeout", str(_HANG_SECONDS)]
    command += ["--generation-deterministic", "--phases", "examples,coverage,fuzzing", "--no-color"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "Tested: 0" not in done.stdout


@pytest.mark.parametrize("path", ["/generate", "/score", "/feedback", "/openai/v1/chat/completions",
                                  "/openai/v1/completions",
                                  "/v1/models/llm-api:predict", "/v2/models/llm-api/infer"])  # fmt: skip
@pytest.mark.parametrize(
    "content",
    [b"null", b"[]", b'"x"', b"{", b"\x00", b"[" * 50_000, b'{"a":' * 20_000, b'{"inputs": null}', b'{"instances": {}}',
     b'{"question": 1e999, "context": []}',
     b'{"inputs": [{"name": "question", "shape": [-1], "datatype": "BYTES", "data": [1]}]}'],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream", "application/cloudevents+json", ""])
def test_hostile_bodies_are_4xx(endpoint, path, content, kind):
    headers = {"content-type": kind} if kind else {}
    response = httpx.post(endpoint.url + path, content=content, headers=headers, timeout=_HANG_SECONDS)
    assert 400 <= response.status_code < 500, response.text
    assert response.json()["error"]


@pytest.mark.parametrize(
    "headers",
    [{"inference-header-content-length": "x"}, {"inference-header-content-length": "-5"},
     {"inference-header-content-length": "99999"}, {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "x"},
     {"content-encoding": "gzip"}],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/models/llm-api:predict", "/v2/models/llm-api/infer"])
def test_hostile_headers_are_4xx(endpoint, path, headers):
    response = httpx.post(endpoint.url + path, content=b'{"inputs": []}', headers=headers, timeout=_HANG_SECONDS)
    assert 400 <= response.status_code < 500, response.text


def test_the_server_is_as_ready_as_before(endpoint):
    assert httpx.get(f"{endpoint.url}/readyz").status_code == 200
    assert "Traceback" not in endpoint.log
