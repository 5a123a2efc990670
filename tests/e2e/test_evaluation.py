"""evaluation.py as a user runs it; a loopback server stands in for the judge, asked by the real client over HTTP."""

import collections
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.scripted_judge import part
from support.service_llm_server import Call, Fault, ServiceLLMServer

from components.core.errors import ServiceLLMError, StorageError
from components.core.judging import EVAL_COLUMNS, JudgeConfig, JudgeResult, judge
from components.core.recipe import parse_config
from components.core.settings import Settings

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "llm-pipelines" / "evaluation.py"
RESPONSE_COLUMNS = ["instructions", "target_responses", "candidate_responses", "model_id", "model_sha"]


def grade(similarity: float = 95, precision: float = 93) -> str:
    parts = {"similarity_assessment": similarity, "precision_assessment": precision}
    return json.dumps({name: {"reason": "since", "score": score} for name, score in parts.items()})


def write_answers(folder: Path, instructions: int = 12, answers: int = 1) -> Path:
    rows = [
        (f"question {i}", f"target {i}", f"answer {i}.{k}", "m", "1")
        for i in range(instructions)
        for k in range(answers)
    ]
    file = folder / "answers.jsonl"
    file.write_text("".join(json.dumps(dict(zip(RESPONSE_COLUMNS, row, strict=True))) + "\n" for row in rows))
    return file


def options(server: ServiceLLMServer, file: Path, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "provider": "openai", "model": "m", "base_url": server.url(), "lm_response_ds_id": str(file),
        "rate_limit_per_minute": 6000, "eval_repeat": 2, "sequential": False,
    }  # fmt: skip
    return values | changes


def run_judge(server: ServiceLLMServer, folder: Path, **changes: Any) -> JudgeResult:
    file = folder / "answers.jsonl" if (folder / "answers.jsonl").exists() else write_answers(folder)
    config = JudgeConfig.model_validate(options(server, file, **changes))
    return judge(config, Settings(whetstone_home=folder / "home", openai_api_key=None))


def command(server: ServiceLLMServer, file: Path, **changes: Any) -> list[str]:
    values = options(server, file, **changes)
    flags = [text for key, value in values.items() for text in (f"--{key}", str(value).lower())]
    # YAML's own names: a path must keep its case
    flags[flags.index("--lm_response_ds_id") + 1] = str(file)
    return [sys.executable, str(TOOL), "--from-config", "config/evaluation.yaml", *flags]


