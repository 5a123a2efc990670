"""The endpoint under load, faults and signals, as its own process with a real model."""

import asyncio
import json
import time

import httpx
import psutil
import pytest
from support.endpoint_server import STARTER, EndpointServer, ask

pytestmark = pytest.mark.e2e

LONG = {"question": "Anything?", "context": "Ada kept the light.", "do_sample": True, "temperature": 10.0}
"""So hot that every token is as likely as the end: hundreds of tokens."""


@pytest.fixture(scope="module")
def home(endpoint):
    """Where the model is converted already."""
    return endpoint.log_file.parent


def run(coroutine, seconds=90):
    return asyncio.run(asyncio.wait_for(coroutine, seconds))


def idle(server, seconds=10.0):
    """Wait until nothing runs or waits."""
    ended = time.monotonic() + seconds
    while time.monotonic() < ended:
        if not server.metric("llm_requests_running") and not server.metric("llm_requests_waiting"):
            return True
        time.sleep(0.05)
    return False


def test_it_lives_at_once_and_is_ready_only_when_warm(tmp_path):
    # the first start of all, which converts the model
    with EndpointServer(tmp_path, ready=False) as server:
        seen = set()
        ended = time.monotonic() + 60
        while time.monotonic() < ended:
            try:
                health = httpx.get(f"{server.url}/healthz", timeout=2)
            except httpx.TransportError:
                continue
            assert health.status_code == 200
            status = health.json()["status"]
            seen.add(status)
            if status == "ready":
                break
            ready = httpx.get(f"{server.url}/v2/health/ready")
            refused = ask(server)
            if httpx.get(f"{server.url}/healthz").json()["status"] == "warming":
                assert ready.status_code == 503
                assert refused.status_code == 503
                assert refused.headers["retry-after"]
                assert "still warming up" in refused.json()["error"]
        assert seen == {"warming", "ready"}
        assert httpx.get(f"{server.url}/v2/health/ready").status_code == 200
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "nowhere", "there is no model folder"),
        (lambda folder: folder, "holds no safetensors weights"),
    ],
)
def test_a_model_that_cannot_be_loaded_ends_with_the_remedy_and_exit_2(tmp_path, make, message):
    server = EndpointServer(tmp_path, model=make(tmp_path), ready=False)
    assert server.process.wait(60) == 2
    assert message in server.log
    assert "Traceback" not in server.log


