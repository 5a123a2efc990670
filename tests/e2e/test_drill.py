"""A quick drill: five outages between the real endpoint and a scripted service, and nobody loses an answer."""

import os
import subprocess
import sys

import pytest
from support.endpoint_server import ROOT

pytestmark = pytest.mark.e2e


def test_a_drill_loses_no_answer(tmp_path):
    command = [sys.executable, "-m", "llm-pipelines.drill", "--outage-seconds", "1.5", "--well-seconds", "1"]
    environment = {
        "WHETSTONE_HOME": str(tmp_path),
        "BREAKER_SECONDS": "1",
        "ENGINE": "transformers",
        "THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        command, cwd=ROOT, env=dict(os.environ) | environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nobody lost an answer." in done.stdout
    table = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.split()[1:2]}
    for name in ("refused", "429", "5xx", "hang", "cut"):
        assert table[name][2] == "0"
        assert int(table[name][4]) >= 3
    assert "Traceback" not in done.stderr


def test_an_outage_that_there_is_not_is_one_line_and_exit_2(tmp_path):
    command = [sys.executable, "-m", "llm-pipelines.drill", "--outages", "flood"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 2
    assert "there is no outage 'flood'" in done.stderr
    assert "Traceback" not in done.stderr
