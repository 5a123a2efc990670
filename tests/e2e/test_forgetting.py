"""A model that was really trained until it forgot is refused; one that learned the same and kept the rest passes."""

import json
import shutil
from types import SimpleNamespace

import pytest
from support.tiny_llama import PLAIN, write_tiny_llama

from components.core.evaluation import evaluate, print_summary
from components.core.recipe import EvaluationConfig, GateConfig, ModelConfig, TaskConfig
from components.core.settings import Settings

pytestmark = pytest.mark.e2e

TEXTS = [
    "The ship left the harbour at noon.", "Rain fell on the old stone bridge.", "She baked bread for the whole street.",
    "A small dog ran after the red ball.", "The train to the coast was late.", "He wrote letters to his brother.",
    "Snow covered the hills in winter.", "The museum opens at ten o'clock.",
]  # fmt: skip
QUESTIONS = [f"Is number {number} in the list?" for number in range(24)]


def train(folder, target, texts, steps):
    """Train all weights on whole texts (the answer's end included) and write the model to another folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    batch = [tokenizer(text)["input_ids"] for text in texts]
    longest = max(map(len, batch))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in batch])
    labels = torch.tensor([row + [-100] * (longest - len(row)) for row in batch])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        model(input_ids=ids, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    shutil.copytree(folder, target)
    model.save_pretrained(target)
    return target


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A base that knows the probe, and two models that both learned to answer `yes`."""
    root = tmp_path_factory.mktemp("forgetting")
    base = train(write_tiny_llama(root / "new"), root / "base", TEXTS, 120)
    answers = {"text": ["yes"], "answer_start": [0]}
    rows = [
        {"id": str(number), "context": f"yes {number}", "question": question, "answers": answers}
        for number, question in enumerate(QUESTIONS)
    ]
    prompts = [f"{PLAIN.render(row['context'], row['question'])} yes<eos>" for row in rows[:12]]
    models = {
        "forgot": train(base, root / "forgot", prompts, 60),
        "kept": train(base, root / "kept", [*prompts, *TEXTS], 60),
    }
    dataset, probe = root / "dataset", root / "probe.jsonl"
    dataset.mkdir()
    (dataset / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[12:]))
    (dataset / "dataset_info.json").write_text('{"fingerprint": "fp1"}')
    probe.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    config = EvaluationConfig(max_new_tokens=6, bootstrap_samples=200, probe_file=str(probe))

    def run(name, gate=None):
        out = root / f"out-{name}-{gate is None}"
        found = evaluate(
            TaskConfig(), ModelConfig(model_id=str(base)), config, gate or GateConfig(), dataset, models[name], out,
            Settings(whetstone_home=root / "home"),
        )  # fmt: skip
        return SimpleNamespace(found=found, page=(out / "report.html").read_text(), out=out)

    return run


def test_a_model_that_forgot_is_refused_for_that_alone(judged):
    run = judged("forgot")
    verdict = run.found.verdict
    assert (verdict.status, verdict.outcome, len(verdict.reasons)) == ("refused", "forgot", 1)
    assert verdict.headline.startswith("REFUSED: the tuned model forgot: its loss on general texts of the probe rose")
    text = run.found.forgetting.kinds["text"]
    assert text.known
    assert text.increase.low > 0.5
    assert run.found.everything.differences["base"]["f1"].low > 0
    assert "The 8 rows whose loss rose most" in run.page
    assert all(row.text.replace("'", "&#39;") in run.page for row in run.found.forgetting.worst)
    assert "Forgetting: loss on general texts (8)" in print_summary(run.found)


def test_a_model_that_learned_the_same_and_kept_the_rest_passes(judged):
    run = judged("kept")
    assert run.found.verdict.passed
    assert run.found.forgetting.kinds["text"].increase.high < 0.5
    assert any("did not surely rise by more than 0.5" in reason for reason in run.found.verdict.reasons)


def test_without_the_rule_forgetting_is_reported_only(judged):
    run = judged("forgot", GateConfig(max_forgetting="ignore"))
    assert run.found.verdict.passed
    assert "gate.max_forgetting=ignore" in run.page
    assert json.loads((run.out / "evaluation.json").read_text())["forgetting"]["probe"] == "probe.jsonl"
