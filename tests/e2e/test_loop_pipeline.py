"""The loop by its command, through kfp.local, to `budget` and to `plateau`, and on after it broke off.

The service LLM is a loopback server without a model (tests/support/loop_service.py): as a judge it scores the words
that candidate and reference share, as a writer it varies the seed it is shown. The small model is a random tiny Llama.
"""

import json
from types import SimpleNamespace

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


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One loop asked for three times: without rounds, with rounds but no new rows, and then to its end."""
    root = tmp_path_factory.mktemp("loop")
    base = write_tiny_llama(root / "base")
    (base / "prompt.json").unlink()
    reference = write_reference(root / "reference", 24, 12)
    with ServiceLLMServer(scripted) as server:
        priced = ["judge.price_per_million_input=1000", "inference.max_new_tokens=12", f"model.model_id={base}"]
        arguments = [*BRIEF, *service(server), *priced, f"reference.dataset_id={reference}"]
        still = ["training.max_steps=1", "training.learning_rate=1e-9", "loop.patience=1", "loop.max_rounds=3"]
        without_rounds = run_loop(root / "home", *arguments, "loop.max_rounds=0")
        calls = [len(server.calls)]
        server.script = without_rows
        broken = run_loop(root / "home", *arguments, *still)
        judged = [sum("<seed>" not in call.prompt for call in server.calls)]
        server.script = scripted
        ended = run_loop(root / "home", *arguments, *still)
        judged.append(sum("<seed>" not in call.prompt for call in server.calls) - judged[0])
    return SimpleNamespace(
        home=root / "home", without_rounds=without_rounds, broken=broken, ended=ended, calls=calls[0], judged=judged
    )


def without_rows(call, number):
    """A service that judges and writes nothing."""
    return Fault(503, "no rows today") if "<seed>" in call.prompt else scripted(call, number)


def test_a_base_model_that_is_not_good_enough_ends_a_loop_without_rounds_by_its_budget(runs):
    found = runs.without_rounds
    assert found.returncode == 3, found.stdout[-3000:] + found.stderr[-2000:]
    assert steps_run(found) == [*BASE, "0-record-refused-run"]
    history = read_history(report_of(found).parent)
    assert (history.decision, len(history.rounds)) == ("budget", 1)
    # each call is 100 tokens in, by the stand-in's word
    assert history.spent.calls == runs.calls == 12
    assert history.spent.usd == pytest.approx(0.1 * 12)
    assert "BUDGET USED UP: 0 of loop.max_rounds=0 rounds are done" in found.stdout
    assert "none: no model of this loop may stand in" in found.stdout


def test_a_service_that_fails_in_the_middle_ends_the_run_with_its_word(runs):
    found = runs.broken
    assert found.returncode == 2
    # another budget asks nothing again
    assert steps_run(found) == ["0-decide-round", "1-generate-dataset"]
    assert "step round-1-generate-dataset failed: openai/scripted" in found.stderr
    assert "no rows today" in found.stderr


def test_a_loop_goes_on_where_it_broke_off_and_ends_at_a_plateau_with_nothing_registered(runs):
    found = runs.ended
    assert found.returncode == 3, found.stdout[-3000:] + found.stderr[-2000:]
    assert steps_run(found) == [f"1-{name}" for name in ["generate-dataset", *TRAINED, *ENDED]]
    history = read_history(report_of(found).parent)
    assert history.decision == "plateau"
    assert [each.judging.calls for each in history.rounds] == runs.judged == [12, 12]
    assert history.last.synthetic_rows == 40
    assert "PLATEAU: the last round did not surely gain anything" in found.stdout
    assert "PLATEAU" in report_of(found).read_text()
    assert not (runs.home / "registry").exists()
    verdicts = [json.loads(path.read_text())["verdict"] for path in runs.home.rglob("evaluation.json")]
    assert any(each["headline"].startswith("REFUSED: by the judgement of openai/scripted") for each in verdicts)
