"""Loading and dropping adapters around a core that says what it is told, which stands in for a model."""

import asyncio
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from llm_endpoint.adapters import Adapters, Listeners, check_adapter_settings, folder_under_root, parse_adapters
from llm_endpoint.engines.seam import GenerationRequest, Sampling
from llm_endpoint.errors import InvalidInput, ModelError, NotFound, SettingsError
from llm_endpoint.metrics import Metrics
from llm_endpoint.served.adapter import BaseModel, open_adapter
from llm_endpoint.served.encoding import PromptEncoder
from llm_endpoint.served.folder import read_served_folder
from llm_endpoint.settings import Settings
from prometheus_client import CollectorRegistry
from support.scripted_core import ScriptedCore, scripted_engine

TEMPLATE = "Context: {context}\nQuestion: {question}\nAnswer:"
ASK = GenerationRequest(text="ab", sampling=Sampling(max_new_tokens=3))


@dataclass(eq=False)
class Weights:
    """What the core keeps of an adapter."""

    folder: Path
    parts: dict[str, int] = field(default_factory=lambda: {"layer": 1})
    reached: set[str] = field(default_factory=set)
    fault: str = ""
    rank: int = 4
    dropped: bool = False


class AdaptableScriptedCore(ScriptedCore):
    """Its adapters reach their layer as soon as they are used, unless told otherwise."""

    reaches = True

    def read_adapter(self, folder: Path, largest_rank: int) -> Weights:
        if largest_rank < 4:
            raise ModelError("its rank is too large")
        return Weights(folder)

    def add_adapted(self, key: int, prompt_ids: Any, sampling: Any, stop_ids: Any, adapter: Any) -> None:
        if self.reaches:
            adapter.reached.add("layer")
        self.add(key, prompt_ids, sampling, stop_ids)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_tokenizer(folder: Path, letters: str = "abcdefgh: \n") -> None:
    from tokenizers import Tokenizer, models

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {text: number for number, text in enumerate(["<eos>", "<unk>", *letters])}
    Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>")).save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"eos_token": "<eos>", "model_max_length": 512})


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "served-base"
    write_tokenizer(folder)
    write_json(folder / "config.json", {"vocab_size": 20, "max_position_embeddings": 512})
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def weights_hash(folder: Path) -> str:
    """As a training records it."""
    from components.core.training.checkpoints import hash_weights

    return hash_weights(folder)


def plain(folder: Path, base_name: str) -> Path:
    write_json(folder / "adapter_config.json", {"peft_type": "LORA", "r": 4, "base_model_name_or_path": base_name})
    (folder / "adapter_model.safetensors").write_bytes(b"adapter")
    return folder


