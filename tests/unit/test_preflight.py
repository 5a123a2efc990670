"""What the preflight says of models, recipes and GPU nodes; public models are held against published figures."""

from dataclasses import replace

import pytest
from support.recorded_clusters import A10G, A100, T4, RecordedCluster, gpu_node, gpu_pod, healthy, without
from support.tiny_training import write_base_model

from components.core.deployment.gpu_nodes import quantity, read_gpu_nodes, requested
from components.core.deployment.kubernetes_api import ClusterError
from components.core.errors import ConfigError, StorageError
from components.core.preflight import examine, preflight
from components.core.preflight.amount import run_tokens
from components.core.preflight.check import judge
from components.core.preflight.gpu_types import flops_per_second
from components.core.preflight.model_shape import model_shape, read_shape
from components.core.preflight.placement import needs_of, predict
from components.core.recipe import ModelConfig, Recipe
from components.core.registry.tensors import Tensor
from components.core.settings import Settings
from components.core.training.estimate import (
    LayerSizes,
    ModelShape,
    Place,
    adapter_parameters,
    estimate_memory,
    host_memory,
    least_memory,
    weight_bytes,
)

GIB = 2**30
ROOMY = {"resources": {"memory": "64Gi"}}


def llama(hidden, intermediate, layers, key_value, vocabulary, stored="bf16"):
    """The shape of a Llama of that size."""
    projections = [
        ("self_attn.q_proj", hidden, hidden), ("self_attn.k_proj", hidden, key_value),
        ("self_attn.v_proj", hidden, key_value), ("self_attn.o_proj", hidden, hidden),
        ("mlp.gate_proj", hidden, intermediate), ("mlp.up_proj", hidden, intermediate),
        ("mlp.down_proj", intermediate, hidden),
    ]  # fmt: skip
    linear = tuple((f"model.layers.{n}.{name}", w, o) for n in range(layers) for name, w, o in projections)
    parameters = sum(w * o for _, w, o in linear) + 2 * vocabulary * hidden
    sizes = LayerSizes(hidden, intermediate, layers, key_value)
    return ModelShape(sizes, vocabulary, 4096, parameters, parameters - vocabulary * hidden, stored, linear)


LLAMA_7B = llama(4096, 11008, 32, 4096, 32000)
LLAMA_13B = llama(5120, 13824, 40, 5120, 32000)
LLAMA_70B = llama(8192, 28672, 80, 1024, 32000)


def recipe(**sections):
    return Recipe.model_validate(sections)


def gpu_nodes(*objects):
    return read_gpu_nodes(
        [one for one in objects if one["kind"] == "Node"], [one for one in objects if one["kind"] == "Pod"],
        "nvidia.com/gpu",
    )  # fmt: skip


# LLaMA-Factory's table of hardware needs, GB: LoRA in 16 bit 16, 32 and 160, full with fp32 masters 120 for 7B.
@pytest.mark.parametrize(
    ("shape", "method", "published_gb"),
    [(LLAMA_7B, "lora", 16), (LLAMA_13B, "lora", 32), (LLAMA_70B, "lora", 160), (LLAMA_7B, "full", 120)],
)
def test_estimates_of_public_models_are_near_the_published_figures(shape, method, published_gb):
    least = least_memory(shape, recipe(training={"method": method}), Place()).total
    assert least / 1e9 == pytest.approx(published_gb, rel=0.15)


# The same table for QLoRA.
@pytest.mark.parametrize(
    ("shape", "precision", "published_gb"),
    [(LLAMA_7B, "8", 10), (LLAMA_70B, "8", 80), (LLAMA_7B, "4", 6), (LLAMA_70B, "4", 48)],
)
def test_estimates_of_quantized_models_are_near_the_published_figures(shape, precision, published_gb):
    least = least_memory(shape, recipe(training={"precision": precision}), Place()).total
    assert least / 1e9 == pytest.approx(published_gb, rel=0.15)


