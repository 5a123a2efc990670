"""Traces and feedback in a real MLflow file."""

import logging
from collections import Counter
from pathlib import Path

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from llm_endpoint.settings import Settings
from llm_endpoint.telemetry.exporter import Limits
from llm_endpoint.telemetry.mlflow_sink import EXPERIMENT, mlflow_trace_id
from llm_endpoint.telemetry.telemetry import open_telemetry

pytestmark = pytest.mark.e2e

QUICK = Limits(linger_seconds=0.0, backoff_seconds=0.01, breaker_seconds=0.01, attempts=2)


def test_the_file_of_make_mlflow_gets_spans_usage_and_feedback(tmp_path: Path):
    from mlflow import MlflowClient

    counts: Counter[str] = Counter()
    settings = Settings(whetstone_home=tmp_path / "home", trace_to_mlflow=True)
    telemetry = open_telemetry(
        settings, lambda event, reason, n: counts.update({f"{event} {reason}".strip(): n}), QUICK
    )
    prompt = ChatPromptTemplate.from_messages([("user", "{context}\n{question}")])
    traces = []
    for answer in ("It is blue.", "It is green, says a@b.cc."):
        trace = telemetry.start("talk-1", {"revision": "0123abc"})
        chain = prompt | GenericFakeChatModel(messages=iter([answer])) | StrOutputParser()
        config = {"run_id": trace.trace_id, "callbacks": trace.callbacks}
        assert "".join(chain.stream({"context": "c", "question": "q"}, config)) == answer
        trace.finish("Boom: bad" if traces else None, {"prompt_tokens": 7, "completion_tokens": 3})
        traces.append(trace)
    telemetry.feedback(traces[0].trace_id, 1.0, "nice")
    telemetry.feedback(traces[0].trace_id, None, None, "blue")
    assert telemetry.flush(120)
    assert counts == {"sent": 4}

    client = MlflowClient(tracking_uri=f"sqlite:///{settings.whetstone_home}/mlflow.db")
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert len(client.search_traces([experiment.experiment_id])) == 2
    good, bad = (client.get_trace(mlflow_trace_id(trace.trace_id)) for trace in traces)
    names = ["RunnableSequence", "ChatPromptTemplate", "GenericFakeChatModel", "StrOutputParser"]
    assert sorted(span.name for span in good.data.spans) == sorted(names)
    spans = {span.name: span for span in good.data.spans}
    root, model = spans["RunnableSequence"], spans["GenericFakeChatModel"]
    assert (root.parent_id, model.parent_id) == (None, root.span_id)
    assert model.span_type == "CHAT_MODEL"
    assert [event.name for event in model.events] == ["new_token"]
    assert root.inputs == {"context": "c", "question": "q"}
    assert root.outputs == {"output": "It is blue."}
    assert model.attributes["mlflow.chat.tokenUsage"]["total_tokens"] == 10
    assert root.attributes["revision"] == "0123abc"
    assert (good.info.state.value, bad.info.state.value) == ("OK", "ERROR")
    assert good.info.client_request_id == str(traces[0].trace_id)
    assert good.info.trace_metadata["mlflow.trace.session"] == "talk-1"
    assert "[EMAIL]" in bad.to_json()
    assert "a@b.cc" not in bad.to_json()
    noted = {assessment.name: assessment for assessment in good.info.assessments}
    assert (noted["user_score"].value, noted["user_score"].rationale) == (1.0, "nice")
    assert noted["expected_answer"].value == "blue"


def test_a_file_that_is_not_mlflows_costs_traces_only(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "mlflow.db").write_text("something else")
    counts: Counter[str] = Counter()
    settings = Settings(whetstone_home=tmp_path, trace_to_mlflow=True)
    telemetry = open_telemetry(
        settings, lambda event, reason, n: counts.update({f"{event} {reason}".strip(): n}), QUICK
    )
    with caplog.at_level(logging.INFO):
        telemetry.start().finish()
        assert telemetry.flush(120)
    assert counts["lost failed"] + counts["lost rejected"] == 1
    assert str(tmp_path) not in caplog.text
