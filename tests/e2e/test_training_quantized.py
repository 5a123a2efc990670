"""QLoRA for real on a CPU: bitsandbytes' own layers, a tiny model. The product refuses CPUs, so the tests say where."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.tiny_training import write_base_model, write_tokens

from components.core.errors import StorageError, TrainingError
from components.core.recipe import LoraConfig, ModelConfig, TaskConfig, TrainingConfig
from components.core.settings import Settings
from components.core.training import finetune
from components.core.training.hardware import Hardware
from components.core.training.model import add_adapter, count_parameters, load_base

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
CPU = {precision: Hardware("cpu", precision, "padded", "sdpa") for precision in ("fp32", "bf16", "fp16")}


@pytest.fixture(autouse=True)
def _without_packing(monkeypatch):
    """On CPUs with AVX512-BF16 bitsandbytes packs weights at the first validation, after which none can be trained."""
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: False)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_base_model(tmp_path_factory.mktemp("model") / "base")


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return write_tokens(tmp_path_factory.mktemp("data") / "tokens")


@pytest.fixture
def train(tmp_path, base, tokens, monkeypatch):
    """Fine-tune on this CPU as if it were a GPU that computes in a precision."""

    def run(output="model", base_dir=base, lora=None, computed="fp32", home="home", **training):
        monkeypatch.setattr("components.core.training.process.choose_hardware", lambda _: CPU[computed])
        options = {"precision": "4", "learning_rate": 1e-2, "tokens_per_batch": 256, "num_train_epochs": 2, **training}
        return finetune(
            TaskConfig(), ModelConfig(model_id=str(base_dir)), TrainingConfig.model_validate(options),
            LoraConfig.model_validate(lora or {}), tokens, tmp_path / output, Settings(whetstone_home=tmp_path / home),
        )  # fmt: skip

    return run


def weights_of(folder):
    from transformers import AutoModelForCausalLM

    model, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    return dict(model.named_parameters())


def largest_difference(first, second):
    return max((first[name].float() - second[name].float()).abs().max().item() for name in first)


@pytest.mark.parametrize(("bits", "layer"), [("4", "Linear4bit"), ("8", "Linear8bitLt")])
def test_linear_layers_are_quantized_and_only_the_adapter_trains(base, bits, layer):
    import torch

    model, _ = load_base(base, TrainingConfig(precision=bits), CPU["bf16"])
    quantized = [name for name, module in model.named_modules() if type(module).__name__ == layer]
    assert len(quantized) == 2 * 7
    assert model.lm_head.weight.dtype == model.model.norm.weight.dtype == torch.bfloat16
    adapted = add_adapter(model, LoraConfig(r=4), ModelConfig(), base)
    trained = {name for name, weights in adapted.named_parameters() if weights.requires_grad}
    assert len(trained) == 2 * 7 * 2
    assert all(".lora_" in name for name in trained)
    plain, _ = load_base(base, TrainingConfig(), CPU["fp32"])
    assert count_parameters(adapted) == count_parameters(add_adapter(plain, LoraConfig(r=4), ModelConfig(), base))


def test_fp16_leaves_what_is_not_quantized_in_fp32(base):
    import torch

    model, _ = load_base(base, TrainingConfig(precision="4"), CPU["fp16"])
    assert model.model.embed_tokens.weight.dtype == torch.float32
    assert model.model.layers[0].mlp.up_proj.compute_dtype == torch.float16


@pytest.mark.parametrize("bits", ["4", "8"])
@pytest.mark.parametrize("computed", ["fp32", "bf16"])
def test_the_loss_falls_and_the_folder_is_a_plain_model(tmp_path, train, base, bits, computed):
    result = train(precision=bits, computed=computed, num_train_epochs=20)
    points = [json.loads(line) for line in (tmp_path / "model" / "training_log.jsonl").read_text().splitlines()]
    losses = [point["loss"] for point in points if "loss" in point]
    assert losses[-1] < losses[0] - 0.05
    assert result.precision == computed
    assert (
        f"The adapter was trained on weights of {bits} bits (QLoRA), then merged into them unquantized." in result.notes
    )
    assert "quantization_config" not in json.loads((tmp_path / "model" / "config.json").read_text())
    merged, before = weights_of(tmp_path / "model"), weights_of(base)
    assert {name: weights.shape for name, weights in merged.items()} == {n: w.shape for n, w in before.items()}
    info = json.loads((tmp_path / "model" / "training_info.json").read_text())
    assert info["config"]["training"]["precision"] == bits
    assert info["libraries"]["bitsandbytes"]


def test_the_merged_weights_are_the_base_and_the_scaled_product_of_the_adapter(tmp_path, train, base):
    from safetensors.torch import load_file

    train("merged")
    train("adapter", lora={"merge_lora_weights": False})
    written = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    merged, before = weights_of(tmp_path / "merged"), weights_of(base)
    changed = 0
    for name, weights in before.items():
        key = f"base_model.model.{name.removesuffix('.weight')}"
        expected = weights
        if f"{key}.lora_A.weight" in written:
            expected = weights + 32 / 16 * written[f"{key}.lora_B.weight"] @ written[f"{key}.lora_A.weight"]
            changed += 1
        assert (merged[name] - expected).abs().max() < 1e-6
    assert changed == 2 * 7


def test_an_adapter_loads_on_its_base_and_answers_as_the_merged_model(tmp_path, train, base):
    import torch
    from transformers import AutoModelForCausalLM

    train("merged")
    train("adapter", lora={"merge_lora_weights": False})
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == str(
        base
    )
    assert not (tmp_path / "adapter" / "model.safetensors").exists()
    outputs = [
        AutoModelForCausalLM.from_pretrained(tmp_path / name)(torch.tensor([[3, 4, 5, 6]])).logits
        for name in ("merged", "adapter")
    ]
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-4, atol=1e-4)


def test_a_bf16_base_stays_bf16_on_disk(tmp_path, train):
    import torch

    train(base_dir=write_base_model(tmp_path / "half", dtype="bfloat16"))
    assert {weights.dtype for weights in weights_of(tmp_path / "model").values()} == {torch.bfloat16}


def test_two_runs_of_one_seed_give_the_same_weights_and_other_bits_do_not(tmp_path, train):
    for output, bits in (("first", "4"), ("second", "4"), ("third", "8")):
        train(output, precision=bits, lora={"dropout": 0.1})
    first, second, third = (weights_of(tmp_path / name) for name in ("first", "second", "third"))
    assert largest_difference(first, second) == 0
    assert largest_difference(first, third) > 1e-5


def test_recomputed_activations_train_like_kept_ones(tmp_path, train):
    train("kept", gradient_checkpointing="off")
    train("recomputed", gradient_checkpointing="on")
    assert largest_difference(weights_of(tmp_path / "kept"), weights_of(tmp_path / "recomputed")) < 1e-5


def test_a_resumed_run_ends_with_the_weights_of_one_that_was_not_stopped(tmp_path, train, monkeypatch):
    options = {"lora": {"dropout": 0.1}, "num_train_epochs": 4, "save_steps": 7, "eval_steps": 5}
    whole = train("whole", home="other", **options)
    from components.core.training import loop

    def stop(*_):
        raise StorageError("the disk is gone")

    with monkeypatch.context() as patch:
        # after the checkpoint of step 7 and the validations of steps 5 and 10
        patch.setattr(loop, "keep_newest", stop)
        with pytest.raises(StorageError):
            train(**options)
    again = train(**options)
    assert (again.resumed_from_step, again.steps) == (7, whole.steps)
    assert largest_difference(weights_of(tmp_path / "whole"), weights_of(tmp_path / "model")) < 1e-6


def test_checkpoints_of_other_bits_are_not_taken(tmp_path, train, monkeypatch):
    from components.core.training import loop

    def stop(*_):
        raise StorageError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(loop, "keep_newest", stop)
        with pytest.raises(StorageError):
            train(precision="8")
    assert train(precision="4").resumed_from_step is None


def test_two_processes_with_a_copy_each_train_as_one(tmp_path, train, base, tokens):
    whole = train("whole")
    script = tmp_path / "worker.py"
    script.write_text(f"""
