"""A chat model trained by two processes in DeepSpeed's engine on a CPU: real torchrun, ZeRO-2 and ZeRO-3."""

import json
import shutil

import pytest
from support.chat_files import CHATML, write_conversations
from support.tiny_llama import write_tiny_llama
from support.trained_together import ROOT, curve, largest_difference, take_notes

from components.core.data import prepare_dataset
from components.core.data.tokens import tokenize_dataset
from components.core.errors import ConfigError, StorageError, TrainingError
from components.core.recipe import DataConfig, LoraConfig, ModelConfig, TaskConfig, TokensConfig, TrainingConfig
from components.core.recipe.deepspeed import default_configuration
from components.core.settings import Settings
from components.core.training import finetune
from components.core.training.distributed import launch
from components.core.training.rows import read_rows

pytestmark = pytest.mark.e2e

TASK = TaskConfig(name="chat_completion")
STEPS = 4
ENGINE = "deepspeed.runtime.engine.DeepSpeedEngine"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = write_tiny_llama(tmp_path_factory.mktemp("model") / "base", chat_template=CHATML)
    (folder / "prompt.json").unlink()
    return folder


@pytest.fixture(scope="module")
def tokens(tmp_path_factory, base):
    """Conversations as the steps before leave them: checked, split, tokenized and packed."""
    root = tmp_path_factory.mktemp("chat")
    write_conversations(root / "rows.jsonl", 60)
    settings, model = Settings(whetstone_home=root / "home"), ModelConfig(model_id=str(base))
    prepare_dataset(DataConfig(dataset_id=str(root / "rows.jsonl")), TASK, root / "data", settings)
    tokenize_dataset(TASK, model, TokensConfig(max_seq_length=256), root / "data", root / "tokens", settings)
    return root / "tokens"


@pytest.fixture
def train(tmp_path, base, tokens, monkeypatch):
    """Fine-tune with so many processes into a folder of the test."""
    # DeepSpeed compiles for most of a minute, once
    compiled = ROOT / ".pytest_cache" / "torch-extensions"
    monkeypatch.setattr(Settings, "cache", property(lambda self: compiled))

    def run(output, processes, **training):
        config = {
            "learning_rate": 1e-2, "tokens_per_batch": 2500, "num_train_epochs": 2, "logging_steps": 1,
            "gradient_accumulation_steps": 1, "save_steps": 2, "eval_steps": 2,
            # a gradient that is zero but for rounding must not move a weight
            "adam_epsilon": 1e-3, **training,
        }  # fmt: skip
        settings = Settings(whetstone_home=tmp_path / f"home-{output}", training_processes=processes)
        return finetune(
            TASK, ModelConfig(model_id=str(base)), TrainingConfig.model_validate(config), LoraConfig(r=4), tokens,
            tmp_path / output, settings,
        )  # fmt: skip

    return run


@pytest.fixture
def probed(tmp_path, monkeypatch):
    """Let the workers write down what they do; gives back their notes, by rank."""
    return take_notes(monkeypatch, tmp_path, launch, "_WORKER", "support.deepspeed_probe")


def check_engine(notes, stage):
    """Both processes sit in one engine, each with a share of the rows, and learn the same."""
    assert [(note["wrapper"], note["stage"]) for note in notes] == [(ENGINE, stage)] * 2
    assert [note["distributed_type"] for note in notes] == ["DistributedType.DEEPSPEED"] * 2
    assert [(note["world_size"], note["seen_by_trainer"]) for note in notes] == [(2, 2)] * 2
    assert notes[0]["gradients"] == notes[1]["gradients"]
    assert notes[0]["weights"] == notes[1]["weights"]
    assert len(set(notes[0]["weights"])) == len(notes[0]["weights"]) == len(notes[0]["gradients"])


