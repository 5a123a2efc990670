import json
import logging
import shutil

import pytest
from support.tiny_llama import PLAIN, write_tiny_llama

from components.core.errors import ConfigError, DataError, StorageError
from components.core.evaluation import evaluate, print_summary, read_evaluation
from components.core.recipe import EvaluationConfig, GateConfig, ModelConfig, TaskConfig
from components.core.settings import Settings
from components.core.tasks.prompt import Prompt, write_prompt

pytestmark = pytest.mark.e2e

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}<turn>{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
QUICK = EvaluationConfig(max_new_tokens=6, bootstrap_samples=200)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {
        name: write_tiny_llama(root / name, seed, chat_template=template)
        for name, seed, template in (
            ("base", 0, None),
            ("tuned", 1, None),
            ("other", 2, None),
            ("chat", 3, CHAT_TEMPLATE),
        )
    }


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "dataset"
    folder.mkdir()
    rows = [
        {
            "id": f"r{number}",
            "context": f"The ship number {number} sailed. " * (1 + number % 5),
            "question": f"Which ship, {number}?",
            "answers": {"text": [str(number)] if number % 3 else [], "answer_start": [16] if number % 3 else []},
        }
        for number in range(24)
    ]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "dataset_info.json").write_text('{"fingerprint": "fp1"}')
    return folder


def run(folders, dataset, tmp_path, base="base", tuned="tuned", config=QUICK, gate=None, **more):
    return evaluate(
        TaskConfig(), ModelConfig(model_id=str(folders[base])), config, gate or GateConfig(), dataset, folders[tuned],
        tmp_path / "out", Settings(whetstone_home=tmp_path / "home"), **more,
    )  # fmt: skip


def test_an_evaluation_leaves_all_its_files(folders, dataset, tmp_path):
    found = run(folders, dataset, tmp_path)
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "evaluation.json", "predictions.jsonl", "report.html", "report.md",
    ]  # fmt: skip
    assert read_evaluation(out) == found
    records = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert [record["id"] for record in records] == [f"r{number}" for number in range(24)]
    assert list(records[1]) == ["id", "question", "references", "base", "tuned", "scores"]
    assert list(records[1]["scores"]) == ["base", "tuned"]
    assert found.rows == 24
    assert found.dataset_fingerprint == "fp1"
    assert list(found.slices) == ["all", "has_answer", "no_answer"]
    assert "Only 24 test rows" in print_summary(found)
    assert str(tmp_path) not in (out / "report.html").read_text() + (out / "evaluation.json").read_text()


def test_a_model_compared_with_itself_is_refused(folders, dataset, tmp_path):
    found = run(folders, dataset, tmp_path, tuned="base")
    assert (found.verdict.status, found.verdict.outcome) == ("refused", "no difference")
    assert "same weights" in found.verdict.headline
    assert all(gap.value == gap.low == gap.high == 0 for gap in found.everything.differences["base"].values())


def test_the_champion_is_compared_and_recognised_when_it_is_the_same_model(folders, dataset, tmp_path):
    found = run(folders, dataset, tmp_path, champion_dir=folders["other"])
    assert set(found.models) == {"base", "tuned", "champion"}
    assert set(found.everything.differences) == {"base", "champion"}
    copy = shutil.copytree(folders["tuned"], tmp_path / "registry-3")
    same = run(folders, dataset, tmp_path, champion_dir=copy)
    assert not same.verdict.passed
    assert any("registered champion, which is the same model" in reason for reason in same.verdict.reasons)


def test_known_models_are_not_asked_again(folders, dataset, tmp_path, caplog):
    first = run(folders, dataset, tmp_path)
    with caplog.at_level(logging.INFO):
        second = run(folders, dataset, tmp_path, tuned="other", champion_dir=folders["tuned"])
    assert not any(facts.cached for facts in first.models.values())
    assert {name: facts.cached for name, facts in second.models.items()} == {
        "base": True, "tuned": False, "champion": True,
    }  # fmt: skip
    assert second.everything.scores["champion"] == first.everything.scores["tuned"]
    assert "base: 24 answers taken from the cache" in caplog.text


@pytest.mark.parametrize("change", ["rows", "answer length", "prompt"])
def test_other_questions_are_asked_anew(folders, dataset, tmp_path, change):
    tuned = shutil.copytree(folders["tuned"], tmp_path / "tuned")
    run(folders | {"tuned": tuned}, dataset, tmp_path)
    config = QUICK
    if change == "rows":
        config = QUICK.model_copy(update={"max_rows": 20})
    elif change == "answer length":
        config = QUICK.model_copy(update={"max_new_tokens": 7})
    else:
        write_prompt(Prompt("{question} {context} =", False, "none"), tuned)
    again = run(folders | {"tuned": tuned}, dataset, tmp_path, config=config)
    assert not any(facts.cached for facts in again.models.values())


