import json

import pytest

from components.core.errors import DataError
from components.core.evaluation.forgetting import compare_losses, forgetting_notes, judge_forgetting, read_probe
from components.core.recipe import EvaluationConfig, GateConfig

QUICK = EvaluationConfig(bootstrap_samples=200)
VOCABULARY = 1000


def measured(text_rise, conversation_rise=0.0, base=3.0):
    """Every probe row of ten tokens; the base loses `base` nats on each, the tuned model so much more."""
    probe = read_probe()
    rises = {"text": text_rise, "conversation": conversation_rise}
    before = {kind: [(10 * base, 10)] * len(probe.of(kind)) for kind in rises}
    after = {kind: [(10 * (base + rise), 10)] * len(probe.of(kind)) for kind, rise in rises.items()}
    return compare_losses(probe, before, after, VOCABULARY, QUICK)


def rules(found, **gate):
    return judge_forgetting(GateConfig(**gate), found, QUICK.confidence)


def test_the_embedded_probe_holds_texts_and_conversations_and_never_changes_unnoticed():
    probe = read_probe()
    assert (len(probe.of("text")), len(probe.of("conversation"))) == (28, 24)
    assert len({row.text for row in probe.rows}) == len({row.row_id for row in probe.rows}) == 52
    # results compare only on the same rows: whoever changes one changes this, too, and says so in the changelog
    assert probe.fingerprint == "7a3567f8a37661a5"


def test_a_loss_that_rose_is_measured_with_its_interval_and_its_worst_rows():
    found = measured(0.75, -0.25)
    text = found.kinds["text"]
    assert (text.rows, text.tokens, text.known) == (28, 280, True)
    assert (text.base.value, text.tuned.value) == (3.0, 3.75)
    assert (text.increase.value, text.increase.low, text.increase.high) == pytest.approx((0.75, 0.75, 0.75))
    assert found.kinds["conversation"].increase.value == -0.25
    assert {row.kind for row in found.worst} == {"text"}
    assert found.flat_metrics()["forgetting_text"] == 0.75


@pytest.mark.parametrize(("rises", "gate", "outcomes"), [
    ((0.2, 0.1), {}, ["better", "better"]),
    ((0.7, 0.1), {}, ["forgot", "better"]),
    # a gain in conversations does not make up for what was lost
    ((0.1, 0.7), {}, ["better", "forgot"]),
    ((0.7, -2.0), {}, ["forgot", "better"]),
    ((0.7, 0.1), {"max_forgetting": 1}, ["better", "better"]),
    ((9.0, 9.0), {"max_forgetting": "ignore"}, []),
])  # fmt: skip
def test_the_gate_refuses_a_rise_above_its_limit(rises, gate, outcomes):
    assert [outcome for outcome, _ in rules(measured(*rises), **gate)] == outcomes


def test_the_reason_says_what_was_forgotten_and_by_how_much():
    (_, reason), _ = rules(measured(2.0))
    assert reason == (
        "the tuned model forgot: its loss on general texts of the probe rose by more than gate.max_forgetting=0.5 "
        "nats per token (+2.000, 95 % interval +2.000 to +2.000)"
    )


def test_what_the_base_does_not_know_it_cannot_forget():
    found = measured(9.0, base=7.0)
    assert rules(found) == []
    assert forgetting_notes(found)[0].startswith(
        "The base model does not know general texts of the probe (loss 7.00, a guess has 6.91)"
    )


def test_one_row_of_a_probe_refuses_no_model(tmp_path):
    path = tmp_path / "one.jsonl"
    path.write_text('{"text": "Hello."}\n')
    found = compare_losses(read_probe(str(path)), {"text": [(1.0, 1)]}, {"text": [(9.0, 1)]}, VOCABULARY, QUICK)
    assert rules(found)[0][0] == "better"


def test_a_probe_of_ones_own_is_read_and_its_bad_rows_are_named(tmp_path):
    path = tmp_path / "mine.jsonl"
    messages = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    path.write_text(f"{json.dumps({'id': 'a', 'text': 'Ships sail.'})}\n\n{json.dumps({'messages': messages})}\n")
    probe = read_probe(str(path))
    assert [(row.row_id, row.kind) for row in probe.rows] == [("a", "text"), ("3", "conversation")]
    assert (probe.name, probe.rows[1].text) == ("mine.jsonl", "user: Hi.\n\nassistant: Hello.")
    path.write_text('{"text": ""}\n{"texts": "x"}\n{"messages": [{"role": "user", "content": "Hi."}]}\nnot json\n')
    with pytest.raises(DataError) as caught:
        read_probe(str(path))
    lines = str(caught.value).splitlines()
    assert [line.partition(": ")[2][:22] for line in lines[:3]] == [
        "text is no text, or is", 'expected {"text": ...}', "messages: has no assis",
    ]  # fmt: skip
    assert f"{path}, row 4: " in lines[3]
    with pytest.raises(DataError, match=r"cannot read the probe .*leave it out for the embedded probe"):
        read_probe(str(tmp_path / "none.jsonl"))
