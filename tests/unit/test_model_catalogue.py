"""The model catalogue: its facts, its names, and which default wins."""

from pathlib import Path

import pytest
import yaml

from components.core.catalogue import FINETUNE
from components.core.errors import ConfigError
from components.core.recipe import CatalogueModel, Recipe, find_model, get_model, load_recipe, read_catalogue
from components.core.recipe.model_catalogue import parse_allow_list
from components.core.recipe.parameter_names import KEEP_ALL, ONCE, PARAMETER_KEYS, sections_of

CATALOGUE = Path(__file__).resolve().parents[2] / "llm-pipelines" / "recipes" / "models"
MODELS = read_catalogue(CATALOGUE)
PHI_3 = get_model(MODELS, "Phi-3-mini-4k-instruct")


def write(folder, **entry):
    folder.mkdir(exist_ok=True)
    (folder / f"{len(list(folder.iterdir()))}.yaml").write_text(yaml.safe_dump({"model_id": "acme/small"} | entry))
    return folder


def test_the_catalogue_has_its_models():
    assert {model.short_name for model in MODELS} >= {
        "Phi-3-mini-4k-instruct", "Phi-4-mini-instruct", "gemma-2-2b-it", "gemma-7b-it", "Llama-3.2-1B-Instruct",
        "Llama-3.2-3B-Instruct", "Qwen2.5-0.5B-Instruct", "Qwen2.5-1.5B-Instruct", "Qwen2.5-7B-Instruct",
        "SmolLM2-135M-Instruct", "SmolLM2-360M-Instruct", "SmolLM2-1.7B-Instruct", "starter",
    }  # fmt: skip


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.short_name)
def test_every_shipped_model_gives_a_recipe_by_any_of_its_names(model):
    for name in (model.model_id, model.short_name.upper(), *model.aliases):
        loaded = load_recipe(None, [f"model.model_id={name}"], CATALOGUE)
        assert (loaded.recipe.model.model_id, loaded.recipe.model.revision) == (model.model_id, model.revision)
        assert loaded.recipe.registry.license == model.license


@pytest.mark.parametrize("model", [model for model in MODELS if "/" in model.model_id], ids=lambda m: m.short_name)
def test_every_model_of_the_hub_has_its_facts(model):
    assert model.revision
    assert model.license
    assert model.chat_template
    assert model.context_length
    assert model.parameter_count
    # whatever trains on a GPU is served from it
    assert set(model.finetune_compute_allow_list) <= set(model.inference_compute_allow_list)


def test_the_page_lists_every_model_with_its_names():
    page = (CATALOGUE.parents[2] / "docs" / "chat-completion.md").read_text(encoding="utf-8")
    for model in MODELS:
        row = next(line for line in page.splitlines() if line.startswith(f"| `{model.model_id}` |"))
        assert f"{model.context_length:,}" in row
        assert all(alias in row for alias in model.aliases)


@pytest.mark.parametrize("family", sorted({model.family for model in MODELS}))
def test_lora_targets_are_all_linear_layers_of_the_family_but_the_output(family):
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "vocab_size": 16, "pad_token_id": 0}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    with torch.device("meta"):
        tiny = AutoModelForCausalLM.from_config(CONFIG_MAPPING[family](**sizes, **heads))
    linear = {name.rpartition(".")[2] for name, layer in tiny.named_modules() if isinstance(layer, torch.nn.Linear)}
    for model in MODELS:
        if model.family == family and model.lora_target_modules:
            assert set(model.lora_target_modules) == linear - {"lm_head"}


def test_phi_3_mini_has_the_tutorials_defaults():
    assert PHI_3.parameters() == {
        "apply_deepspeed": True, "deepspeed_stage": 2, "apply_lora": True, "precision": 16,
        "ignore_mismatched_sizes": False, "num_train_epochs": 1, "per_device_train_batch_size": 1,
        "per_device_eval_batch_size": 1, "gradient_accumulation_steps": 1, "learning_rate": 5e-6,
        "lr_scheduler_type": "cosine", "logging_strategy": "steps", "logging_steps": 10, "save_total_limit": 1,
    }  # fmt: skip


def test_the_line_that_names_the_model():
    commit = "0a67737cc96d2554230f90338b163bc6380a2a85"
    assert get_model(MODELS, "phi-3-mini", label="latest").announcement() == (
        f"Using model name: Phi-3-mini-4k-instruct, version: {commit}, "
        f"id: hf://microsoft/Phi-3-mini-4k-instruct@{commit} for fine tuning"
    )
    assert get_model(MODELS, "starter").announcement().endswith("version: starter, id: starter for fine tuning")


def test_another_version_is_a_commit():
    other = "f" * 40
    assert get_model(MODELS, "Phi-3-mini", other).address.endswith(f"@{other}")
    with pytest.raises(ConfigError, match="Phi-3-mini has no version '7'. Use `latest` or a commit"):
        get_model(MODELS, "Phi-3-mini", "7")


def test_a_name_that_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="Phi-3-mini-4k is not in the model catalogue. Did you mean Phi-3-mini-4k-in"):
        get_model(MODELS, "Phi-3-mini-4k")


def test_a_local_folder_comes_before_a_short_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Phi-3-mini").mkdir()
    (tmp_path / "starter").mkdir()
    assert find_model(MODELS, "Phi-3-mini") is None
    assert find_model(MODELS, "starter")


