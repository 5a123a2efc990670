"""What the endpoint's feedback store writes is what the merge reads: both real sides."""

import json
from pathlib import Path

from llm_endpoint.feedback import FeedbackStore, learned_answer
from support.chat_rows import raw_row

from components.core.settings import Settings
from components.core.synthesis import DatasetMergeConfig, merge
from components.core.synthesis.feedback import feedback_prompt

CONTEXT = "Bob came from Lyon in May. Write to bob@example.org."


def test_feedback_with_consent_becomes_training_rows_without_private_things(tmp_path):
    settings = Settings(whetstone_home=tmp_path)
    no_answer = feedback_prompt(None, settings).no_answer_text
    store = FeedbackStore(tmp_path / "feedback.jsonl")
    for question, response, score, correction in (
        ("Where did he come from?", "Lyon", 1.0, None),
        ("When did he come?", "In June", 0.0, "In May"),
        ("Who sent him?", "The king", 0.0, ""),
        ("What is his address?", "bob@example.org", 1.0, None),
        ("How did he come?", "By ship", 0.0, None),
    ):
        answer = learned_answer(response, score, correction, no_answer)
        store.add("t-1", CONTEXT, question, answer, "mail me: a@b.org", 1.0)
    (tmp_path / "one").mkdir()
    (tmp_path / "one/train_sft.jsonl").write_text(json.dumps(raw_row("something else")) + "\n")
    config = DatasetMergeConfig(
        ds1_id=str(tmp_path / "one"), ds1_test_split=None, feedback_file=tmp_path / "feedback.jsonl", result_ds_id="all"
    )
    result = merge(config, settings)
    rows = [json.loads(line) for line in Path(result.where).read_text().splitlines()]
    assert result.counts() == {"private": 1}
    assert "its answer was redacted" in result.dropped[0].message
    assert [row["messages"][1]["content"] for row in rows[1:]] == ["Lyon", "In May", no_answer]
    assert rows[1]["messages"][0]["content"] == feedback_prompt(None, settings).render(
        CONTEXT.replace("bob@example.org", "[EMAIL]"), "Where did he come from?"
    )
    assert "@" not in json.dumps(rows)