def test_experts_are_counted_as_not_quantized():
    size = 4096 * 11008
    mixture = replace(
        LLAMA_7B, parameters=LLAMA_7B.parameters + size,
        linear=(*LLAMA_7B.linear, ("model.layers.0.mlp.experts.0.up_proj", 4096, 11008)),
    )  # fmt: skip
    four_bits = recipe(training={"precision": "4"}).training
    assert weight_bytes(mixture, four_bits, "bf16") - weight_bytes(LLAMA_7B, four_bits, "bf16") == size * 2


def test_a_full_fine_tuning_counts_fp32_weights_gradients_and_two_moments():
    memory = estimate_memory(LLAMA_7B, recipe(training={"method": "full"}), Place(), 512, True)
    assert memory.weights == memory.gradients == LLAMA_7B.parameters * 4
    assert memory.optimizer == LLAMA_7B.parameters * 8
    assert estimate_memory(
        LLAMA_7B, recipe(training={"method": "full", "optim": "adafactor"}), Place(), 512, True
    ).optimizer < memory.optimizer / 50  # fmt: skip


def test_an_adapter_keeps_the_base_in_its_own_dtype_only_where_that_is_computed_in():
    lora = recipe()
    assert estimate_memory(LLAMA_7B, lora, Place(), 512, True).weights < LLAMA_7B.parameters * 2.2
    assert estimate_memory(LLAMA_7B, lora, Place(bf16=False), 512, True).weights > LLAMA_7B.parameters * 4
    assert estimate_memory(LLAMA_7B, recipe(training={"precision": "32"}), Place(), 512, True).weights > 4e9 * 6


def test_the_adapter_has_the_weights_that_peft_would_make():
    assert adapter_parameters(LLAMA_7B, recipe().lora) == 39_976_960  # r=16 on all linear layers
    only_queries = recipe(lora={"target_modules": ["q_proj"], "r": 8}).lora
    assert adapter_parameters(LLAMA_7B, only_queries) == 32 * 8 * 8192
    by_pattern = recipe(lora={"target_modules": ".*mlp.down_proj", "r": 1}).lora
    assert adapter_parameters(LLAMA_7B, by_pattern) == 32 * (11008 + 4096)


def test_the_adapter_of_a_real_model_is_counted_as_peft_counts(tmp_path):
    import peft
    from transformers import AutoModelForCausalLM

    folder = write_base_model(tmp_path / "base")
    shape = read_shape(ModelConfig(model_id=str(folder)), Settings())
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert shape.parameters == model.num_parameters()
    adapted = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear"))
    trained = sum(weights.numel() for weights in adapted.parameters() if weights.requires_grad)
    assert adapter_parameters(shape, recipe(lora={"r": 4}).lora) == trained


def test_processes_that_train_together_need_buckets_but_no_less_of_anything():
    alone, two = (least_memory(LLAMA_7B, recipe(), Place(processes=n)).total for n in (1, 2))
    assert alone < two < alone * 1.05
    assert least_memory(LLAMA_7B, recipe(), Place(machines=2)).total == two
    assert host_memory(LLAMA_7B, recipe(), Place(machines=2)) == host_memory(LLAMA_7B, recipe(), Place())
    assert host_memory(LLAMA_7B, recipe(), Place(processes=2)) > 2 * LLAMA_7B.parameters * 2


def test_a_gpu_that_is_too_small_is_told_with_what_fits():
    report = judge(LLAMA_7B, recipe(training={"method": "full"}, **ROOMY), None, gpu_nodes(gpu_node("a", A10G)))
    (problem,) = report.problems
    assert problem.startswith(
        f"starter needs 119 GiB, your largest GPU, {A10G}, has 22: use training.method=lora (est. "
    )
    assert "checkpointing" not in problem
    assert "max_seq_length" not in problem  # it would not be enough