def test_a_damaged_cache_file_is_replaced(folders, dataset, tmp_path, caplog):
    first = run(folders, dataset, tmp_path)
    for path in (tmp_path / "home" / "cache" / "predictions").iterdir():
        path.write_text('{"texts": [')
    second = run(folders, dataset, tmp_path)
    assert "is damaged" in caplog.text
    assert second.slices == first.slices
    assert run(folders, dataset, tmp_path).models["base"].cached


def test_an_adapter_is_loaded_on_its_base_and_answers_like_the_merged_model(folders, dataset, tmp_path):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(folders["base"]), LoraConfig(r=4, target_modules="all-linear")
    )
    torch.manual_seed(3)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    adapter, merged = tmp_path / "adapter", tmp_path / "merged"
    model.save_pretrained(adapter)
    model.merge_and_unload().save_pretrained(merged)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(folders["base"] / name, merged / name)
    for folder in (adapter, merged):
        write_prompt(PLAIN, folder)

    info = {"base_model": {"id": folders["base"].name, "revision": "local"}}
    (adapter / "model_info.json").write_text(json.dumps(info))
    run(folders | {"tuned": merged}, dataset, tmp_path, champion_dir=adapter)
    records = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    assert [record["champion"] for record in records] == [record["tuned"] for record in records]
    assert any(record["tuned"] != record["base"] for record in records)
    alone = run(folders | {"tuned": adapter}, dataset, tmp_path)
    assert alone.models["tuned"].weights_sha256 != alone.models["base"].weights_sha256


def test_a_chat_prompt_keeps_line_breaks_and_stops_at_the_end_of_the_turn(folders, dataset, tmp_path):
    write_prompt(Prompt(PLAIN.template, True, PLAIN.no_answer_text), folders["chat"])
    found = run(folders, dataset, tmp_path, base="chat", tuned="chat")
    assert not any("line break" in note for note in found.notes)
    assert found.rows == 24


def test_references_over_several_lines_switch_the_line_break_rule_off(folders, dataset, tmp_path):
    assert any("line break" in note for note in run(folders, dataset, tmp_path).notes)
    row = {"id": "x", "context": "a\nb", "question": "q", "answers": {"text": ["a\nb"], "answer_start": [0]}}
    (dataset / "test.jsonl").write_text(json.dumps(row) + "\n")
    assert not any("line break" in note for note in run(folders, dataset, tmp_path).notes)


def test_a_context_too_long_for_the_model_is_cut_counted_and_told(folders, dataset, tmp_path):
    row = {"id": "x", "context": "word " * 200, "question": "q?", "answers": {"text": ["word"], "answer_start": [0]}}
    with (dataset / "test.jsonl").open("a") as stream:
        stream.write(json.dumps(row) + "\n")
    found = run(folders, dataset, tmp_path)
    assert found.models["tuned"].rows_cut == 1
    assert any(note == "Contexts cut at their end to fit the model: 1 (base, tuned)." for note in found.notes)


def test_one_test_row_gives_a_report_and_no_promotion(folders, dataset, tmp_path):
    found = run(folders, dataset, tmp_path, config=QUICK.model_copy(update={"max_rows": 1}))
    assert found.rows == 1
    assert not found.verdict.passed


def test_wrong_inputs_are_told_in_one_line(folders, dataset, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match=r"cannot read .*test\.jsonl"):
        run(folders, empty, tmp_path)
    with pytest.raises(StorageError, match=r"prompt\.json is missing"):
        run(folders | {"tuned": empty}, dataset, tmp_path)
    write_prompt(PLAIN, empty)
    with pytest.raises(StorageError, match=r"holds no \*\.safetensors weights"):
        run(folders | {"tuned": empty}, dataset, tmp_path)
    with pytest.raises(ConfigError, match=r"evaluation\.max_new_tokens is 256.*reads 256 tokens in all"):
        run(folders, dataset, tmp_path, config=QUICK.model_copy(update={"max_new_tokens": 256}))
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_written_is_told_in_one_line(folders, dataset, tmp_path):
    (tmp_path / "out").write_text("a file is in the way")
    with pytest.raises(StorageError, match=r"cannot write the evaluation to .*out"):
        run(folders, dataset, tmp_path)


def test_broken_weights_are_told_in_one_line(folders, dataset, tmp_path):
    tuned = shutil.copytree(folders["tuned"], tmp_path / "tuned")
    (tuned / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(StorageError, match=r"cannot load the tuned model from .*complete causal language model"):
        run(folders | {"tuned": tuned}, dataset, tmp_path)


def test_weights_that_lack_a_tensor_are_refused_instead_of_filled_with_noise(folders, dataset, tmp_path):
    from safetensors.torch import load_file, save_file

    tuned = shutil.copytree(folders["tuned"], tmp_path / "tuned")
    weights = load_file(tuned / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, tuned / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(StorageError, match=r"1 weights are missing, model\.layers\.1\.mlp\.up_proj\.weight"):
        run(folders | {"tuned": tuned}, dataset, tmp_path)
