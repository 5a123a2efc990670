"""`make check-manifests`: the command around the rules."""

import subprocess
import sys

import pytest
import yaml
from support.manifests import ROOT, document, endpoint


def run(*arguments, given=""):
    command = [sys.executable, "-m", "llm-pipelines.check-manifests", *arguments]
    return subprocess.run(command, cwd=ROOT, input=given, capture_output=True, text=True)


def test_sound_documents_from_standard_input_pass():
    done = run("-", given=yaml.safe_dump_all([endpoint(), document("ServiceAccount")]))
    assert (done.returncode, done.stdout) == (0, "-: 2 documents, 0 findings\n")


def test_each_finding_is_one_line_with_place_and_remedy(tmp_path):
    rendered = tmp_path / "rendered.yaml"
    rendered.write_text(yaml.safe_dump(endpoint(scaleMetric="rps")))
    done = run(str(rendered))
    assert done.returncode == 2
    assert done.stdout.splitlines()[1].startswith("  InferenceService/llm-api spec.predictor.scaleMetric: rps silently")
    assert done.stdout.count("\n") == 2


def test_what_is_in_the_cluster_already_can_be_named():
    given = yaml.safe_dump(endpoint(imagePullSecrets=[{"name": "registry-login"}]))
    assert run("-", "--external", "Secret/registry-login", given=given).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "given", "message"),
    [
        (["gone.yaml"], "", "error: cannot read gone.yaml: No such file"),
        (["-"], "a: [", "error: -: not YAML"),
        (["-"], "- a list", "error: -: document 1 is no Kubernetes object"),
        (["-", "--external", "registry-login"], "", "error: --external registry-login: not Kind/name"),
    ],
)
def test_wrong_input_is_one_line_and_no_traceback(arguments, given, message):
    done = run(*arguments, given=given)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert "Traceback" not in done.stderr
