"""Several adapters on one base in the real server: chosen by name, loaded and dropped while others answer."""

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from support.endpoint_server import EndpointServer
from support.tiny_adapters import peft_says, write_adapter
from support.tiny_llama import write_tiny_llama

pytestmark = pytest.mark.e2e

KEY = {"x-api-key": "first"}
NEW = 8
TEXT = "Context: Ada kept the light.\nQuestion: Who?\nAnswer:"
LIMITS = {"ENGINE": "auto", "API_KEY_PRIMARY": "first", "MAX_LORA_RANK": "8", "MAX_ADAPTERS": "4"}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A base that has no manifest, and adapters under one root."""
    home = tmp_path_factory.mktemp("home")
    base = write_tiny_llama(home / "base")
    (base / "prompt.json").unlink()
    for seed, name in enumerate(("one", "two", "three"), 1):
        write_adapter(home / "root" / name, base, seed)
    write_adapter(home / "outside", base, 9)
    write_adapter(home / "root" / "wide", base, 4, rank=16)
    write_adapter(home / "root" / "foreign", base, 5)
    config = home / "root" / "foreign" / "adapter_config.json"
    other = json.loads(config.read_text(encoding="utf-8")) | {"base_model_name_or_path": "somebody/other"}
    config.write_text(json.dumps(other), encoding="utf-8")
    (home / "root" / "link").symlink_to(home / "outside")
    (home / "root" / "empty").mkdir()
    return home


@pytest.fixture(scope="module")
def server(home, tmp_path_factory):
    started = {"ADAPTERS": f"one={home / 'root' / 'one'}", "ADAPTERS_ROOT": str(home / "root")} | LIMITS
    with EndpointServer(tmp_path_factory.mktemp("served"), home / "base", **started) as running:
        yield running


def text_of(home: Path, adapter: str | None) -> str:
    """What peft alone says after the text, as the tokenizer of the base writes it."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(home / "base")
    ids = tokenizer(TEXT, add_special_tokens=False).input_ids
    said = peft_says(home / "base", home / "root" / adapter if adapter else None, ids, NEW, 1.03)
    said = said[: said.index(tokenizer.eos_token_id)] if tokenizer.eos_token_id in said else said
    return plain(str(tokenizer.decode(said, skip_special_tokens=True)).partition("\n")[0])


def plain(text: str) -> str:
    """Without what is left of a character that was cut by the limit of tokens."""
    return text.strip().rstrip("\ufffd").strip()


def complete(server, model: str, **more) -> httpx.Response:
    body = {"model": model, "prompt": TEXT, "max_tokens": NEW} | more
    return httpx.post(f"{server.url}/openai/v1/completions", json=body, headers=KEY, timeout=60)


def said(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    return str(response.json()["choices"][0]["text"])


def load(server, name: str, folder: str, headers=KEY) -> httpx.Response:
    body = {"lora_name": name, "lora_path": folder}
    return httpx.post(f"{server.url}/v1/load_lora_adapter", json=body, headers=headers, timeout=60)


def drop(server, name: str, headers=KEY) -> httpx.Response:
    body = {"lora_name": name}
    return httpx.post(f"{server.url}/v1/unload_lora_adapter", json=body, headers=headers, timeout=60)


def names(server) -> list[str]:
    listed = httpx.get(f"{server.url}/openai/v1/models", headers=KEY, timeout=10).json()["data"]
    return [entry["id"] for entry in listed]


@pytest.fixture
def two(server):
    """A second adapter, for one test."""
    assert load(server, "two", "two").status_code == 200
    yield
    drop(server, "two")


def test_requests_for_adapters_and_base_at_once_get_what_peft_says_with_each_alone(server, home, two):
    asked = ["one", "two", "llm-api"] * 4
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(lambda name: plain(said(complete(server, name))), asked))
    expected = {name: text_of(home, None if name == "llm-api" else name) for name in asked}
    assert answers == [expected[name] for name in asked]
    assert len(set(expected.values())) == 3


def test_every_protocol_finds_an_adapter_by_its_name(server, two):
    row = {"question": "Who?", "context": "Ada kept the light."}
    answers = {name: said(complete(server, name)).strip() for name in ("one", "two", "llm-api")}

    def post(path, body):
        response = httpx.post(f"{server.url}{path}", json=body, headers=KEY, timeout=60)
        assert response.status_code == 200, response.text
        return response.json()

    turns = [{"role": "system", "content": row["context"]}, {"role": "user", "content": row["question"]}]
    tensor = [{"name": name, "datatype": "BYTES", "shape": [1], "data": [row[name]]} for name in row]
    for name, answer in answers.items():
        generated = post("/generate", row | {"model": name, "max_new_tokens": NEW})
        assert generated["response"] == answer
        assert generated.get("adapter") == (None if name == "llm-api" else name)
        v1 = post(f"/v1/models/{name}:predict", {"instances": [row | {"max_new_tokens": NEW}]})
        assert v1["predictions"][0]["response"] == answer
        v2 = post(f"/v2/models/{name}/infer", {"inputs": tensor, "parameters": {"max_new_tokens": NEW}})
        assert v2["model_name"] == name
        assert next(o for o in v2["outputs"] if o["name"] == "response")["data"] == [answer]
        chat = post("/openai/v1/chat/completions", {"model": name, "messages": turns, "max_tokens": NEW})
        assert (chat["choices"][0]["message"]["content"], chat["model"]) == (answer, name)
        asked = {"input_data": {"input_string": turns, "parameters": {"max_new_tokens": NEW}}}
        assert post("/score", asked | {"params": {"model": name}})["output"] == answer


