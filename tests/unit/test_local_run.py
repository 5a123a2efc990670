"""Runs on this machine, on tiny graphs: what a user sees when a step runs, fails or was done before."""

import importlib
from io import StringIO
from pathlib import Path

import pytest
from kfp import dsl

from components._step import step

local_run = importlib.import_module("llm-pipelines.local_run")


@step
def make_number(number: int, target: dsl.Output[dsl.Artifact]):
    """Write a number, or fail as a step does."""
    import sys
    from pathlib import Path

    print(f"working on {number:.0f}")
    if number < 0:
        print("error: numbers.jsonl:3: -1 is negative. Make it positive.\nSecond line.", file=sys.stderr)
        sys.exit(2)
    if number > 99:
        raise ValueError("a defect of ours")
    Path(target.path).write_text(str(number))


def graph(value):
    @dsl.pipeline(name="tiny")
    def tiny(number: int = value) -> dsl.Artifact:
        return make_number(number=number).outputs["target"]

    return tiny


def test_a_run_gives_its_outputs_and_prints_the_steps_words_without_the_runners(tmp_path, capfd):
    outputs = local_run.run_here(graph(7), tmp_path, use_cache=True)
    assert Path(outputs["Output"].path).read_text() == "7"
    printed = capfd.readouterr().out
    assert "== make-number" in printed
    assert "working on 7" in printed
    assert "executor_input" not in printed
    assert "parameterValues" not in printed


def test_an_unchanged_step_is_not_run_again(tmp_path, capfd):
    first = local_run.run_here(graph(7), tmp_path, use_cache=True)["Output"].path
    capfd.readouterr()
    assert local_run.run_here(graph(7), tmp_path, use_cache=True)["Output"].path == first
    assert "working on" not in capfd.readouterr().out
    assert local_run.run_here(graph(7), tmp_path, use_cache=False)["Output"].path != first


def test_a_step_is_run_again_when_the_library_below_it_changes(tmp_path, monkeypatch):
    library = tmp_path / "library"
    (library / "core").mkdir(parents=True)
    (library / "core" / "rule.py").write_text("LIMIT = 1\n")
    assert local_run.code_digest() == local_run.code_digest()
    digest = local_run.code_digest
    monkeypatch.setattr(local_run, "code_digest", lambda: digest(library))
    first = local_run.run_here(graph(7), tmp_path, use_cache=True)["Output"].path
    assert local_run.run_here(graph(7), tmp_path, use_cache=True)["Output"].path == first
    (library / "core" / "rule.py").write_text("LIMIT = 2\n")
    assert local_run.run_here(graph(7), tmp_path, use_cache=True)["Output"].path != first


def test_a_failing_step_is_named_with_its_own_last_words(tmp_path):
    with pytest.raises(local_run.StepFailed, match="step make-number failed: numbers.jsonl:3: -1 is") as caught:
        local_run.run_here(graph(-1), tmp_path, use_cache=False)
    assert "Second line." in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_defect_shows_the_end_of_the_log(tmp_path):
    with pytest.raises(local_run.StepFailed, match="a defect of ours"):
        local_run.run_here(graph(100), tmp_path, use_cache=False)


def test_the_error_of_an_earlier_step_is_forgotten():
    log = local_run._StepLog(StringIO())
    log.write("    error: first\n05:13:16.403 - INFO - Executing task 'second-step'\n    all well\n")
    assert log.words.cause() == "all well"
