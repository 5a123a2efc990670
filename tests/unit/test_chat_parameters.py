"""Parameters of a chat-completion fine-tuning: names, precedence, the recipe that they come to, the command."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from components.core.catalogue import FINETUNE, read_parameters
from components.core.catalogue.chat_completion import LONGEST, load_chat_run, registered_entry
from components.core.catalogue.chat_names import dataset_word, display_name, experiment_name, timestamp
from components.core.errors import ConfigError
from components.core.recipe import get_model, read_catalogue
from components.core.registry import RegisteredBase

ROOT = Path(__file__).resolve().parents[2]
MODELS = read_catalogue(ROOT / "llm-pipelines" / "recipes" / "models")
ROWS = "train_file_path=ultrachat_200k_dataset/train_sft.jsonl"


def load(*overrides, model="Phi-3-mini", **options):
    entry = get_model(MODELS, model)
    return load_chat_run(entry.model_id, entry, None, [ROWS, *overrides], **options)


def name_of(**parameters):
    known = {"max_seq_length": -1} | parameters
    length = known.pop("max_seq_length")
    return display_name("M", "ultrachat", read_parameters(FINETUNE["chat_completion"], known), length)


def test_the_display_name_of_the_tutorials_run():
    run = load("number_of_gpu_to_use_finetuning=1")
    assert run.display_name == "Phi-3-mini-4k-instruct-ultrachat-bs1-cosine-ds2-lora-save_limit-1-seqlen-1"
    assert run.finetune.save_total_limit == 1


def test_the_display_name_says_a_limit_of_checkpoints_that_the_user_set():
    assert load("save_total_limit=1").display_name.endswith("-lora-save_limit1-seqlen-1")
    assert load("save_total_limit=3").display_name.endswith("-lora-save_limit3-seqlen-1")


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, "M-ultrachat-bs1-linear-nods-nolora-save_limit-1-seqlen-1"),
        (
            {
                "per_device_train_batch_size": 2, "gradient_accumulation_steps": 3, "num_nodes_finetune": 2,
                "number_of_gpu_to_use_finetuning": 4,
            },
            "M-ultrachat-bs48-linear-nods-nolora-save_limit-1-seqlen-1",
        ),
        ({"number_of_gpu_to_use_finetuning": 0}, "M-ultrachat-bs1-linear-nods-nolora-save_limit-1-seqlen-1"),
        (
            {"apply_deepspeed": True, "deepspeed_stage": 3, "save_total_limit": 2, "max_seq_length": 2048},
            "M-ultrachat-bs1-linear-ds3-nolora-save_limit2-seqlen2048",
        ),
    ],
)  # fmt: skip
def test_the_display_name_says_what_is_varied(parameters, expected):
    assert name_of(**parameters) == expected


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("./ultrachat_200k_dataset/train_sft.jsonl", "ultrachat"),
        ("data/support/train.jsonl", "support"),
        ("tickets.parquet", "tickets"),
        ("https://host/x/tickets_dataset/train.jsonl?key=1", "tickets"),
        ("acme/chats", "chats"),
        ("train.jsonl", "train"),
    ],
)
def test_a_dataset_is_called_by_one_word(path, word):
    assert dataset_word(path) == word


def test_experiment_and_timestamp():
    assert experiment_name("Phi-3-mini-4k-instruct") == "chat_completion_Phi-3-mini-4k-instruct"
    assert timestamp(datetime(2025, 1, 31, 9, 30, tzinfo=UTC)) == "20250131093000"
    assert len(timestamp()) == 14


def test_the_user_wins_over_the_model_and_the_model_over_the_component():
    lines = "\n".join(load("num_train_epochs=3", "learning_rate=1e-5").lines())
    assert "num_train_epochs = 3.0  (command line)  -> training.num_train_epochs" in lines
    assert "learning_rate = 1e-05  (command line)" in lines
    assert "lr_scheduler_type = 'cosine'  (model microsoft/Phi-3-mini-4k-instruct)  -> training.lr_sch" in lines
    assert "lora_alpha = 128  (default)  -> lora.alpha" in lines
    assert "resources.memory = '16Gi'  (model microsoft/Phi-3-mini-4k-instruct)" in lines


def test_the_parameters_are_a_recipe_of_the_graph():
    run = load("test_file_path=test_sft.jsonl", "number_of_gpu_to_use_finetuning=4", "per_device_train_batch_size=2")
    recipe = run.loaded.recipe
    assert recipe.task.name == "chat_completion"
    assert (recipe.model.model_id, recipe.model.revision) == (MODEL.model_id, MODEL.revision)
    assert recipe.data.test_file == "test_sft.jsonl"
    assert recipe.tokens.max_seq_length == 4096
    assert (recipe.training.method, recipe.training.precision, recipe.training.learning_rate) == ("lora", "16", 5e-6)
    assert (recipe.lora.alpha, recipe.lora.r) == (128, 8)
    assert recipe.gpu.count == 4
    # a batch of the recipe is shared by the GPUs
    assert recipe.training.per_device_train_batch_size == 8


MODEL = get_model(MODELS, "Phi-3-mini")


def test_by_the_older_rule_the_model_wins_with_a_warning():
    run = load("learning_rate=1e-5", "seed=7", model_wins=True)
    assert (run.finetune.learning_rate, run.finetune.seed, run.loaded.recipe.training.learning_rate) == (5e-6, 7, 5e-6)
    assert len(run.warnings) == 1
    assert run.warnings[0].startswith("learning_rate='1e-5' (command line) gives way to 5e-06 (model microsoft/Phi-3")


def test_what_a_model_says_by_section_wins_over_a_global_default_only():
    run = load(model="starter")
    assert run.loaded.recipe.training.learning_rate == 4e-3
    assert "learning_rate = 0.004  (model starter)  -> training.learning_rate" in list(run.lines())
    assert run.loaded.recipe.training.per_device_train_batch_size is None
    assert load("learning_rate=1e-4", model="starter").loaded.recipe.training.learning_rate == 1e-4
    assert load(model="starter").loaded.recipe.tokens.max_seq_length == 256
    assert load("max_seq_length=-1", model="starter").loaded.recipe.tokens.max_seq_length == 512


@pytest.mark.parametrize(
    ("model", "rows", "name"),
    [
        ("Phi-3-mini", "ultrachat_200k_dataset/train_sft.jsonl", "Phi-3-mini-4k-instruct-ultrachat-200k"),
        ("Phi-3-mini", "HuggingFaceH4/ultrachat_200k", "Phi-3-mini-4k-instruct-ultrachat-200k"),
        ("Qwen2.5-0.5B", "data/support_tickets.jsonl.gz", "Qwen2-5-0-5B-Instruct-support-tickets"),
    ],
)
def test_the_tuned_model_is_named_after_model_and_data(model, rows, name):
    entry = get_model(MODELS, model)
    assert load_chat_run(entry.model_id, entry, None, [f"train_file_path={rows}"]).loaded.recipe.registry.name == name


def test_a_name_of_the_users_own_wins():
    assert load("registered_model_name=mine").loaded.recipe.registry.name == "mine"
    assert load("registry.name=team/mine").loaded.recipe.registry.name == "team-mine"


def test_conversations_are_judged_by_long_answers_and_by_their_loss_unless_somebody_says_otherwise():
    def judged(*overrides, **options):
        recipe = load(*overrides, **options).loaded.recipe
        return recipe.evaluation.max_new_tokens, recipe.gate.metric

    assert judged() == (200, "loss")
    assert judged("max_seq_length=100") == (50, "loss")
    assert judged("tokens.max_seq_length=100") == (50, "loss")
    # the starter's 16 tokens are for answers to its questions
    assert judged(model="starter") == (128, "loss")
    assert judged("evaluation.max_new_tokens=12", "gate.metric=f1", model="starter") == (12, "f1")


def test_no_step_can_go_on_after_one_that_failed():
    assert load("continue_on_step_failure=false").inputs.continue_on_step_failure is False
    with pytest.raises(ConfigError, match="continue_on_step_failure=true: each step of this pipeline reads what the"):
        load("continue_on_step_failure=true")


def test_a_registered_model_takes_what_is_known_of_its_base():
    registered = RegisteredBase("Phi-3-mini-4k-instruct-tickets", "2", "acme/tickets", "f" * 40, MODEL.model_id)
    entry = registered_entry(registered, MODELS)
    recipe = load_chat_run(entry.model_id, entry, None, ["train_file_path=faq.jsonl"]).loaded.recipe
    assert (recipe.model.model_id, recipe.model.revision) == ("acme/tickets", "f" * 40)
    assert recipe.registry.name == "Phi-3-mini-4k-instruct-tickets-faq"
    assert (recipe.training.learning_rate, recipe.tokens.max_seq_length) == (5e-6, 4096)
    unknown = RegisteredBase("own", "1", "/models/own", None, "acme/odd")
    assert registered_entry(unknown, MODELS).model_specific_defaults == {}


def test_a_section_key_sets_the_recipe_itself():
    run = load("gate.minimum.f1=0.2", "training.tokens_per_batch=2048")
    assert run.loaded.recipe.gate.minimum == {"f1": 0.2}
    assert run.loaded.recipe.training.tokens_per_batch == 2048
    assert run.loaded.recipe.training.per_device_train_batch_size is None
    assert "gate.minimum.f1 = 0.2  (command line)" in list(run.lines())


def test_all_weights_are_trained_without_an_adapter():
    run = load("apply_lora=false")
    assert run.loaded.recipe.training.method == "full"
    assert "-nolora-" in run.display_name


def test_a_model_that_is_not_in_the_catalogue_takes_the_components_defaults():
    run = load_chat_run("acme/odd", None, None, [ROWS, "apply_lora=true"])
    assert (run.model, run.loaded.recipe.model.model_id) == ("odd", "acme/odd")
    assert run.loaded.recipe.tokens.max_seq_length == LONGEST
    assert run.loaded.recipe.training.lr_scheduler_type == "linear"


def test_what_this_training_does_not_read_is_said():
    assert load().unused() == []
    assert "apply_early_stopping=True (command line)" in load("apply_early_stopping=true").unused()


def test_the_models_deepspeed_is_a_key_of_the_recipe():
    training = load().loaded.recipe.training
    assert (training.apply_deepspeed, training.deepspeed, training.deepspeed_stage) == (True, None, 2)
    assert "apply_deepspeed = True  (model microsoft/Phi-3-mini-4k-instruct)  -> training.apply_deepspeed" in list(
        load().lines()
    )


def test_without_a_gpu_the_models_deepspeed_is_left_out_and_a_users_own_is_not():
    left_out = load(cuda=False)
    assert not left_out.loaded.recipe.training.apply_deepspeed
    assert "-cosine-nods-lora-" in left_out.display_name
    assert "apply_deepspeed = False  (there is no GPU here)  -> training.apply_deepspeed" in list(left_out.lines())
    assert [each.partition(" is left out")[0] for each in left_out.warnings] == [
        "apply_deepspeed=True (model microsoft/Phi-3-mini-4k-instruct)"
    ]
    wished = load("apply_deepspeed=true", "deepspeed_stage=3", cuda=False)
    assert (wished.loaded.recipe.training.apply_deepspeed, wished.loaded.recipe.training.deepspeed_stage) == (True, 3)
    assert ("-cosine-ds3-lora-" in wished.display_name, wished.warnings) == (True, ())


def test_a_deepspeed_file_of_the_users_own_travels_and_names_the_run(tmp_path):
    path = tmp_path / "zero3.json"
    path.write_text('{"zero_optimization": {"stage": 3, "stage3_gather_16bit_weights_on_model_save": true}}')
    run = load(f"deepspeed={path}")
    assert '"stage": 3' in run.loaded.recipe.training.deepspeed
    assert "-ds3-" in run.display_name
    path.write_text('{"zero_optimization": {"stage": "three"}}')
    with pytest.raises(ConfigError, match="zero_optimization.stage is .three., not an integer"):
        load(f"deepspeed={path}")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["auto_find_batch_size=true"], "auto_find_batch_size=true: does not work together with apply_deepspeed=true"),
        (["precision=4"], "training.precision=4 .QLoRA. is not trained with DeepSpeed"),
        (["learning_rat=1"], "unknown parameter learning_rat. Did you mean learning_rate?"),
        (["precision=12"], "precision=12: must be 32, 16, 8 or 4"),
        (["learning_rate=0"], "learning_rate=0: must be above 0"),
        (["precision=4", "apply_lora=false"], "precision=4: freezes the weights"),
        (["training.lr=1"], "unknown key training.lr .command line."),
        (["train_file_path="], "train_file_path=''"),
    ],
)
def test_a_wrong_parameter_is_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        load(*overrides)


def test_a_file_of_parameters_is_read_below_the_command_line(tmp_path):
    path = tmp_path / "tutorial.yaml"
    path.write_text("num_train_epochs: 3\nlearning_rate: 1.0e-5\n")
    run = load_chat_run(MODEL.model_id, MODEL, path, [ROWS, "learning_rate=2e-5"])
    assert (run.finetune.num_train_epochs, run.finetune.learning_rate) == (3, 2e-5)
    assert run.origins["num_train_epochs"] == "file tutorial.yaml"


def command(*arguments):
    line = [sys.executable, "-m", "llm-pipelines.chat-completion-pipeline", *arguments]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_compiles_the_graph_for_a_cluster(tmp_path):
    target = tmp_path / "chat.yaml"
    gpus = "number_of_gpu_to_use_finetuning=2"
    done = command("--model", "Phi-3-mini", ROWS, "test_file_path=t.jsonl", gpus, "--compile-only", str(target))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Using model name: Phi-3-mini-4k-instruct, version: 0a67737cc96d2554230f90338b163bc6")
    shown = "Phi-3-mini-4k-instruct-ultrachat-bs2-cosine-ds2-lora-save_limit-1-seqlen-1"
    assert f"Display name  {shown}" in done.stdout
    assert "Experiment    chat_completion_Phi-3-mini-4k-instruct" in done.stdout
    pipeline, platform = yaml.safe_load_all(target.read_text())
    assert pipeline["pipelineInfo"]["name"] == "chat-completion-pipeline"
    assert pipeline["pipelineInfo"]["displayName"] == shown
    assert "trained_model" in pipeline["root"]["outputDefinitions"]["artifacts"]
    executors = pipeline["deploymentSpec"]["executors"]
    assert executors["exec-finetune-model"]["container"]["resources"]["accelerator"]["resourceCount"] == "2"
    training = pipeline["root"]["inputDefinitions"]["parameters"]["training"]["defaultValue"]
    assert (training["method"], training["per_device_train_batch_size"]) == ("lora", 2)
    assert "exec-finetune-model" in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def test_the_command_refuses_a_model_that_is_nowhere():
    done = command("--model", "Phi-3-mni-4k-instruct", ROWS, "--dry-run")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: Phi-3-mni-4k-instruct is not in the model catalogue. Did you mean Phi-3-mini-4k"
    )