def test_all_names_are_listed_where_clients_look(server, two):
    assert names(server) == ["llm-api", "one", "two"]
    assert httpx.get(f"{server.url}/v1/models", headers=KEY).json() == {"models": ["llm-api", "one", "two"]}
    task = httpx.get(f"{server.url}/task", headers=KEY).json()
    assert [(entry["name"], entry["model"]) for entry in task["adapters"]] == [("one", "one"), ("two", "two")]


def test_an_unknown_name_is_told_which_there_are(server):
    expected = "Use 'llm-api' or 'one'."
    response = complete(server, "three")
    assert response.status_code == 404
    assert response.json()["error"]["message"] == f"the model 'three' is not served here. {expected}"
    row = {"question": "Who?", "context": "Ada."}
    for path, body in (
        ("/v1/models/three:predict", {"instances": [row]}),
        ("/generate", row | {"model": "three"}),
        ("/score", {"input_data": {"input_string": [{"role": "user", "content": "x"}]}, "params": {"model": "three"}}),
    ):
        response = httpx.post(f"{server.url}{path}", json=body, headers=KEY)
        assert response.status_code == 404, path
        assert response.json()["error"].endswith(expected)


@pytest.mark.parametrize(
    ("name", "folder", "message"),
    [
        ("one", "two", "an adapter 'one' is loaded"),
        ("llm-api", "two", "means the base model"),
        ("base", "two", "means the base model"),
        ("a/b", "two", "has letters, digits"),
        ("new", "nothing", "is no folder under the root"),
        ("new", ".", "is no folder under the root"),
        ("new", "../outside", "is no folder under the root"),
        ("new", "link", "is no folder under the root"),
        ("new", "/etc", "is no folder under the root"),
        ("new", "one\0", "is no folder under the root"),
        ("new", "empty", "holds no adapter_config.json"),
        ("new", "wide", "has rank 16; MAX_LORA_RANK is 8"),
        ("new", "foreign", "is an adapter for somebody/other"),
    ],
)
def test_a_load_that_fails_changes_nothing(server, name, folder, message):
    before, answer = names(server), said(complete(server, "one"))
    response = load(server, name, folder)
    assert response.status_code == 400, response.text
    assert message in response.json()["error"]
    assert names(server) == before
    assert said(complete(server, "one")) == answer


def test_the_routes_need_a_key(server):
    assert load(server, "two", "two", {}).status_code == drop(server, "one", {}).status_code == 401
    assert names(server) == ["llm-api", "one"]


def test_a_drop_waits_for_what_runs_and_refuses_what_comes(server, home):
    assert load(server, "three", "three").status_code == 200
    body = {"model": "three", "prompt": "A", "max_tokens": 220, "stream": True}
    done = threading.Event()
    with httpx.stream("POST", f"{server.url}/openai/v1/completions", json=body, headers=KEY, timeout=60) as stream:
        lines = stream.iter_lines()
        next(lines)
        dropping = threading.Thread(target=lambda: (drop(server, "three"), done.set()))
        dropping.start()
        rest = [line for line in lines if line]
    dropping.join(30)
    assert done.is_set()
    assert rest[-1] == "data: [DONE]"
    assert complete(server, "three").status_code == 404
    assert httpx.get(f"{server.url}/v1/models", headers=KEY).json() == {"models": ["llm-api", "one"]}
    assert drop(server, "three").status_code == 404


def test_a_name_can_get_other_weights(server, home):
    for folder in ("two", "three"):
        assert load(server, "changing", folder).status_code == 200
        assert plain(said(complete(server, "changing"))) == text_of(home, folder)
        assert drop(server, "changing").json() == {"name": "changing", "dropped": True}


def test_answers_and_changes_are_counted(server):
    before = server.metric("llm_model_answers_total", adapter="one"), server.metric("llm_model_answers_total")
    complete(server, "one")
    complete(server, "")
    assert server.metric("llm_model_answers_total", adapter="one") == before[0] + 1
    assert server.metric("llm_model_answers_total") == before[1] + 2
    assert server.metric("llm_adapter_changes_total", event="loaded") >= 1
    assert server.metric("llm_requests_total", route="/v1/load_lora_adapter") >= 1


def test_a_file_of_another_place_is_not_read_through_a_link(server, home):
    folder = home / "root" / "linked"
    shutil.copytree(home / "root" / "two", folder)
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.safetensors").symlink_to(home / "outside" / "adapter_model.safetensors")
    response = load(server, "linked", "linked")
    shutil.rmtree(folder)
    assert response.status_code == 400
    assert "is no folder under the root" in response.json()["error"]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"ADAPTERS_ROOT": "."}, "ADAPTERS_ROOT lets callers load adapters, so they need a key"),
        ({"ADAPTERS_ROOT": "gone", "API_KEY_PRIMARY": "k"}, "which is no folder"),
        ({"ADAPTERS": "one"}, "Write name=folder,name=folder"),
        ({"ADAPTERS": "one=gone"}, "holds no adapter_config.json"),
        ({"ADAPTERS": "one=gone", "ENGINE": "openvino"}, "which does not take adapters by request"),
        ({"ADAPTERS": "one=gone", "OPENAI_BASE_URL": "http://127.0.0.1:1"}, "Load them there"),
    ],
)
def test_a_start_that_cannot_be_right_says_why(home, tmp_path, environment, message):
    server = EndpointServer(tmp_path, home / "base", ready=False, **environment)
    assert server.process.wait(60) == 2
    assert message in server.log
    assert "Traceback" not in server.log


def test_without_a_root_nothing_is_loaded_over_http(endpoint):
    response = load(endpoint, "one", "one")
    assert response.status_code == 404
    assert "ADAPTERS_ROOT" in response.json()["error"]