def ours(folder: Path, base_hash: str, **info: Any) -> Path:
    """A complete adapter folder as publishing leaves it."""
    plain(folder, "somebody/base")
    write_tokenizer(folder)
    write_json(folder / "prompt.json", {"template": TEMPLATE, "chat_template": False, "no_answer_text": "none"})
    made = {"task": "context_qa", "name": "tuned", "base_model": {"id": "somebody/base", "weights_sha256": base_hash}}
    generation = {"one_line": False, "repetition_penalty": 1.2}
    write_json(folder / "model_info.json", made | {"generation": generation} | info)
    files = {
        path.name: {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in folder.iterdir()
    }
    write_json(folder / "manifest.json", {"files": files, "content_sha256": "c" * 64})
    return folder


def base_model(base: Path, settings: Settings) -> BaseModel:
    served = read_served_folder(base.resolve(), settings)
    return BaseModel(served, PromptEncoder(base, False), settings.model)


@dataclass
class Trial:
    """A started engine with its adapters, and what the listeners heard."""

    core: AdaptableScriptedCore
    engine: Any
    adapters: Adapters
    heard: list[str]
    made: list[Any]
    registry: CollectorRegistry

    def count(self, event: str) -> float:
        return self.registry.get_sample_value("llm_adapter_changes_total", {"event": event}) or 0.0


def run(base: Path, body: Any, **options: Any) -> Any:
    """Run `body(trial)`."""

    async def main() -> Any:
        settings = Settings(model=str(base), **options)
        core = AdaptableScriptedCore([2, 3], context_length=64)
        engine = scripted_engine(core, base)
        heard: list[str] = []
        made: list[Any] = []
        listeners = Listeners(lambda name: heard.append(f"+{name}"), lambda name: heard.append(f"-{name}"))

        def make(own: Any, model: Any) -> Any:
            made.append((own, model))
            return own

        registry = CollectorRegistry()
        adapters = Adapters(
            settings, base_model(base, settings), engine, make, {"llm-api"}, Metrics(registry), listeners
        )
        await engine.start()
        try:
            return await body(Trial(core, engine, adapters, heard, made, registry))
        finally:
            core.go.set()
            await engine.stop()

    return asyncio.run(asyncio.wait_for(main(), 30))


def test_an_adapter_is_listed_once_it_has_answered_and_is_described_as_itself(base, tmp_path):
    folder = ours(tmp_path / "tuned" / "3", weights_hash(base))

    async def body(trial):
        before = len(trial.core.added)
        loaded = await trial.adapters.load("support", folder)
        assert len(trial.core.added) == before + 1  # the warm-up
        assert trial.adapters.names() == ["support"]
        info = trial.adapters.get("support").info
        assert info.trace_facts() == {
            "model": "tuned", "revision": "3", "engine": "scripted", "content_sha256": "c" * 64, "adapter": "support",
        }  # fmt: skip
        assert (loaded.name, loaded.model, loaded.revision) == ("support", "tuned", "3")
        assert trial.heard == ["+support"]
        assert trial.made[0][1].served.repetition_penalty == 1.2
        assert trial.made[0][1].variant.one_line is False
        assert trial.count("loaded") == 1

    run(base, body)


def test_a_drop_waits_for_what_runs_and_the_name_is_gone_at_once(base, tmp_path):
    folder = plain(tmp_path / "one", str(base))

    async def body(trial):
        await trial.adapters.load("one", folder)
        engine = trial.adapters.get("one")
        weights = engine._variant.adapter
        trial.core.go.clear()
        generation = engine.submit(ASK)
        other = trial.engine.submit(ASK)
        dropping = asyncio.ensure_future(trial.adapters.drop("one"))
        await asyncio.sleep(0.15)
        assert trial.adapters.get("one") is None
        assert trial.heard == ["+one", "-one"]
        assert not dropping.done()
        assert not weights.dropped
        trial.core.go.set()
        assert len([delta async for delta in generation]) >= 1
        assert generation.finish_reason == "stop"
        await dropping
        assert weights.dropped
        assert [delta async for delta in other]
        with pytest.raises(NotFound, match="no adapter 'one' is loaded. There are none"):
            await trial.adapters.drop("one")

    run(base, body)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("taken", {}, "'taken' is loaded. Drop it first"),
        ("llm-api", {}, "means the base model here"),
        ("base", {}, "means the base model here"),
        ("", {}, "an adapter's name has"),
        ("-x", {}, "an adapter's name has"),
        ("é", {}, "an adapter's name has"),
        ("new", {"max_adapters": 1}, "as many as MAX_ADAPTERS allows"),
    ],
)
def test_a_name_that_cannot_be_taken_is_refused(base, tmp_path, name, options, message):
    folder = plain(tmp_path / "one", str(base))

    async def body(trial):
        await trial.adapters.load("taken", folder)
        with pytest.raises(InvalidInput, match=message):
            await trial.adapters.load(name, folder)
        assert trial.adapters.names() == ["taken"]
        assert trial.count("refused") == 1

    run(base, body, **options)


def test_what_fails_while_it_warms_is_not_listed_and_harms_nobody(base, tmp_path):
    folder = plain(tmp_path / "one", str(base))

    async def body(trial):
        trial.core.reaches = False
        with pytest.raises(ModelError, match="layer does not run as a layer of its own"):
            await trial.adapters.load("one", folder)
        assert trial.adapters.names() == trial.heard == []
        assert [delta async for delta in trial.engine.submit(ASK)]
        trial.core.reaches = True
        await trial.adapters.load("one", folder)
        assert trial.adapters.names() == ["one"]

    run(base, body)


def test_of_two_loads_of_one_name_at_once_one_is_taken(base, tmp_path):
    folder = plain(tmp_path / "one", str(base))

    async def body(trial):
        loads = [trial.adapters.load("one", folder) for _ in range(2)]
        first, second = await asyncio.gather(*loads, return_exceptions=True)
        assert first.name == "one"
        assert isinstance(second, InvalidInput)

    run(base, body)


