"""Two rounds of the starter, step by step in this process: the score rises on rows that are never trained on.

The service LLM is a loopback server without a model (tests/support/loop_service.py): as a judge it scores the words
that candidate and reference share, as a writer it varies the seed it is shown.
"""

import json

import pytest
from support.loop_command import BRIEF, service
from support.loop_rows import write_reference
from support.loop_service import scripted
from support.service_llm_server import ServiceLLMServer

from components.core.data import prepare_dataset
from components.core.data.tokens import tokenize_dataset
from components.core.loop.answering import infer_round
from components.core.loop.growing import generate_round, merge_round
from components.core.loop.recipe import load_loop
from components.core.loop.rounds import close_round, rows_left
from components.core.loop.scoring import judge_round
from components.core.settings import Settings
from components.core.training import finetune

pytestmark = pytest.mark.e2e

LEARNING = ("training.learning_rate=2e-3", "training.num_train_epochs=4", "loop.max_synthetic_rows=80")


class Rounds:
    """What the steps of the pipeline call, in their order."""

    def __init__(self, loop, root):
        self.loop, self.sections, self.root = loop, loop.sections(), root
        self.settings = Settings(whetstone_home=root / "home")
        self.rows = None

    def judged(self, number, model=None, **earlier):
        root, loop = self.root / str(number), self.loop
        asked = loop.reference, loop.recipe.model, self.sections["inference"], model
        infer_round(number, *asked, root / "answers", self.settings)
        judge_round(number, self.sections["judge"], root / "answers", root / "judged", self.settings)
        places = [earlier.get(name) for name in ("history", "generated", "dataset")]
        return close_round(number, loop.loop, root / "judged", *places, root / "history")

    def retrained(self, number, before):
        root, last, recipe = self.root / str(number), self.root / str(number - 1), self.loop.recipe
        limits = before.last.synthetic_rows, rows_left(self.loop.loop, before)
        given = self.sections["data_gen"], *limits, last / "judged", self.rows
        generate_round(number, self.loop.reference, *given, root / "new", self.settings)
        merge_round(self.loop.reference, root / "new", self.rows, root / "rows", self.settings)
        self.rows = root / "rows"
        data = recipe.data.model_copy(update={"dataset_id": str(self.rows)})
        prepare_dataset(data, recipe.task, root / "data", self.settings)
        tokenize_dataset(recipe.task, recipe.model, recipe.tokens, root / "data", root / "tokens", self.settings)
        taught = recipe.training, recipe.lora, root / "tokens", root / "tuned"
        finetune(recipe.task, recipe.model, *taught, self.settings)
        places = {"history": last / "history", "generated": root / "new", "dataset": root / "data"}
        return self.judged(number, root / "tuned", **places)


@pytest.fixture(scope="module")
def rounds(tmp_path_factory):
    root = tmp_path_factory.mktemp("rounds")
    reference = write_reference(root / "reference", 24, 20)
    with ServiceLLMServer(scripted) as server:
        loop = load_loop(None, [*BRIEF, *LEARNING, *service(server), f"reference.dataset_id={reference}"])
        steps = Rounds(loop, root)
        base = steps.judged(0)
        asked = len(server.calls)
        # the step is tried again, and has lost what it wrote
        judge_round(0, loop.sections()["judge"], root / "0" / "answers", root / "again", steps.settings)
        repeated = len(server.calls) - asked
        first = steps.retrained(1, base)
        second = steps.retrained(2, first)
    return root, second, repeated


def test_each_round_scores_surely_higher_on_rows_never_trained_on(rounds):
    root, history, _ = rounds
    base, first, second = history.rounds
    assert base.score < 10 < first.score < second.score
    assert first.gain.shown
    assert second.gain.shown
    assert set(second.prompts) >= set(base.prompts)
    test = {json.loads(line)["prompt"] for line in (root / "reference" / "test_sft.jsonl").open()}
    for number in (1, 2):
        trained = [json.loads(line) for line in (root / str(number) / "data" / "train.jsonl").open()]
        assert not {row["prompt"] for row in trained} & test


def test_generated_rows_add_up_to_their_budget(rounds):
    _, history, _ = rounds
    assert [each.synthetic_rows for each in history.rounds] == [0, 40, 80]
    assert history.decision == "budget"
    assert history.reason.startswith("80 rows are generated, as many as loop.max_synthetic_rows allows")
    assert [each.train_rows for each in history.rounds[1:]] == [51, 83]  # a fifth of 64 and of 104 watches the training


def test_judging_that_is_tried_again_asks_nothing_twice(rounds):
    root, history, repeated = rounds
    assert repeated == 0
    assert not list((root / "home" / "datasets").glob("*"))  # what is worked on has gone into the outputs
    first, again = (json.loads((root / name / "judged.json").read_text()) for name in ("0/judged", "again"))
    assert first == again
    assert first["usage"]["calls"] == history.rounds[0].judging.calls > 0
