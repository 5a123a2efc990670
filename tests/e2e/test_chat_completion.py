"""A tiny model of conversations, from rows to answers: what the evaluation judged is what the endpoint says."""

import asyncio
import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from llm_endpoint.answering import Caller
from llm_endpoint.engines.seam import Message
from llm_endpoint.service import Service
from llm_endpoint.settings import Settings as EndpointSettings
from prometheus_client import CollectorRegistry
from support.tiny_llama import write_tiny_llama

from components.core.data import prepare_dataset
from components.core.data.tokens import tokenize_dataset
from components.core.errors import ConfigError
from components.core.evaluation import evaluate
from components.core.recipe import (
    EvaluationConfig,
    GateConfig,
    LoraConfig,
    ModelConfig,
    Recipe,
    RegistryConfig,
    TaskConfig,
    TokensConfig,
    TrainingConfig,
)
from components.core.registry import publish
from components.core.settings import Settings
from components.core.tasks import get_generative_task, read_prompt
from components.core.training import finetune

pytestmark = pytest.mark.e2e

CHATML = (
    "{% for m in messages %}{{ m['role'] }}:\n{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}<turn>"
    "{% endgeneration %}{% else %}{{ m['content'] }}<turn>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}assistant:\n{% endif %}"
)


def write_conversations(path: Path, rows: int = 60) -> None:
    """Two questions each, one row in three with a system message."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            turns = [("user", f"Say {number}."), ("assistant", f"It is {number}."), ("user", "And twice?")]
            turns = [*turns, ("assistant", f"It is {2 * number}.\nDone.")]
            turns = [("system", "Be brief."), *turns] if number % 3 == 0 else turns
            messages = [{"role": role, "content": text} for role, text in turns]
            file.write(json.dumps({"messages": messages}) + "\n")


@pytest.fixture(scope="module", params=["plain", "own"])
def line(request, tmp_path_factory):
    """A whole run; the base has a chat template of its own or none."""
    root = tmp_path_factory.mktemp(request.param)
    write_conversations(root / "rows.jsonl")
    base = write_tiny_llama(root / "base", chat_template=CHATML if request.param == "own" else None)
    (base / "prompt.json").unlink()
    recipe = Recipe(
        task=TaskConfig(name="chat_completion"),
        model=ModelConfig(model_id=str(base)),
        data={"dataset_id": str(root / "rows.jsonl")},
        tokens=TokensConfig(max_seq_length=160),
        training=TrainingConfig(max_steps=10, tokens_per_batch=1024, learning_rate=3e-2),
        lora=LoraConfig(r=4),
        evaluation=EvaluationConfig(max_new_tokens=8, bootstrap_samples=100),
        gate=GateConfig(metric="loss"),
        registry=RegistryConfig(name="talker"),
    )
    settings = Settings(whetstone_home=root / "home")
    task, model, folders = recipe.task, recipe.model, {name: root / name for name in ("data", "tokens", "tuned", "out")}
    prepare_dataset(recipe.data, task, folders["data"], settings)
    tokenized = tokenize_dataset(task, model, recipe.tokens, folders["data"], folders["tokens"], settings)
    finetune(task, model, recipe.training, recipe.lora, folders["tokens"], folders["tuned"], settings)
    judged = evaluate(
        task, model, recipe.evaluation, recipe.gate, folders["data"], folders["tuned"], folders["out"], settings
    )
    sections = recipe.model_dump(mode="json", exclude_none=True)
    arguments = folders["tuned"], folders["out"], folders["data"], recipe.registry, sections, settings
    published = publish(*arguments, root / "published")
    return SimpleNamespace(
        own=request.param == "own",
        root=root,
        recipe=recipe,
        settings=settings,
        tokenized=tokenized,
        judged=judged,
        folder=Path(published.uri),
        **folders,
    )


def read(path):
    return [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]


def test_the_tuned_model_finds_the_answers_more_probable_and_passes_by_its_loss(line):
    everything = line.judged.everything
    assert line.judged.metrics == ["f1", "exact_match", "loss", "perplexity"]
    assert everything.scores["tuned"]["loss"].value < everything.scores["base"]["loss"].value
    assert everything.differences["base"]["loss"].low > 0
    for scores in everything.scores.values():
        assert scores["perplexity"].value == pytest.approx(math.exp(scores["loss"].value))
        assert scores["loss"].low <= scores["loss"].value <= scores["loss"].high
    assert line.judged.verdict.headline.startswith("PASSED: Loss of the tuned model is better than the base")
    report = (line.out / "report.html").read_text()
    assert "Perplexity" in report
    assert "HasAns" not in report
    assert line.tokenized.splits["train"]["dropped"] == 0


@pytest.mark.parametrize("name", ["base", "tuned"])
def test_the_loss_is_that_of_transformers_on_the_same_labels(line, name):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = line.root / "base" if name == "base" else line.tuned
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(line.tuned)
    rows = read(line.data / "test.jsonl")
    encoded = get_generative_task(line.recipe.task).encode(rows, tokenizer, read_prompt(line.tuned), 256, True)
    total = tokens = 0.0
    for ids, labels in zip(encoded.input_ids, encoded.labels, strict=True):
        count = sum(label != -100 for label in labels[1:])
        with torch.no_grad():
            total += model(torch.tensor([ids]), labels=torch.tensor([labels])).loss.item() * count
        tokens += count
    assert line.judged.everything.scores[name]["loss"].value == pytest.approx(total / tokens, rel=1e-4)


def test_the_model_folder_says_how_conversations_are_written(line):
    assert ("{% generation %}" in (line.folder / "chat_template.jinja").read_text()) == line.own
    content = json.loads((line.folder / "prompt.json").read_text())
    assert (content["format"], content["chat_template"], "template" in content) == ("messages", True, not line.own)
    info = json.loads((line.folder / "model_info.json").read_text())
    assert (info["task"], info["metrics"]["tuned_loss"]) == (
        "chat_completion",
        line.judged.everything.scores["tuned"]["loss"].value,
    )
    card = (line.folder / "README.md").read_text()
    assert "continues conversations" in card
    assert "| Perplexity |" in card
    assert "context, question" not in card


def test_the_endpoint_answers_what_the_evaluation_judged(line):
    engine = "transformers" if line.own else "openvino"
    conversations = [row["messages"][:-1] for row in read(line.data / "test.jsonl")]

    async def main():
        settings = EndpointSettings(model=str(line.folder), engine=engine, whetstone_home=line.root / "e", threads=1)
        service = Service(settings, CollectorRegistry())
        await service.warm_up()
        answering = service.ready_answering()
        sampling = replace(answering.defaults, max_new_tokens=8)
        turns = [[Message(each["role"], each["content"]) for each in messages] for messages in conversations]
        try:
            assert service.task().task == service.health().task == "chat_completion"
            streams = [answering.chat(messages, sampling, Caller("test")) for messages in turns]
            return await asyncio.gather(*map(answering.finish, streams))
        finally:
            await service.close()

    served = asyncio.run(asyncio.wait_for(main(), 180))
    judged = read(line.out / "predictions.jsonl")
    assert len({record["tuned"] for record in judged}) > 1
    assert [answer.response for answer in served] == [record["tuned"] for record in judged]


def test_a_gate_by_loss_is_refused_for_questions(line, tmp_path):
    with pytest.raises(ConfigError, match="gate.metric=loss is none of context_qa. Choose one of f1, exact_match"):
        evaluate(
            TaskConfig(), line.recipe.model, line.recipe.evaluation, GateConfig(metric="loss"), line.data, line.tuned,
            tmp_path, line.settings,
        )  # fmt: skip
