"""The loop by its command, through kfp.local, until the starter passes; what may stand in then, and what not.

The service LLM is a loopback server without a model (tests/support/loop_service.py): as a judge it scores the words
that candidate and reference share, as a writer it varies the seed it is shown.
"""

import json
import re
from pathlib import Path

import pytest
from llm_endpoint.errors import ModelError
from llm_endpoint.served.folder import read_served_folder
from llm_endpoint.served.verdict import check_may_stand_in
from llm_endpoint.settings import Settings
from support.loop_command import BRIEF, report_of, run_loop, service, steps_run
from support.loop_rows import write_reference
from support.loop_service import scripted
from support.service_llm_server import ServiceLLMServer

from components.core.loop import read_history

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def passed(tmp_path_factory):
    """One round of the starter; a fifth of the words right is good enough here."""
    root = tmp_path_factory.mktemp("loop")
    reference = write_reference(root / "reference", 24, 20)
    with ServiceLLMServer(scripted) as server:
        learning = ["training.learning_rate=2e-3", "training.num_train_epochs=4", f"reference.dataset_id={reference}"]
        enough = ["judge.avg_similarity_threshold=20", "judge.avg_precision_threshold=20"]
        found = run_loop(root / "home", *BRIEF, *service(server), *learning, *enough)
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-2000:]
    return root / "home", found


def registered(found):
    return Path(re.search(r"^Stand-in +\S+ version 1, (\S+)$", found.stdout, flags=re.MULTILINE)[1])


def test_a_model_that_passed_is_registered_with_the_judges_word(passed):
    home, found = passed
    assert steps_run(found)[-4:] == [f"1-{name}-model" for name in ("evaluate", "qualify", "upload", "register")]
    history = read_history(report_of(found).parent)
    assert history.decision == "passed"
    base, first = history.rounds
    assert base.score < 10 < 20 < first.score
    assert first.gain.shown
    info = json.loads((registered(found) / "model_info.json").read_text())
    assert info["verdict"]["status"] == "passed"
    qualification = info["qualification"]
    assert (qualification["qualified"], qualification["judge"]) == (True, "openai/scripted")
    assert qualification["similarity"]["value"] == first.similarity.value
    assert registered(found).parent.parent == home / "registry"


def test_no_test_row_was_trained_on(passed):
    home, found = passed
    folder = report_of(found).parents[2]
    rows = [json.loads(line) for line in (folder / "round-1-fetch-dataset" / "output_dataset" / "train.jsonl").open()]
    test = [json.loads(line) for line in (home.parent / "reference" / "test_sft.jsonl").open()]
    assert len(rows) > 40
    assert not {row["prompt"] for row in rows} & {row["prompt"] for row in test}


def test_the_endpoint_takes_it_as_a_stand_in_but_not_what_nobody_let_pass(passed):
    _, found = passed
    check_may_stand_in(read_served_folder(registered(found), Settings()))
    unjudged = report_of(found).parents[2] / "round-1-finetune-model" / "output_model_dir"
    with pytest.raises(ModelError, match="may not stand in: nobody has judged it here"):
        check_may_stand_in(read_served_folder(unjudged, Settings()))