@pytest.mark.parametrize(("stage", "method"), [(2, "lora"), (3, "full")])
def test_deepspeed_takes_the_steps_of_one_process_and_goes_on_from_its_checkpoint(
    tmp_path, train, probed, tokens, stage, method
):
    options = {"apply_deepspeed": True, "deepspeed_stage": stage, "method": method}
    alone = train("alone", 1, method=method)
    assert alone.steps == STEPS
    # nothing can be written at the end, so that the checkpoints stay
    (tmp_path / "model" / "tokenizer.json").mkdir(parents=True)
    with pytest.raises(StorageError, match="training is kept"):
        train("model", 2, **options)
    notes = probed()
    check_engine(notes, stage)
    assert len(notes[0]["weights"]) == STEPS
    # each row is laid out once an epoch, by one of the two
    rows = [row for note in notes for batch in note["rows"] for row in batch]
    assert sorted(rows) == sorted([*range(len(read_rows(tokens / "train.arrow")))] * 2)
    assert all(any(note["rows"]) for note in notes)
    # the gradient of a step is that of one process with all rows
    norms = [norm for _, norm in notes[0]["gradients"]]
    assert norms == pytest.approx(curve(tmp_path / "alone", "grad_norm"), rel=1e-3)
    assert notes[0]["saved"] == ["checkpoint-2", "checkpoint-4", "model"]
    assert notes[1]["saved"] == []

    (checkpoints,) = (tmp_path / "home-model" / "checkpoints").iterdir()
    assert len(list(checkpoints.glob("checkpoint-2/global_step2/*optim_states.pt"))) == 2
    (checkpoints / "checkpoint-4" / "complete.json").unlink()
    (tmp_path / "model" / "tokenizer.json").rmdir()
    result = train("model", 2, **options)
    assert (result.resumed_from_step, len(probed()[0]["weights"])) == (2, 2)
    assert (result.world_size, result.distributed, alone.distributed) == (2, f"deepspeed-zero{stage}", "none")
    assert (result.trainable_parameters, result.total_parameters) == (
        alone.trainable_parameters,
        alone.total_parameters,
    )
    assert largest_difference(tmp_path / "alone", tmp_path / "model") < 1e-5
    for name in ("loss", "validation_loss", "learning_rate"):
        assert curve(tmp_path / "model", name) == pytest.approx(curve(tmp_path / "alone", name), abs=1e-5)
    kept = {path.suffix for path in (tmp_path / "model").rglob("*") if path.is_file()}
    assert not kept & {".pt", ".pth", ".bin"}
    assert not list((tmp_path / "home-model" / "checkpoints").iterdir())


def test_a_process_without_rows_takes_part_in_every_step(tmp_path, train):
    options = {"per_device_train_batch_size": 1, "max_steps": 3, "eval_steps": 3}
    train("alone", 1, **options)
    assert train("model", 2, apply_deepspeed=True, deepspeed_stage=3, **options).steps == 3
    assert largest_difference(tmp_path / "alone", tmp_path / "model") < 1e-5


def test_one_process_with_a_configuration_of_the_users_own_sits_in_the_engine_too(tmp_path, train, monkeypatch):
    """What a pod with one GPU does; the sizes of a batch in the file are the recipe's affair."""
    configuration = default_configuration(2) | {"train_batch_size": 999, "gradient_accumulation_steps": 7}
    options = {"gradient_accumulation_steps": 2, "tokens_per_batch": 1250}
    train("alone", 1, **options)
    result = train("model", 1, apply_deepspeed=True, deepspeed=json.dumps(configuration), **options)
    assert (result.world_size, result.distributed) == (1, "deepspeed-zero2")
    assert "deepspeed" in json.loads((tmp_path / "model" / "training_info.json").read_text())["libraries"]
    assert largest_difference(tmp_path / "alone", tmp_path / "model") < 1e-5


def test_a_configuration_that_contradicts_the_recipe_ends_with_one_line(train):
    configuration = json.dumps(default_configuration(2) | {"gradient_clipping": 0.3})
    with pytest.raises(ConfigError, match=r'^deepspeed: gradient_clipping=0.3, yet max_grad_norm=1.0. Write "auto"'):
        train("model", 1, apply_deepspeed=True, deepspeed=configuration)


def test_without_a_compiler_deepspeed_on_a_cpu_is_refused(train, monkeypatch):
    found = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, **options: None if name == "g++" else found(name, **options))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(TrainingError, match=r"compiles a part of itself, and a C\+\+ compiler \(g\+\+\) cannot be"):
        train("model", 2, apply_deepspeed=True)
