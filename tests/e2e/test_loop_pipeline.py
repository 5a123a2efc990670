"""The loop by its command, through kfp.local, to `budget` and to `plateau`, and again after it broke off.

The service LLM is a loopback server without a model (tests/support/loop_service.py): as a judge it scores the words
that candidate and reference share, as a writer it varies the seed it is shown. The small model is a random tiny Llama.
"""

import json

import pytest
from support.loop_command import BRIEF, report_of, run_loop, service, steps_run
from support.loop_rows import write_reference
from support.loop_service import scripted
from support.service_llm_server import Fault, ServiceLLMServer
from support.tiny_llama import write_tiny_llama

from components.core.loop import read_history

pytestmark = pytest.mark.e2e

JUDGED = ("infer-responses", "judge-responses", "decide-round")
BASE = [f"0-{name}" for name in JUDGED]
TRAINED = ["merge-datasets", "fetch-dataset", "tokenize-dataset", "finetune-model", *JUDGED]
ENDED = ["evaluate-model", "qualify-model", "record-refused-run"]


@pytest.fixture
def base(tmp_path):
    folder = write_tiny_llama(tmp_path / "base")
    (folder / "prompt.json").unlink()
    reference = write_reference(tmp_path / "reference", 24, 12)
    return [f"model.model_id={folder}", f"reference.dataset_id={reference}", "inference.max_new_tokens=12"]


def test_a_base_model_that_is_not_good_enough_ends_a_loop_without_rounds_by_its_budget(base, tmp_path):
    with ServiceLLMServer(scripted) as server:
        arguments = [*BRIEF, *base, *service(server), "loop.max_rounds=0", "judge.price_per_million_input=1000"]
        found = run_loop(tmp_path / "home", *arguments)
        assert found.returncode == 3, found.stdout[-3000:] + found.stderr[-2000:]
        assert steps_run(found) == [*BASE, "0-record-refused-run"]
        history = read_history(report_of(found).parent)
        assert (history.decision, len(history.rounds)) == ("budget", 1)
        # each call is 100 tokens in, by the stand-in's word
        assert history.spent.calls == len(server.calls)
        assert history.spent.usd == pytest.approx(0.1 * len(server.calls))
        asked = len(server.calls)
        # another budget asks nothing again
        again = run_loop(tmp_path / "home", *arguments, "loop.max_rounds=3", "loop.max_calls=1")
        assert (again.returncode, len(server.calls)) == (3, asked)
        assert steps_run(again) == ["0-decide-round", "0-record-refused-run"]
        assert "would exceed loop.max_calls=1" in again.stdout
    assert "BUDGET USED UP" in found.stdout
    assert "none: no model of this loop may stand in" in found.stdout
    assert not (tmp_path / "home" / "registry").exists()


def test_a_loop_that_broke_off_goes_on_and_ends_at_a_plateau_with_nothing_registered(base, tmp_path):
    def without_rows(call, number):
        return Fault(503, "no rows today") if "<seed>" in call.prompt else scripted(call, number)

    with ServiceLLMServer(without_rows) as server:
        still = ["training.max_steps=1", "training.learning_rate=1e-9", "loop.patience=1", "loop.max_rounds=3"]
        arguments = [*BRIEF, *base, *service(server), *still]
        broken = run_loop(tmp_path / "home", *arguments)
        assert broken.returncode == 2
        assert "step round-1-generate-dataset failed: openai/scripted" in broken.stderr
        assert "no rows today" in broken.stderr
        assert steps_run(broken) == [*BASE, "1-generate-dataset"]
        judged = sum("<seed>" not in call.prompt for call in server.calls)
        server.script = scripted
        found = run_loop(tmp_path / "home", *arguments)
        assert found.returncode == 3, found.stdout[-3000:] + found.stderr[-2000:]
        assert steps_run(found) == [f"1-{name}" for name in ["generate-dataset", *TRAINED, *ENDED]]
        again = sum("<seed>" not in call.prompt for call in server.calls) - judged
        history = read_history(report_of(found).parent)
    assert history.decision == "plateau"
    assert [each.judging.calls for each in history.rounds] == [judged, again]
    assert history.last.synthetic_rows == 40
    assert "PLATEAU: the last round did not surely gain anything" in found.stdout
    assert "PLATEAU" in report_of(found).read_text()
    assert not (tmp_path / "home" / "registry").exists()
    verdicts = [json.loads(path.read_text())["verdict"] for path in (tmp_path / "home").rglob("evaluation.json")]
    assert any(each["headline"].startswith("REFUSED: by the judgement of openai/scripted") for each in verdicts)
