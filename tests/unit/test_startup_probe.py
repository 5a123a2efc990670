"""The startup probe's patience, from the size of the model."""

from pathlib import Path

import pytest
import yaml

from components.core.deployment.startup import startup_probe, startup_seconds

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