def test_remedies_come_from_what_costs_least():
    needy = recipe(
        training={"gradient_checkpointing": "off", "per_device_train_batch_size": "1"},
        tokens={"max_seq_length": "4096"}, **ROOMY,
    )  # fmt: skip
    (problem,) = judge(LLAMA_7B, needy, None, gpu_nodes(gpu_node("a", A10G))).problems
    assert problem.index("training.gradient_checkpointing=on") < problem.index("tokens.max_seq_length=")
    for change in problem.partition(": use ")[2].split(" or "):
        key, value = change.split(" (est. ")[0].split("=")
        section, name = key.split(".")
        tree = needy.model_dump()
        tree[section][name] = value
        assert not judge(LLAMA_7B, recipe(**tree), None, gpu_nodes(gpu_node("a", A10G))).problems


def test_changes_that_only_help_together_are_given_together():
    needy = recipe(
        training={"method": "full", "precision": "32", "gradient_checkpointing": "off"},
        tokens={"max_seq_length": "4096"}, **ROOMY,
    )  # fmt: skip
    (problem,) = judge(LLAMA_7B, needy, None, gpu_nodes(gpu_node("a", A10G))).problems
    assert "training.gradient_checkpointing=on training.precision=auto" in problem
    assert "training.method=lora (est." in problem


def test_an_adapter_on_a_model_that_is_too_large_is_offered_quantized():
    needy = recipe(tokens={"max_seq_length": 3072}, **ROOMY)
    cluster = RecordedCluster([*without(healthy(), "gpu-1", "gpu-2"), gpu_node("small", A10G)])
    nodes = read_gpu_nodes(cluster.list("Node"), cluster.list("Pod"), "nvidia.com/gpu")
    (problem,) = judge(LLAMA_13B, needy, None, nodes).problems
    assert problem == (
        f"starter needs 30 GiB, your largest GPU, {A10G}, has 22: use training.precision=4 (est. 12 GiB, QLoRA)."
    )
    changed = recipe(training={"precision": "4"}, tokens={"max_seq_length": 3072}, **ROOMY)
    assert not judge(LLAMA_13B, changed, None, nodes).problems


def test_a_full_fine_tuning_is_offered_a_quantized_base_only_if_an_adapter_is_not_enough():
    full = recipe(training={"method": "full"}, resources={"memory": "64Gi"})
    (problem,) = judge(LLAMA_13B, full, None, gpu_nodes(gpu_node("a", A10G))).problems
    assert "use training.method=lora training.precision=4 (est. 9.4 GiB, QLoRA)." in problem
    (problem,) = judge(LLAMA_7B, full, None, gpu_nodes(gpu_node("a", A10G))).problems
    assert "precision" not in problem


def test_the_pod_of_a_quantized_training_holds_the_base_once_as_it_is_stored():
    needs = host_memory(LLAMA_7B, recipe(training={"precision": "4"}), Place(processes=8, bf16=False))
    assert needs == 3 * GIB + LLAMA_7B.parameters * 2


def test_a_quantized_run_whose_evaluation_is_larger_than_the_gpu_says_so():
    quantized = recipe(training={"precision": "4"}, **ROOMY)
    warned, quiet = (
        judge(shape, quantized, None, gpu_nodes(gpu_node("a", A10G))).lines for shape in (LLAMA_13B, LLAMA_7B)
    )
    assert any(
        "the evaluation asks the model unquantized (24 GiB), more than NVIDIA-A10G has" in line for line in warned
    )
    assert not any("evaluation" in line for line in quiet)


def test_a_model_that_cannot_fit_is_told_so():
    (problem,) = judge(
        LLAMA_70B, recipe(resources={"memory": "200Gi"}), None, gpu_nodes(gpu_node("a", A10G))
    ).problems  # fmt: skip
    assert "choose a smaller base model or a larger GPU" in problem


def test_a_larger_gpu_of_the_cluster_is_the_first_remedy():
    chosen = recipe(gpu={"product": T4}, training={"method": "full"}, **ROOMY)
    shape = llama(2048, 5632, 22, 256, 32000)
    (problem,) = judge(shape, chosen, None, gpu_nodes(gpu_node("a"), gpu_node("t", T4))).problems
    assert f"the chosen GPU, {T4}, has 15: use gpu.product={A100}, or training.optim=adafactor (est. " in problem