def test_the_user_wins_over_the_model_and_the_model_over_the_global_defaults():
    loaded = load_recipe(None, ["model.model_id=Phi-3-mini", "training.learning_rate=1e-4"], CATALOGUE)
    lines = list(loaded.lines())
    assert "training.learning_rate = 0.0001  (command line)" in lines
    assert "training.num_train_epochs = 1.0  (model microsoft/Phi-3-mini-4k-instruct)" in lines
    assert "lora.target_modules = ['qkv_proj', 'o_proj', 'gate_up_proj', 'down_proj']  (model " in "\n".join(lines)
    assert "lora.r = 16  (default)" in lines
    assert not loaded.warnings


def test_by_the_older_rule_the_model_wins_and_every_lost_value_is_warned_of():
    user = ["model.model_id=Phi-3-mini", "training.learning_rate=1e-4", "training.seed=7", "model.revision=v1"]
    loaded = load_recipe(None, user, CATALOGUE, model_wins=True)
    assert loaded.recipe.training.learning_rate == 5e-6
    assert (loaded.recipe.training.seed, loaded.recipe.model.revision) == (7, "v1")
    assert [warning.split("=")[0] for warning in loaded.warnings] == ["training.learning_rate"]
    assert "(command line) gives way to 5e-06 (model microsoft/Phi-3-mini-4k-instruct)" in loaded.warnings[0]


def test_a_users_tokens_of_a_batch_win_over_the_models_rows_of_a_batch():
    recipe = load_recipe(None, ["model.model_id=Phi-3-mini", "training.tokens_per_batch=64"], CATALOGUE).recipe
    assert (recipe.training.per_device_train_batch_size, recipe.training.tokens_per_batch) == (None, 64)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"licence": "mit"}, "0.yaml: unknown key licence. Did you mean license"),
        ({"revision": "main"}, "0.yaml: revision: String should match pattern"),
        ({"model_specific_defaults": {"learning_rat": 1}}, "learning_rat is neither a section .* did you mean learn"),
        ({"model_specific_defaults": {"training": 3}}, "training is a section: write"),
        ({"finetune_compute_allow_list": "__import__('os').abort()"}, "allow_list: is not a list written as a literal"),
        ({"finetune_compute_allow_list": {"A100": 1}}, "allow_list: must be a list of GPU names"),
        ({"baseline": [{"benchmark": "MMLU", "score": 1}]}, "baseline.0.source: Field required"),
    ],
)
def test_a_wrong_model_file_is_refused_by_its_key(tmp_path, entry, message):
    with pytest.raises(ConfigError, match=message):
        read_catalogue(write(tmp_path / "models", **entry))


def test_unknown_keys_of_a_section_are_refused(tmp_path):
    folder = write(tmp_path / "models", model_specific_defaults={"training": {"lr": 1}})
    with pytest.raises(ConfigError, match=r"unknown key training.lr \(model acme/small\)"):
        load_recipe(None, ["model.model_id=small"], folder)


def test_two_models_cannot_have_one_name(tmp_path):
    folder = write(write(tmp_path / "models"), model_id="other/small")
    with pytest.raises(ConfigError, match="small in .* is the name of acme/small and of other/small"):
        read_catalogue(folder)


@pytest.mark.parametrize(
    ("tag", "expected"),
    [("['L4', 'A100']", ("L4", "A100")), ('("L4",)', ("L4",)), (["L4"], ("L4",)), (None, None), ("", None)],
)
def test_an_allow_list_is_read_as_a_literal(tag, expected):
    assert parse_allow_list(tag) == expected
    assert CatalogueModel(model_id="a/b", finetune_compute_allow_list=tag).finetune_compute_allow_list == expected


def test_every_parameter_of_the_chat_component_has_its_place_in_a_recipe():
    assert set(PARAMETER_KEYS) == set(FINETUNE["chat_completion"].model_fields)
    for key in filter(None, PARAMETER_KEYS.values()):
        section, _, name = key.partition(".")
        assert name in type(getattr(Recipe(), section)).model_fields, key


@pytest.mark.parametrize(
    ("parameters", "section", "expected"),
    [
        ({"apply_lora": False}, "training", {"method": "full"}),
        ({"precision": 4}, "training", {"precision": "4"}),
        ({"save_total_limit": -1}, "training", {"save_total_limit": KEEP_ALL}),
        ({"shm_size_finetune": "5g"}, "gpu", {"shm_size": "5Gi"}),
        ({"evaluation_strategy": "epoch", "num_train_epochs": 4}, "training", {"eval_steps": 0.25, "save_steps": 0.25}),
        ({"evaluation_strategy": "epoch", "num_train_epochs": 1}, "training", {"eval_steps": ONCE, "save_steps": ONCE}),
        ({"evaluation_strategy": "steps", "eval_steps": 50}, "training", {"eval_steps": 50, "save_steps": 50}),
        (
            {"evaluation_strategy": "steps", "evaluation_steps_interval": 0.5, "num_train_epochs": 2},
            "training",
            {"eval_steps": 0.25, "save_steps": 0.25},
        ),
    ],
)
def test_a_parameter_is_a_recipes_key_with_its_value(parameters, section, expected):
    found = sections_of(parameters)[section]
    assert {name: found[name] for name in expected} == expected
    assert Recipe.model_validate({section: found})
