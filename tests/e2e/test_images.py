"""Images really built, run and pushed: `make images-test` for page and endpoint, `make push` to a real registry."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
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


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """Address of Debian's docker-registry, unpacked but not installed, on a free port."""
    if not shutil.which("buildah") or not shutil.which("apt-get"):
        pytest.skip("needs buildah, and Debian's docker-registry")
    subprocess.run(["apt-get", "download", "-qq", "docker-registry"], cwd=tmp_path, capture_output=True)
    packages = list(tmp_path.glob("*.deb"))
    if not packages:
        pytest.skip("docker-registry cannot be downloaded here")
    subprocess.run(["dpkg-deb", "-x", packages[0], tmp_path], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    storage = f"storage: {{filesystem: {{rootdirectory: {tmp_path / 'registry'}}}}}"
    (tmp_path / "registry.yml").write_text(f"version: 0.1\n{storage}\nhttp: {{addr: '{address}'}}\n")
    command = [tmp_path / "usr/bin/docker-registry", "serve", tmp_path / "registry.yml"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://{address}/v2/", timeout=2)
                break
            except urllib.error.URLError:
                time.sleep(0.1)
        yield address
    finally:
        process.kill()
        process.wait()


@pytest.mark.e2e
def test_push_prints_the_digest_that_the_registry_serves(registry, tmp_path):
    (tmp_path / "registries.conf").write_text(f'[[registry]]\nlocation = "{registry}"\ninsecure = true\n')
    places = f'graphroot = "{tmp_path / "images"}"\nrunroot = "{tmp_path / "run"}"\n'
    (tmp_path / "storage.conf").write_text(f'[storage]\ndriver = "vfs"\n{places}')
    environment = {
        **os.environ,
        "CONTAINERS_REGISTRIES_CONF": str(tmp_path / "registries.conf"),
        "CONTAINERS_STORAGE_CONF": str(tmp_path / "storage.conf"),
        "BUILDAH_ISOLATION": "chroot",
        "BUILDER": "buildah",
        "REGISTRY": f"{registry}/acme",
        "TAG": "7",
        "IMAGES": "ui",
    }

    def push():
        command = [sys.executable, "-m", "images.push"]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)

    refused = push()
    assert refused.returncode == 2
    assert "Build it first (make images)" in refused.stderr
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY storage.conf /\n")
    build = ["buildah", "build", "-q", "--tag", f"{registry}/acme/whetstone-ui:7", tmp_path]
    subprocess.run(build, env=environment, check=True, capture_output=True)
    pushed = push()
    assert pushed.returncode == 0, pushed.stderr
    kinds = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
    asked = urllib.request.Request(f"http://{registry}/v2/acme/whetstone-ui/manifests/7", headers={"Accept": kinds})
    with urllib.request.urlopen(asked, timeout=10) as response:
        digest = response.headers["Docker-Content-Digest"]
    assert pushed.stdout.strip() == f"pushed {registry}/acme/whetstone-ui@{digest}  ({registry}/acme/whetstone-ui:7)"
