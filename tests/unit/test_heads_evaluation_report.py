"""The report of a model with a head: made end to end from hand-made folders."""

import json

import pytest

from components.core.catalogue import EVALUATE
from components.core.errors import StorageError
from components.core.heads.evaluation import evaluate_head, judging, read_head_evaluation
from components.core.recipe import EvaluationConfig
from components.core.registry.manifest import hash_file
from components.core.settings import Settings
from components.core.tasks.heads import Head, read_head, write_head

EVIL = "<script>alert(1)</script>"
GATE = EVALUATE["classification_single_label"].model_validate({})


@pytest.fixture
def folders(tmp_path):
    made = [tmp_path / name for name in ("prepared", "model", "inference", "out")]
    for folder in made:
        folder.mkdir()
    prepared, model, inference, _ = made
    rows = [{"text": f"word{n % 2} is here {n}", "label": (EVIL, "calm")[n % 2]} for n in range(40)]
    for split in ("train", "validation", "test"):
        (prepared / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (prepared / "dataset_info.json").write_text('{"fingerprint": "f"}')
    head = Head(
        task="single_label", labels=[EVIL, "calm"], columns={}, max_seq_length=8, pad_token_id=0, token_type_ids=False
    )
    write_head(head, model)
    shares = [{row["label"]: 0.9, "calm" if row["label"] == EVIL else EVIL: 0.1} for row in rows]
    found = [
        {"label": row["label"], "score": 0.9, "probabilities": each} for row, each in zip(rows, shares, strict=True)
    ]
    (inference / "predictions.jsonl").write_text("".join(json.dumps(each) + "\n" for each in found))
    (inference / "metadata.json").write_text(json.dumps({"test_sha256": hash_file(prepared / "test.jsonl")}))
    return made


def judge(folders):
    return evaluate_head(
        "single_label", GATE, EvaluationConfig(bootstrap_samples=1000), *folders[:4], Settings(), *folders[4:]
    )


def test_report_holds_the_verdict_and_escapes_labels(folders):
    result = judge(folders)
    page = (folders[3] / "report.html").read_text()
    assert result.verdict.headline.split(":")[0] in page
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "http" not in page.replace("http-equiv", "")
    assert read_head_evaluation(folders[3]).values["tuned"]["accuracy"] == 1.0


def test_a_champion_of_other_labels_is_named_as_such(folders, tmp_path, monkeypatch):
    champion = tmp_path / "champion"
    champion.mkdir()
    write_head(read_head(folders[1]).model_copy(update={"labels": ["calm", "cross"]}), champion)
    answer = {"label": "calm", "score": 0.9, "probabilities": {"calm": 0.9, "cross": 0.1}}
    # what the champion says is not the matter here, and it has no weights
    monkeypatch.setattr(judging, "_ask_champion", lambda folder, reader, rows, settings: [answer] * len(rows))
    notes = " ".join(judge([*folders, champion]).notes)
    assert "The champion knows 1 of these 2 labels" in notes
    write_head(read_head(folders[1]), champion)
    assert "The champion knows" not in " ".join(judge([*folders, champion]).notes)


def test_predictions_of_another_file_are_refused(folders):
    (folders[2] / "metadata.json").write_text('{"test_sha256": "other"}')
    with pytest.raises(StorageError, match="another file"):
        judge(folders)


def test_a_missing_prediction_is_refused(folders):
    path = folders[2] / "predictions.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(StorageError, match="39 predictions"):
        judge(folders)
