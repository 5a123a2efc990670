"""The images of page and endpoint, really built and really run: `make images-test` where it can run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RAN_AS_A_POD = [
    r"no secret in a layer; no compiler, pip or cache; no foreign, setuid or writable file",
    r"health check answers after [0-9.]+ s",
    r"uid 10001, no capability, no new privileges; the root is read-only even for root",
    r"ends [0-9.]+ s after SIGTERM, exit code 0",
]


def why_not() -> str:
    """Why images cannot be tried here; empty when they can."""
    if os.getuid() != 0:
        return "building images and changing users needs root"
    if not shutil.which("apt-get") and not (shutil.which("buildah") and shutil.which("debootstrap")):
        return "needs buildah and debootstrap"
    if subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True).returncode:
        return "the kernel gives no new namespaces here"
    return ""


@pytest.mark.e2e
def test_page_and_endpoint_images_are_built_and_run_as_hardened_pods():
    reason = why_not()
    if reason:
        pytest.skip(reason)
    done = subprocess.run(
        [sys.executable, "-m", "images.trial"],
        cwd=ROOT,
        env={**os.environ, "IMAGES": "ui api"},
        capture_output=True,
        text=True,
        timeout=3000,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    block = re.compile(r"^whetstone-(api|ui):\S+ (\d+ MB uncompressed.*?)(?=^whetstone|\Z)", re.M | re.S)
    parts = dict(block.findall(done.stdout))
    assert set(parts) == {"api", "ui"}
    for said in parts.values():
        assert "PROBLEM" not in said
        assert [line for line in RAN_AS_A_POD if not re.search(line, said)] == []
    assert "/generate answered '" in parts["api"]
    assert "the page is drawn" in parts["ui"]