def test_an_adapter_of_ours_must_name_the_weights_that_are_served(base, tmp_path):
    settings = Settings(model=str(base))
    folder = ours(tmp_path / "tuned", "e" * 64)
    with pytest.raises(ModelError, match="is an adapter for somebody/base with weights eeeeeeeeeeee"):
        open_adapter(folder, base_model(base, settings), settings)


def test_weights_that_are_not_those_of_the_manifest_are_refused(base, tmp_path):
    settings = Settings(model=str(base))
    folder = ours(tmp_path / "tuned", weights_hash(base))
    (folder / "adapter_model.safetensors").write_bytes(b"adaptes")
    with pytest.raises(ModelError, match="adapter_model.safetensors is not the file that was published"):
        open_adapter(folder, base_model(base, settings), settings)


def test_a_restricted_adapter_is_not_served_elsewhere(base, tmp_path):
    settings = Settings(model=str(base), pod_namespace="team-b")
    folder = ours(tmp_path / "tuned", weights_hash(base), access={"restricted": True, "namespace": "team-a"})
    with pytest.raises(ModelError, match="is restricted to namespace team-a"):
        open_adapter(folder, base_model(base, settings), settings)


def test_a_plain_adapter_takes_prompt_and_tokenizer_of_the_base(base, tmp_path):
    settings = Settings(model=str(base))
    found = base_model(base, settings)
    adapter = open_adapter(plain(tmp_path / "one", str(base)), found, settings)
    assert adapter.variant.encoder is found.encoder
    assert adapter.prompt == found.served.prompt
    assert adapter.variant.one_line == found.served.one_line


def test_tokens_that_the_base_does_not_have_are_refused(base, tmp_path):
    settings = Settings(model=str(base))
    folder = plain(tmp_path / "one", str(base))
    write_tokenizer(folder, "abcdefghijklmnopqrstuvwxyz")
    with pytest.raises(ModelError, match="has 28 tokens and the served base 20"):
        open_adapter(folder, base_model(base, settings), settings)


def test_a_plain_adapter_of_another_base_is_refused(base, tmp_path):
    settings = Settings(model=str(base))
    for name in ("somebody/other", "", str(tmp_path)):
        with pytest.raises(ModelError, match="Serve its own base as MODEL"):
            open_adapter(plain(tmp_path / "one", name), base_model(base, settings), settings)


def test_adapters_of_the_environment_are_read():
    assert parse_adapters("a=/x, b=y=z,") == {"a": Path("/x"), "b": Path("y=z")}
    for wrong in ("a", "a=", "=x", "a b=x", "a=x,a=y"):
        with pytest.raises(SettingsError, match="Write name=folder,name=folder"):
            parse_adapters(wrong)


def test_loading_over_http_needs_a_key_and_a_folder(tmp_path):
    check_adapter_settings(Settings(), False)
    check_adapter_settings(Settings(adapters_root=tmp_path), True)
    with pytest.raises(SettingsError, match="need a key"):
        check_adapter_settings(Settings(adapters_root=tmp_path), False)
    with pytest.raises(SettingsError, match="is no folder"):
        check_adapter_settings(Settings(adapters_root=tmp_path / "gone"), True)


def test_only_folders_under_the_root_are_read(tmp_path):
    root, outside = tmp_path / "root", plain(tmp_path / "outside", "x")
    inside = plain(root / "deep" / "one", "x")
    settings = Settings(adapters_root=root)
    (root / "link").symlink_to(outside)
    (root / "round").symlink_to(inside)
    (root / "file").touch()
    (root / "mixed").mkdir()
    (root / "mixed" / "adapter_model.safetensors").symlink_to(outside / "adapter_model.safetensors")
    (tmp_path / "root-2").mkdir()
    for asked in ("deep/one", str(inside), "./deep/../deep/one", "round"):
        assert folder_under_root(asked, settings) == inside.resolve()
    for asked in ("", ".", "..", "../outside", str(outside), "link", "file", "mixed", "gone", "../root-2", "a\0", "~"):
        with pytest.raises(InvalidInput, match="is no folder under the root"):
            folder_under_root(asked, settings)