def test_small_gpus_beside_large_ones_are_a_warning():
    report = judge(LLAMA_7B, recipe(**ROOMY), None, gpu_nodes(gpu_node("a"), gpu_node("t", T4)))
    assert not report.problems
    assert any(f"Warning it may land on {T4}" in line and f"gpu.product={A100}" in line for line in report.lines)


def test_taken_gpus_are_a_warning_and_too_many_an_error():
    nodes = gpu_nodes(gpu_node("a", count=4), gpu_pod("busy", "a", 4))
    assert any("the run will wait" in line for line in judge(LLAMA_7B, recipe(**ROOMY), None, nodes).lines)
    (problem,) = judge(LLAMA_7B, recipe(gpu={"count": 8}, resources={"memory": "200Gi"}), None, nodes).problems
    assert problem == "1 x 8 GPUs are asked for; there are 4, at most 4 on one node. Lower gpu.count to 4 or less."


def test_a_product_that_is_not_there_is_refused():
    (problem,) = judge(LLAMA_7B, recipe(gpu={"product": "H200"}, **ROOMY), None, gpu_nodes(gpu_node("a"))).problems
    assert f"there are: {A100}" in problem


def test_a_pod_that_would_be_killed_is_refused_with_the_size_it_needs():
    (problem,) = judge(LLAMA_7B, recipe(), None, gpu_nodes(gpu_node("a"))).problems
    assert (
        "needs about 16 GiB of memory, resources.memory=8Gi would have it killed: set resources.memory=18Gi" in problem
    )


def test_a_cpu_run_is_held_against_the_pod():
    report = judge(LLAMA_7B, recipe(gpu={"count": 0}), None, None)
    assert len(report.problems) == 1
    assert not judge(llama(256, 512, 4, 128, 8000), recipe(gpu={"count": 0}), None, None).problems


def test_without_a_cluster_the_estimate_is_given_and_said_to_be_unheld():
    lines = preflight(recipe(), Settings(), None)
    assert lines[-1] == "GPUs    not held against the nodes: no cluster is configured"


def test_without_the_right_to_see_nodes_the_estimate_is_given():
    report = examine(recipe(), Settings(), RecordedCluster(healthy(), frozenset({("list", "Node")})))
    assert report.lines[-1].endswith("you have no right to list nodes")


def test_a_cluster_that_cannot_be_reached_does_not_stop_the_estimate():
    class Gone:
        def list(self, kind):
            raise ClusterError("cannot reach the cluster at https://c (MaxRetryError). Check KUBECONFIG.")

    report = examine(recipe(), Settings(), Gone())
    assert report.lines[-1].startswith("GPUs    not held against the nodes: cannot reach the cluster at https://c")


def test_a_healthy_cluster_takes_the_starter_with_time_and_free_gpus():
    lines = preflight(recipe(), Settings(), RecordedCluster(healthy()))
    assert any("fits, 13 of 16 free; passes of 4,096 tokens" in line for line in lines)
    assert any("of training for some" in line and A100 in line for line in lines)


def test_a_cluster_without_gpus_is_refused():
    with pytest.raises(ConfigError, match=r"no usable node offers nvidia\.com/gpu.*gpu\.count=0"):
        preflight(recipe(), Settings(), RecordedCluster(without(healthy(), "gpu-1", "gpu-2")))


def test_the_prediction_follows_the_rule_of_the_training():
    needs = needs_of(LLAMA_7B, recipe(tokens={"max_seq_length": "2048"}))
    large, small = predict(needs, 80 * GIB), predict(needs, 22 * GIB)
    assert (large.checkpointing, small.checkpointing) == (False, True)
    assert large.peak_bytes < 80 * GIB
    assert small.peak_bytes < 22 * GIB


