"""The startup probe's patience, from the size of the model."""

from pathlib import Path

import pytest
import yaml

from components.core.deployment.startup import PROGRESS_DEADLINE, size_startup, startup_probe, startup_seconds

BASE = Path(__file__).resolve().parents[2] / "manifests" / "api" / "base" / "inference-service.yaml"


def test_the_measured_start_of_a_small_model_fits_three_times():
    # 110 million parameters in bf16: up to 33 s of conversion were measured
    assert startup_seconds(220_000_000) > 3 * 33


def test_a_larger_model_gets_more_tries():
    tries = [startup_probe(size)["failureThreshold"] for size in (0, 270_000_000, 3_000_000_000, 14_000_000_000)]
    assert tries == sorted(set(tries))
    assert tries[0] == 6


def test_the_probe_waits_as_long_as_the_formula_says():
    probe = startup_probe(3_000_000_000)
    waits = probe["periodSeconds"] * probe["failureThreshold"]
    assert waits == pytest.approx(startup_seconds(3_000_000_000), abs=probe["periodSeconds"])


def test_the_probe_in_the_manifests_is_that_of_their_model():
    service = yaml.safe_load(BASE.read_text(encoding="utf-8"))
    container = service["spec"]["predictor"]["containers"][0]
    assert container["startupProbe"] == startup_probe(269_060_552)  # SmolLM2-135M-Instruct, as it lies on the Hub


def test_knatives_deadline_grows_with_the_probe():
    container = {"name": "kserve-container", "startupProbe": {}}
    predictor = {"annotations": {PROGRESS_DEADLINE: "1800s"}, "containers": [container, {"name": "sidecar"}]}
    size_startup({"spec": {"predictor": predictor}}, 14_000_000_000)
    probe = container["startupProbe"]
    assert int(predictor["annotations"][PROGRESS_DEADLINE][:-1]) >= probe["periodSeconds"] * probe["failureThreshold"]
    assert "startupProbe" not in predictor["containers"][1]


def test_without_knative_no_deadline_is_added():
    predictor = {"annotations": {}, "containers": []}
    size_startup({"spec": {"predictor": predictor}}, 14_000_000_000)
    assert predictor["annotations"] == {}