def test_an_incomplete_model_folder_is_never_served(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    for file in STARTER.iterdir():
        (model / file.name).symlink_to(file)
    (model / "model_info.json").write_text("{}")
    server = EndpointServer(tmp_path, model=model, ready=False)
    assert server.process.wait(60) == 2
    assert "it lacks prompt.json, manifest.json" in server.log


@pytest.mark.parametrize(("name", "value"), [("HTTP_PORT", "many"), ("API_KEYS_DIR", "/nonexistent"), ("THREADS", "0")])
def test_a_wrong_setting_is_one_line_and_exit_2(tmp_path, name, value):
    server = EndpointServer(tmp_path, ready=False, **{name: value})
    assert server.process.wait(60) == 2
    assert name in server.log
    assert "Traceback" not in server.log


class TestGuards:
    """Limits and keys, in one server with small limits."""

    @pytest.fixture(scope="class")
    def server(self, home, tmp_path_factory):
        folder = tmp_path_factory.mktemp("guards")
        (folder / "keys").mkdir()
        (folder / "keys" / "primary").write_text("first-key-7f31")
        (folder / "keys" / "secondary").write_text("second-key-9a02")
        limits = {"MAX_BODY_BYTES": "5000", "MAX_RUNNING": "1", "MAX_QUEUE": "2"}
        with EndpointServer(home, API_KEYS_DIR=str(folder / "keys"), **limits) as server:
            server.keys = folder / "keys"
            yield server

    def post(self, server, key="first-key-7f31", **options):
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.post(f"{server.url}/generate", headers=headers, timeout=60, **options)

    def test_without_a_valid_key_only_health_and_metrics_are_open(self, server):
        body = {"question": "Who?", "context": "Ada."}
        assert self.post(server, key=None, json=body).status_code == 401
        assert self.post(server, key="guess", json=body).status_code == 401
        assert self.post(server, key="second-key-9a02", json=body).status_code == 200
        for path in ("/v1/models", "/v2/models/llm-api", "/openai/v1/models", "/", "/v2"):
            assert httpx.get(server.url + path).status_code == 401
        for path in ("/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"):
            assert httpx.get(server.url + path).status_code == 200

    def test_keys_are_rotated_without_a_restart(self, server):
        body = {"question": "Who?", "context": "Ada."}
        (server.keys / "secondary").write_text("third-key-55c1")
        time.sleep(1.2)
        assert self.post(server, key="second-key-9a02", json=body).status_code == 401
        assert self.post(server, key="third-key-55c1", json=body).status_code == 200

    def test_a_body_over_the_limit_is_413_however_it_is_sent(self, server):
        body = json.dumps({"question": "Who?", "context": "a" * 6000}).encode()
        assert self.post(server, content=body).status_code == 413

        def chunks():
            for start in range(0, len(body), 500):
                yield body[start : start + 500]

        response = self.post(server, content=chunks())
        assert response.status_code == 413
        assert "larger than 5,000 bytes" in response.json()["error"]

    def test_more_tokens_than_the_model_reads_are_400_with_both_numbers(self, server):
        response = self.post(server, json={"question": "Who?", "context": "z q " * 1000})
        assert response.status_code == 400
        assert "the model reads 512" in response.json()["error"]

    def test_a_full_queue_answers_429_with_retry_after_and_serves_the_rest(self, server):
        async def storm():
            headers = {"authorization": "Bearer first-key-7f31"}
            async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as client:
                return await asyncio.gather(*(client.post("/generate", json=LONG) for _ in range(12)))

        responses = run(storm())
        codes = sorted(response.status_code for response in responses)
        assert set(codes) == {200, 429}
        refused = next(response for response in responses if response.status_code == 429)
        assert int(refused.headers["retry-after"]) >= 1
        assert "already waiting" in refused.json()["error"]
        assert idle(server)


def test_callers_who_leave_stop_their_work(home):
    async def leave(client, stream, after):
        try:
            async with asyncio.timeout(after):
                if stream:
                    async with client.stream("POST", "/generate", json=LONG | {"stream": True}) as response:
                        async for _ in response.aiter_bytes():
                            pass
                else:
                    await client.post("/generate", json=LONG)
        except TimeoutError:
            return "left"
        return "stayed"

    async def crowd(server):
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            work = [leave(client, number % 2 == 0, 0.3 if number % 4 < 2 else 60) for number in range(40)]
            return await asyncio.gather(*work)

    with EndpointServer(home, MAX_RUNNING="2") as server:
        ended = run(crowd(server))
        assert "left" in ended
        assert "stayed" in ended
        assert idle(server)
        assert ask(server).status_code == 200
        assert "Traceback" not in server.log


def test_a_request_that_takes_too_long_is_504_and_stops(home):
    with EndpointServer(home, REQUEST_TIMEOUT_SECONDS="0.05", MAX_RUNNING="1") as server:

        async def storm():
            async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
                return await asyncio.gather(*(client.post("/generate", json=LONG) for _ in range(8)))

        responses = run(storm())
        late = [response for response in responses if response.status_code == 504]
        assert late
        assert "took longer than" in late[0].json()["error"]
        assert idle(server)


def test_sigterm_under_load_answers_everything_that_was_accepted(home):
    async def storm(server):
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            work = [asyncio.create_task(client.post("/generate", json=LONG)) for _ in range(30)]
            while server.metric("llm_requests_running") + server.metric("llm_requests_waiting") < 30:
                await asyncio.sleep(0.02)
                if any(task.done() for task in work):
                    break
            server.terminate()
            return await asyncio.gather(*work)

    server = EndpointServer(home, MAX_RUNNING="4")
    responses = run(storm(server))
    assert {response.status_code for response in responses} == {200}
    assert server.process.wait(30) == 0
    assert "Traceback" not in server.log


def test_memory_stays_flat_and_nobody_is_lost_among_many_callers(home):
    """A short form of the 60 s load run of benchmarks/endpoint_load.py."""

    async def round_of(server, count):
        limits = httpx.Limits(max_connections=60)
        async with httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits) as client:
            body = {"question": "Who?", "context": "Ada kept the light."}
            return await asyncio.gather(*(client.post("/generate", json=body) for _ in range(count)))

    def resident(server):
        process = psutil.Process(server.process.pid)
        return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)])

    with EndpointServer(home) as server:
        run(round_of(server, 300))
        before = resident(server)
        responses = run(round_of(server, 600))
        assert {response.status_code for response in responses} == {200}
        assert len({response.json()["trace_id"] for response in responses}) == 600
        assert resident(server) - before < 30 * 2**20
        assert idle(server)