@pytest.mark.parametrize(
    ("product", "tflops"),
    [
        (A100, 312),
        (T4, 65),
        (A10G, 70),
        ("NVIDIA-L40S", 362),
        ("NVIDIA-H100-PCIe", 756),
        ("NVIDIA-H100-80GB-HBM3", 989),
    ],
)
def test_known_gpus_have_their_data_sheets_speed(product, tflops):
    assert flops_per_second(product) == pytest.approx(tflops * 1e12 * 0.35)


@pytest.mark.parametrize("product", ["", "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "Tesla-T4-SHARED", "AMD-MI300X"])
def test_unknown_gpus_and_slices_get_no_time(product):
    assert flops_per_second(product) is None


def test_tokens_of_a_run_are_known_from_steps_and_local_files(tmp_path):
    steps = {"max_steps": 10, "tokens_per_batch": 1000, "gradient_accumulation_steps": 2}
    assert run_tokens(recipe(training=steps)) == 20_000
    file = tmp_path / "rows.jsonl"
    file.write_text("x" * 1000)
    local = {"dataset_id": str(file)}
    assert run_tokens(recipe(data=local, training={"num_train_epochs": 2})) == 400
    assert run_tokens(recipe(data={"dataset_id": "rajpurkar/squad"})) is None


def test_shapes_of_other_families_are_read():
    gpt2 = {"n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257, "n_positions": 1024}
    tensors = {"wte.weight": Tensor((50257, 768), "F32"), "h.0.mlp.c_fc.weight": Tensor((768, 3072), "F32")}
    shape = model_shape(gpt2, tensors, "gpt2")
    assert (shape.sizes, shape.positions) == (LayerSizes(768, 3072, 12, 768), 1024)
    assert [name for name, _, _ in shape.linear] == ["h.0.mlp.c_fc"]
    nested = {"text_config": {"hidden_size": 64, "num_hidden_layers": 2, "num_experts_per_tok": 2, "num_experts": 8}}
    experts = {f"layers.0.mlp.experts.{n}.up.weight": Tensor((10, 10), "BF16") for n in range(8)}
    mixture = model_shape(nested, experts, "mixture")
    assert (mixture.stored, mixture.parameters, mixture.active_parameters) == ("bf16", 800, 200)


def test_a_config_that_describes_no_decoder_is_refused():
    with pytest.raises(StorageError, match="does not say how wide and deep"):
        model_shape({"model_type": "t5"}, {}, "odd")


def test_a_broken_weights_file_is_told(tmp_path):
    folder = write_base_model(tmp_path / "base")
    (folder / "model.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{broken")
    with pytest.raises(StorageError, match="not a complete safetensors file"):
        read_shape(ModelConfig(model_id=str(folder)), Settings())


def test_a_pod_asks_for_its_containers_or_its_largest_init_container():
    pod = gpu_pod("p", "n", 2)
    pod["spec"]["initContainers"] = [{"name": "i", "resources": {"limits": {"nvidia.com/gpu": 4}}}]
    assert requested(pod, "nvidia.com/gpu") == 4


def test_closed_nodes_say_why():
    not_ready = gpu_node("d")
    not_ready["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    taint = [{"key": "team", "value": "b", "effect": "NoSchedule"}, {"key": "x", "effect": "PreferNoSchedule"}]
    nodes = gpu_nodes(gpu_node("a"), gpu_node("b", unschedulable=True), gpu_node("c", taints=taint), not_ready)
    assert [node.closed for node in nodes] == ["", "cordoned", "tainted team", "NotReady"]


@pytest.mark.parametrize(
    ("text", "number"), [("8", 8), ("1500m", 1.5), ("2Gi", 2**31), ("1G", 1e9), (None, 0), ("odd", 0), (4, 4)]
)
def test_quantities_are_numbers(text, number):
    assert quantity(text) == number


def test_the_estimate_needs_no_torch():
    import subprocess
    import sys

    heavy = {"torch", "transformers", "peft", "bitsandbytes"}
    code = f"import components.core.preflight, sys; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
