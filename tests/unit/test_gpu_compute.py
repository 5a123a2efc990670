"""Which GPUs of a cluster a model may use."""

from pathlib import Path

import pytest
from support.recorded_clusters import A10G, A100, T4, RecordedCluster, gpu_node, healthy, without

from components.core.deployment.gpu_compute import INFERENCE, check_compute, is_allowed
from components.core.deployment.gpu_nodes import GpusWanted, NoGpus, read_gpu_nodes
from components.core.errors import ConfigError
from components.core.preflight import examine, preflight
from components.core.recipe import CatalogueModel, Recipe, get_model, read_catalogue
from components.core.settings import Settings

MODELS = read_catalogue(Path(__file__).resolve().parents[2] / "llm-pipelines" / "recipes" / "models")
PHI_3 = get_model(MODELS, "Phi-3-mini")
ONE = GpusWanted("nvidia.com/gpu", None, 1)


def check(*nodes, model=PHI_3, wanted=ONE, **options):
    return check_compute(read_gpu_nodes(nodes, [], "nvidia.com/gpu"), wanted, model, **options)


def labelled(product, major="", minor="", mebibytes=""):
    node = gpu_node("odd")
    labels = node["metadata"]["labels"]
    labels |= {"nvidia.com/gpu.product": product, "nvidia.com/gpu.memory": mebibytes}
    labels |= {"nvidia.com/gpu.compute.major": major, "nvidia.com/gpu.compute.minor": minor}
    return node


def test_a_gpu_of_the_allow_list_is_used_and_counted():
    found = check(gpu_node("a", A100, 8), gpu_node("b", A100, 4))
    assert found.gpus_per_node == 8
    assert found.lines == ("Number of GPU's in compute NVIDIA-A100-SXM4-80GB: 8",)


def test_a_gpu_that_is_not_in_the_allow_list_is_refused_with_what_is_there():
    with pytest.raises(NoGpus, match=r"Tesla-T4 \(15 GiB\) is not in finetune_compute_allow_list. Use one of L4, A10"):
        check(gpu_node("a", T4))
    assert check(gpu_node("a", T4), tag=INFERENCE).gpus_per_node == 8


def test_an_endpoint_is_refused_on_a_gpu_that_its_base_model_may_not_be_served_from():
    nodes = read_gpu_nodes([gpu_node("a", T4)], [], "nvidia.com/gpu")
    narrow = PHI_3.model_copy(update={"inference_compute_allow_list": ("A100",)})
    with pytest.raises(NoGpus, match=r"Tesla-T4 \(15 GiB\) is not in inference_compute_allow_list. Use one of A100"):
        check_compute(nodes, ONE, narrow, INFERENCE)


def test_among_several_gpus_the_allowed_ones_are_named():
    found = check(gpu_node("a", T4), gpu_node("b", A10G, 2))
    assert (
        found.lines[0] == "Warning it may land on Tesla-T4 (15 GiB), which it may not use: set gpu.product=NVIDIA-A10G"
    )
    assert [pool.product for pool in found.pools] == [A10G]


@pytest.mark.parametrize(
    ("product", "allowed", "expected"),
    [
        ("NVIDIA-A100-SXM4-80GB", ["a100"], True),
        ("NVIDIA-A100-SXM4-80GB", ["nvidia_a100_sxm4_80gb"], True),
        ("NVIDIA-A10G", ["A10"], False),
        ("NVIDIA-RTX-6000-Ada-Generation", ["RTX-6000-ADA"], True),
        ("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", ["A100"], False),
        ("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", ["nvidia-a100-sxm4-40gb-mig-1g.5gb"], True),
    ],
)
def test_a_gpu_is_in_a_list_by_words_in_any_case_but_a_slice_by_its_whole_label_only(product, allowed, expected):
    assert is_allowed(product, allowed) == expected


@pytest.mark.parametrize("model", [None, CatalogueModel(model_id="acme/small")])
def test_without_a_list_a_message_says_so_and_usual_gpus_pass(model):
    found = check(gpu_node("a", T4), model=model)
    assert found.lines[0].startswith("finetune_compute_allow_list is not in the ")
    assert found.gpus_per_node == 8


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (labelled("Tesla-K80"), "Tesla-K80 .* is too old"),
        (labelled("Tesla-V100-SXM2-32GB", "7"), "is too old .compute capability below 7.5"),
        (labelled("Odd-Card", "7", "0"), "Odd-Card .* is too old"),
        (labelled("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "8", "0", "4864"), "is too small .less than 8 GiB"),
    ],
)
def test_without_a_list_gpus_that_are_too_old_or_too_small_are_refused(node, reason):
    with pytest.raises(NoGpus, match=reason):
        check(node, model=None)


def test_a_failed_pool_and_an_empty_one_are_refused():
    with pytest.raises(NoGpus, match=r"no usable node offers nvidia.com/gpu \(a is cordoned\)"):
        check(gpu_node("a", unschedulable=True))
    with pytest.raises(NoGpus, match="no usable node has the GPU Tesla-T4; there are: NVIDIA-A100-SXM4-80GB"):
        check(gpu_node("a"), wanted=GpusWanted("nvidia.com/gpu", T4, 1))
    with pytest.raises(NoGpus, match="1 x 16 GPUs are asked for; there are 8, at most 8 on one node"):
        check(gpu_node("a"), wanted=GpusWanted("nvidia.com/gpu", None, 16))


def test_the_preflight_of_a_catalogue_model_holds_the_cluster_against_its_list():
    t4_only = [*without(healthy(), "gpu-1", "gpu-2"), gpu_node("gpu-3", T4)]
    recipe = Recipe.model_validate({"model": {"model_id": "/no/weights/to/look/at"}})
    with pytest.raises(ConfigError, match="Tesla-T4 .* is not in finetune_compute_allow_list"):
        preflight(recipe, Settings(), RecordedCluster(t4_only), PHI_3)
    starter = examine(Recipe(), Settings(), RecordedCluster(healthy()), get_model(MODELS, "starter"))
    assert starter.lines[-1] == "Number of GPU's in compute NVIDIA-A100-SXM4-80GB: 8"
    assert not starter.problems
