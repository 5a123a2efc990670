"""What may leave the process."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from llm_endpoint.settings import Settings
from llm_endpoint.telemetry.masking import Masking
from llm_endpoint.telemetry.records import FeedbackItem, RunRecord, TraceItem
from llm_endpoint.telemetry.telemetry import open_telemetry

OWN = "canary-own-key-1"


def trace(**details: Any) -> TraceItem:
    now = datetime.now(UTC)
    trace_id, child = uuid4(), uuid4()
    runs = [
        RunRecord(trace_id, None, "chain", "chain", now, {"context": "password: hunter22, a@b.cc"}, now),
        RunRecord(child, trace_id, "llm", "llm", now, {"messages": [{"role": "user", "content": "four"}]}, now),
    ]
    for name, value in details.items():
        setattr(runs[1], name, value)
    return TraceItem(trace_id, runs, {"mail": "a@b.cc"}, session_id="me@home.org")


def text_of(item: Any) -> str:
    return json.dumps([[vars(run) for run in item.runs], item.metadata, item.session_id], default=str)


def test_nothing_private_is_left_anywhere():
    item = trace(
        outputs={"messages": [{"role": "assistant", "content": f"hunter22 and {OWN}"}]},
        error="APIError: key sk-abcdefghijklmnopqrst refused for c@d.ee",
        tags=["e@f.gg"],
        metadata={"api_key": "0123"},
        parameters={"stop": ["g@h.ii"]},
    )
    left = text_of(Masking(secrets=(OWN,))(item))
    for private in ("hunter22", "a@b.cc", OWN, "sk-abc", "c@d.ee", "e@f.gg", "0123", "g@h.ii", "me@home.org"):
        assert private not in left
    assert "hunter22" in text_of(item), "the masked item is a copy"


def test_with_content_off_only_sizes_are_left():
    item = trace(outputs={"answer": "a secret answer"}, error="BadThing: for question 'four'")
    masked = Masking(content=False)(item)
    assert masked.runs[0].inputs == {"context": "[26 characters]"}
    assert masked.runs[1].inputs == {"messages": [{"role": "user", "content": "[4 characters]"}]}
    assert masked.runs[1].outputs == {"answer": "[15 characters]"}
    assert masked.runs[1].error == "BadThing"
    feedback = FeedbackItem(uuid4(), uuid4(), datetime.now(UTC), 0.0, "because", "Paris")
    assert Masking(content=False)(feedback).correction == "[5 characters]"
    assert Masking(content=False)(feedback).score == 0.0


def test_without_redaction_the_own_keys_are_still_replaced():
    masked = Masking(redaction=False, secrets=(OWN,))(trace(outputs={"a": f"{OWN} a@b.cc"}))
    assert masked.runs[1].outputs == {"a": "[KEY] a@b.cc"}


def test_halves_of_surrogate_pairs_are_replaced():
    text_of(Masking()(trace(outputs={"a": "x\ud800"}))).encode("utf-8")
    assert Masking()(trace(outputs={"a": "x\ud800é"})).runs[1].outputs == {"a": "x?é"}


def test_runs_are_ordered_by_the_start_of_their_ancestors():
    root, child = Masking()(trace()).runs
    assert root.dotted_order.endswith(f"Z{root.id}")
    assert child.dotted_order.startswith(f"{root.dotted_order}.")


def test_off_records_nothing_but_has_trace_ids():
    telemetry = open_telemetry(Settings(), lambda *_: pytest.fail("nothing to count"))
    one, other = telemetry.start("s", {"a": 1}), telemetry.start()
    assert one.trace_id != other.trace_id
    assert (one.callbacks, telemetry.enabled, telemetry.waiting()) == ([], False, (0, 0))
    one.finish("error", {"prompt_tokens": 1})
    assert telemetry.feedback(one.trace_id, 1.0) is False
    assert telemetry.flush(0) is True
    telemetry.close(0)