import sys
from pathlib import Path
import bitsandbytes.nn.modules
from components.core.recipe import LoraConfig, ModelConfig, TaskConfig, TrainingConfig
from components.core.settings import Settings
from components.core.training import process
from components.core.training.distributed.sync import joined
from components.core.training.hardware import Hardware
from components.core.training.job import Job

bitsandbytes.nn.modules.has_avx512bf16 = lambda: False
process.choose_hardware = lambda training: Hardware("cpu", "fp32", "padded", "sdpa")
training = TrainingConfig(precision="4", learning_rate=1e-2, tokens_per_batch=256, num_train_epochs=2)
job = Job(
    task=TaskConfig(), model=ModelConfig(model_id={str(base)!r}), training=training, lora=LoraConfig(),
    tokens_dir=Path({str(tokens)!r}), output_dir=Path({str(tmp_path / "two")!r}),
)
with joined() as ranks:
    process.train(job, Settings(whetstone_home=Path({str(tmp_path / "home-two")!r})), ranks)
""")
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(run, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    info = json.loads((tmp_path / "two" / "training_info.json").read_text())
    assert (info["world_size"], info["steps"]) == (2, whole.steps)
    assert largest_difference(weights_of(tmp_path / "whole"), weights_of(tmp_path / "two")) < 1e-4


def test_without_cuda_it_is_refused_before_the_model_is_looked_for(tmp_path, tokens, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    model = ModelConfig(model_id=str(tmp_path / "nothing-here"))
    with pytest.raises(TrainingError, match=r"training.precision=4 \(QLoRA\) needs a CUDA GPU.*set training.precision"):
        finetune(
            TaskConfig(), model, TrainingConfig(precision="4"), LoraConfig(), tokens, tmp_path / "model",
            Settings(whetstone_home=tmp_path / "home"),
        )  # fmt: skip


def test_the_log_holds_our_lines_only(tmp_path, base, tokens):
    script = f"""
from pathlib import Path
from components.core.progress import log_to_stdout
log_to_stdout()
from components.core.recipe import LoraConfig, ModelConfig, TaskConfig, TrainingConfig
from components.core.settings import Settings
from components.core.training import finetune, process
from components.core.training.hardware import Hardware

process.choose_hardware = lambda training: Hardware("cpu", "bf16", "padded", "sdpa")
finetune(
    TaskConfig(), ModelConfig(model_id={str(base)!r}),
    TrainingConfig(precision="8", max_steps=2, tokens_per_batch=256, eval_steps=2), LoraConfig(),
    Path({str(tokens)!r}), Path({str(tmp_path / "model")!r}), Settings(whetstone_home=Path({str(tmp_path / "home")!r})),
)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stderr == ""
    begins = ("Base model", "Training 2 steps", "Step ", "Fine-tuned in")
    assert all(line.startswith(begins) for line in done.stdout.splitlines()), done.stdout
    assert "in bf16 over 8-bit weights on cpu" in done.stdout
