"""From rows to a file of predictions with a tiny model: order, labels, restarts, and ONNX Runtime beside PyTorch."""

import json

import pytest
from support.task_files import task_rows
from support.tiny_encoder import preprocess_rows, write_encoder

from components.core.catalogue import FINETUNE, InferenceParameters, read_parameters
from components.core.errors import ConfigError, DataError, TrainingError
from components.core.heads.inference import open_predictor, predict, run_inference, running
from components.core.heads.onnx import export_onnx, exporting
from components.core.heads.onnx.equality import Comparison
from components.core.heads.training import finetune_head
from components.core.heads.training.job import catalogue_task
from components.core.settings import Settings
from components.core.tasks import get_head_task
from components.core.tasks.heads import read_head

pytestmark = pytest.mark.e2e

TASKS = ["single_label", "multi_label", "regression", "ner"]
EXPORTED = ("multi_label", "ner")
COLUMNS = {"single_label": "label", "multi_label": "labels", "regression": "score", "ner": "ner_tags"}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inference")
    write_encoder(folder / "encoder")
    return folder


@pytest.fixture(scope="module", params=TASKS)
def trained(request, work):
    """A task with its preprocess and model folders."""
    task, folder = request.param, work / request.param
    settings = Settings(whetstone_home=folder / "home")
    preprocess_rows(task, None, work / "encoder", folder / "pre")
    parameters = read_parameters(
        FINETUNE[catalogue_task(task)],
        {"learning_rate": 5e-3, "max_steps": 4, "per_device_train_batch_size": 8, "precision": 32}
        | {"apply_ort": task in EXPORTED},
    )
    finetune_head(task, parameters, folder / "pre", folder / "model", settings)
    return task, folder, settings


def infer(trained, test_file, output, **more):
    _, folder, settings = trained
    given = {"model_path": str(folder / "model"), "test_file": str(test_file)} | more
    return run_inference(read_parameters(InferenceParameters, given), output, settings)


def lines(folder):
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]


def test_there_is_a_line_for_every_row_in_the_same_order_and_labels_are_scored(trained, tmp_path):
    task, folder, _ = trained
    report = infer(trained, folder / "pre", tmp_path / "out")
    rows = [json.loads(line) for line in (folder / "pre" / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    found = lines(tmp_path / "out")
    plain = (tmp_path / "out" / "predictions.txt").read_text(encoding="utf-8").splitlines()
    reader, predictor = get_head_task(task), open_predictor(folder / "model", trained[2])
    alone = [predict(predictor, reader, [row])[0] for row in rows]
    assert plain == [reader.line({k: v for k, v in each.items() if k not in ("row", "cut")}) for each in found]
    assert [each["row"] for each in found] == list(range(1, len(rows) + 1))
    key = {"single_label": "label", "multi_label": "labels", "ner": "tags"}.get(task)
    if key:
        assert [each[key] for each in found] == [each[key] for each in alone]
    else:
        assert [each["value"] for each in found] == pytest.approx([each["value"] for each in alone], abs=1e-4)
    metadata = json.loads((tmp_path / "out" / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["metrics"] == reader.score(rows, found, read_head(folder / "model")).values
    assert (metadata["rows"], metadata["scored"], report.runtime) == (len(rows), len(rows), predictor.runtime)
    assert predictor.runtime == ("onnxruntime" if task in EXPORTED else "pytorch")


def test_rows_without_labels_are_predicted_and_not_scored(trained, tmp_path):
    task, _, _ = trained
    rows = [{k: v for k, v in row.items() if k != COLUMNS[task]} for row in task_rows(task, 9)]
    file = tmp_path / "new.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    report = infer(trained, file, tmp_path / "out")
    assert (report.rows, report.scored, report.metrics_by_name) == (9, 0, None)


def test_a_stopped_run_goes_on_and_ends_in_the_same_file(trained, tmp_path, monkeypatch):
    _, folder, settings = trained
    file = tmp_path / "rows.jsonl"
    source = (folder / "pre" / "train.jsonl").read_text(encoding="utf-8")
    file.write_text(source, encoding="utf-8")
    monkeypatch.setattr(running, "_WINDOW", 7)
    windows = []

    def dies_in_the_third(*given):
        windows.append(1)
        if len(windows) == 3:
            raise KeyboardInterrupt
        return predict_rows(*given)

    predict_rows = running.predict_rows
    monkeypatch.setattr(running, "predict_rows", dies_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        infer(trained, file, tmp_path / "out")
    assert not (tmp_path / "out" / "metadata.json").exists()
    (partial,) = (settings.checkpoints / "inference").glob("*.jsonl")
    partial.write_bytes(partial.read_bytes() + b'{"row": 15, "cut sho')  # what a kill leaves
    report = infer(trained, file, tmp_path / "out")
    assert report.resumed_from_row == 14
    assert infer(trained, file, tmp_path / "again").resumed_from_row == 0
    assert (tmp_path / "out" / "predictions.txt").read_text() == (tmp_path / "again" / "predictions.txt").read_text()


def test_bad_rows_are_named_and_nothing_is_predicted(trained, tmp_path):
    task, _, _ = trained
    rows = task_rows(task, 3)
    rows[1] = rows[1] | ({"tokens": []} if task == "ner" else {"text": " "})
    file = tmp_path / "bad.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(DataError, match=r"bad.jsonl has 1 rows that cannot be predicted: row 2: "):
        infer(trained, file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_onnx_runtime_predicts_like_pytorch(trained):
    task, folder, settings = trained
    if task not in EXPORTED:
        with pytest.raises(ConfigError, match="apply_ort=true"):
            open_predictor(folder / "model", settings, "onnxruntime")
        return
    rows, reader = task_rows(task, 33), get_head_task(task)
    for row in rows[::5]:  # lengths that the export has not seen
        if "text" in row:
            row["text"] = " ".join([row["text"]] * 3)
    one, other = (
        predict(open_predictor(folder / "model", settings, runtime), reader, rows)
        for runtime in ("pytorch", "onnxruntime")
    )
    key = "labels" if task == "multi_label" else "tags"
    assert [each[key] for each in one] == [each[key] for each in other]
    facts = json.loads((folder / "model" / "onnx.json").read_text(encoding="utf-8"))
    assert facts["providers"] == ["CPUExecutionProvider"]
    assert facts["same_predictions"] is True
    assert facts["max_difference"] < 1e-4
    training = json.loads((folder / "model" / "training_info.json").read_text(encoding="utf-8"))
    assert training["runtime"] == "onnxruntime"


def test_an_export_that_computes_something_else_leaves_no_file(trained, monkeypatch):
    task, folder, settings = trained
    if task != "ner":
        pytest.skip("one task is enough")
    monkeypatch.setattr(exporting, "compare", lambda *_: Comparison(3, 0.5, False))
    with pytest.raises(TrainingError, match="computes something else than PyTorch"):
        export_onnx(folder / "model", task_rows(task, 3), "none", settings)
    assert not list((folder / "model").glob("*.onnx"))
    assert not (folder / "model" / "onnx.json").exists()