def environment(folder: Path) -> dict[str, str]:
    keep = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return keep | {"WHETSTONE_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}


def run_tool(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=folder, env=environment(folder), capture_output=True, text=True)


def asked(call: Call) -> str:
    return part(call.prompt, "CANDIDATE ANSWER")


def test_the_tool_judges_every_row_and_writes_it_with_the_columns_of_the_judge(tmp_path):
    file = write_answers(tmp_path, instructions=10, answers=2)
    with ServiceLLMServer(grade()) as server:
        done = subprocess.run(
            command(server, file), cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True
        )
    assert done.returncode == 0, done.stderr
    assert "qualification  true" in done.stdout
    assert "Similarity     95.0 (95.0 to 95.0), threshold 90" in done.stdout
    assert len(server.calls) == 40
    rows = [json.loads(line) for line in (tmp_path / "home/datasets/evaluation/eval.jsonl").read_text().splitlines()]
    assert len(rows) == 20
    assert list(rows[0]) == [*RESPONSE_COLUMNS, *EVAL_COLUMNS]
    assert (rows[0]["similarity_scores"], rows[0]["precision_scores"]) == ([95, 95], [93, 93])
    assert (len(rows[0]["dates"]), rows[0]["evaluators"]) == (2, "openai/m")
    assert "answer 0.0" in rows[0]["eval_prompts"]


def test_a_killed_run_goes_on_and_asks_nothing_twice(tmp_path):
    file = write_answers(tmp_path, instructions=20)
    with ServiceLLMServer(grade(), seconds=0.05) as server:
        first = subprocess.Popen(
            command(server, file, rate_limit_per_minute=1200),
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=subprocess.DEVNULL,
        )
        while len(server.calls) < 12:
            assert first.poll() is None
            time.sleep(0.01)
        first.send_signal(signal.SIGKILL)
        first.wait()
        before = len(server.calls)
        (journal,) = (tmp_path / "home/judgements").iterdir()
        kept = len([line for line in journal.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")])
        assert 0 < kept <= before < 40
        with journal.open("ab") as torn:
            torn.write(b'{"key": "torn by the')
        result = run_judge(server, tmp_path)
        # what was on its way when the power went, at most a call a worker, is the only thing that is asked again
        assert before - kept <= 4
        assert len(server.calls) == 40 + before - kept
        assert (result.reused, result.made, result.verdict.judgements) == (kept, 40 - kept, 40)
        run_judge(server, tmp_path)
        assert len(server.calls) == 40 + before - kept


def test_malformed_json_costs_another_call_and_nothing_else(tmp_path):
    seen: collections.Counter[str] = collections.Counter()

    def script(call: Call, _number: int) -> str:
        seen[asked(call)] += 1
        return "95 and 93" if seen[asked(call)] == 1 else grade()

    with ServiceLLMServer(script) as server:
        result = run_judge(server, tmp_path, eval_repeat=1)
    assert (len(server.calls), result.usage.calls) == (24, 24)
    assert (result.verdict.judgements, result.problems) == (12, {})


@pytest.mark.parametrize("poison", ["malformed", "refused"])
def test_a_poisoned_row_is_named_and_loses_nothing_else(tmp_path, poison):
    def script(call: Call, _number: int) -> str | Fault:
        if asked(call) != "answer 4.0":
            return grade()
        return "I will not judge that." if poison == "malformed" else Fault(400, "content policy")

    with ServiceLLMServer(script) as server:
        result = run_judge(server, tmp_path)
        calls = len(server.calls)
        run_judge(server, tmp_path)
        assert len(server.calls) == calls
    assert list(result.problems) == [5]
    assert ("no valid JSON in 10 attempts" if poison == "malformed" else "content policy") in result.problems[5]
    assert (result.verdict.judgements, result.verdict.instructions) == (22, 11)
    assert [len(row["similarity_scores"]) for row in result.rows] == [2, 2, 2, 2, 0, 2, 2, 2, 2, 2, 2, 2]
    # both judgements of the row may have been on their way
    attempts = 10 if poison == "malformed" else 1
    assert calls in (22 + attempts, 22 + 2 * attempts)


def test_a_storm_of_refusals_for_too_many_calls_loses_nothing(tmp_path):
    def script(_call: Call, number: int) -> str | Fault:
        return Fault(429, headers={"Retry-After": "0.1"}) if 5 <= number < 25 else grade()

    with ServiceLLMServer(script) as server:
        result = run_judge(server, tmp_path)
    assert (result.verdict.judgements, result.problems) == (24, {})
    assert result.usage.failed_calls == 20
    assert len(server.calls) == result.usage.calls == 44


def test_a_judge_that_goes_away_ends_the_run_and_what_came_is_kept(tmp_path):
    with ServiceLLMServer(lambda _call, number: grade() if number < 7 else Fault(503)) as server:
        with pytest.raises(ServiceLLMError, match="503.*7 judgements are kept; run it again to go on"):
            run_judge(server, tmp_path, max_retries=0)
        server.script = lambda _call, _number: grade()
        result = run_judge(server, tmp_path)
    assert (result.reused, result.made) == (7, 17)


def test_a_judge_that_cannot_judge_is_not_asked_about_every_row(tmp_path):
    write_answers(tmp_path, instructions=50)
    with ServiceLLMServer(lambda *_: Fault(400, "too long")) as server:
        with pytest.raises(ServiceLLMError, match=r"none of the first \d+ answers could be judged.*too long"):
            run_judge(server, tmp_path)
        assert len(server.calls) < 20
        server.script = lambda *_: grade()
        assert run_judge(server, tmp_path).problems == {}


def test_what_a_user_gets_wrong_is_told_before_the_first_call(tmp_path):
    file = write_answers(tmp_path)
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"instructions": "q", "target_responses": "t"}\n')
    cases = [
        ({"eval_repeat": 0}, file, "eval_repeat"),
        ({"avg_similarity_threshold": 101}, file, "avg_similarity_threshold"),
        ({}, broken, "row 1 has no column candidate_responses"),
        ({}, tmp_path / "missing.jsonl", "missing.jsonl"),
    ]
    with ServiceLLMServer(grade()) as server:
        for changes, answers, told in cases:
            words = command(server, answers, **changes)
            done = run_tool(words, tmp_path)
            assert done.returncode == 2, done.stdout
            assert told in done.stderr
            assert "Traceback" not in done.stderr
        assert not server.calls


def test_two_runs_at_once_do_not_ask_for_the_same(tmp_path):
    write_answers(tmp_path)
    refused = []

    def script(_call: Call, _number: int) -> str:
        if not refused:
            with pytest.raises(StorageError, match="another run with the same settings is at work") as error:
                run_judge(server, tmp_path)
            refused.append(error)
        return grade()

    with ServiceLLMServer(script) as server:
        assert run_judge(server, tmp_path, eval_workers=1).made == 24
    assert refused


def test_the_shipped_configuration_is_valid_and_its_keys_are_those_of_the_tool():
    config = parse_config(JudgeConfig, ["--from-config", str(ROOT / "llm-pipelines/config/evaluation.yaml")])
    assert (config.rate_limit_per_minute, config.eval_repeat, config.eval_workers) == (60, 10, 4)
    assert (config.avg_similarity_threshold, config.avg_precision_threshold) == (90, 90)
    assert not config.push_eval_to_hf_hub


def test_service_and_local_are_answered_judged_and_compared(tmp_path, monkeypatch, capsys):
    """The whole way of docs/judge.md; the stand-in answers well and judges by what it is shown."""
    main = importlib.import_module("llm-pipelines.evaluation").main
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    file = write_answers(tmp_path, instructions=15)

    def script(call: Call, _number: int) -> str:
        if "CANDIDATE ANSWER" not in call.prompt:
            return "as the target"
        candidate, reference = asked(call), part(call.prompt, "REFERENCE ANSWER")
        if candidate == reference:
            return grade(99, 99)
        if candidate == "as the target":
            return grade(96, 95)
        return grade(60, 60) if candidate.startswith("answer") else grade(5, 5)

    with ServiceLLMServer(script) as server:
        own = {key: value for key, value in options(server, file).items() if key not in ("eval_repeat", "sequential")}
        judging = options(server, tmp_path / "home/datasets/service-responses", eval_repeat=1)
        steps = [
            (["answer"], own),
            (["calibrate"], options(server, file)),
            ([], options(server, file, eval_repeat=1)),
            ([], judging | {"eval_ds_id": "service-eval"}),
            (["compare"], {"other_ds_id": "service-eval"}),
        ]
        printed = []
        for words, values in steps:
            flags = [text for key, value in values.items() for text in (f"--{key}", str(value))]
            monkeypatch.setattr(sys, "argv", ["evaluation.py", *words, *flags])
            main()
            printed.append(capsys.readouterr().out)
    assert "15 answers of openai/m" in printed[0]
    assert "calibrated" in printed[1]
    assert "Order          +0.0" in printed[1]
    assert "Verdict        not qualified" in printed[2]
    assert "Verdict        qualified" in printed[3]
    assert "local against service: worse" in printed[4]
    assert "coverage 100.0" in printed[4]
    assert "coverage 0.0" in printed[4]
    page = Path(printed[4].split("Report")[1].strip())
    assert "worse" in page.read_text()
    assert page.with_name("report.md").is_file()
