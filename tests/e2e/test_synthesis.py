"""New rows over real HTTP: a scripted loopback server stands in for the service LLM; no model runs behind it."""

import json
import multiprocessing
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.chat_rows import raw_row
from support.service_llm_server import Fault, ServiceLLMServer

from components.core.errors import DataError, ServiceLLMError
from components.core.service_llm import ServiceLLM
from components.core.settings import Settings
from components.core.synthesis import DataGenConfig, DatasetMergeConfig, generate, merge

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = [f"Tell me about the {thing} of the year {year}" for thing, year in (("harvest", 1811), ("comet", 1744))]
TEST = "Which of the seven hills of Rome is the highest one"
COLUMNS = ["generator", "prompt_id", "seed_prompt", "messages", "category"]


class Writer:
    """The script: every example is about other things, unless told otherwise."""

    def __init__(self):
        self.lock = threading.Lock()
        self.count = 0
        self.answers = {}
        """Answer by the number of the request, in place of the usual one."""

    def __call__(self, call, number):
        answer = self.answers.get(number)
        return answer if answer is not None else self.examples(int(re.search(r"Write (\d+) new", call.prompt)[1]))

    def examples(self, wanted, *more):
        """So many good ones, and others below."""
        found = []
        for _ in range(wanted):
            with self.lock:
                self.count += 1
                number = self.count
            found.append({"prompt": f"n{number} a{number} b{number} c{number}?", "response": f"It is {number}."})
        return json.dumps({"examples": [*found, *more]})


@pytest.fixture
def writer():
    return Writer()


@pytest.fixture
def server(writer):
    with ServiceLLMServer(writer) as server:
        yield server


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "reference"
    folder.mkdir()
    for split, prompts in (("train_sft", REFERENCE), ("test_sft", [TEST])):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(raw_row(prompt)) + "\n" for prompt in prompts))
    return tmp_path


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Waits between tries take no time."""
    whole = ServiceLLM.__init__

    def make(self, *args, **keys):
        async def sleep(seconds):
            return None

        whole(self, *args, **keys, sleep=sleep)

    monkeypatch.setattr(ServiceLLM, "__init__", make)


def run(server, home, **keys):
    values = {
        "provider": "openai", "model": "m-1", "base_url": server.url(), "rate_limit_per_minute": 60_000,
        "max_retries": 3, "reference_ds_id": str(home / "reference"), "synth_ds_id": "made", "num_samples": 12,
        "samples_per_call": 3, "gen_workers": 2, "price_per_million_output": 1000.0,
    }  # fmt: skip
    return generate(DataGenConfig.model_validate(values | keys), Settings(whetstone_home=home / "home"))


def rows_of(result):
    return [json.loads(line) for line in Path(result.where).read_text().splitlines()]


def test_rows_come_with_the_exact_columns_their_origin_and_a_report(server, home):
    result = run(server, home, topic="years")
    rows = rows_of(result)
    assert len(rows) == 12
    assert all(list(row) == COLUMNS for row in rows)
    assert {row["generator"] for row in rows} == {"openai/m-1"}
    assert {row["seed_prompt"] for row in rows} == set(REFERENCE)
    assert {row["category"] for row in rows} == {"Test"}
    assert len({row["prompt_id"] for row in rows}) == 12
    assert result.where == str(home / "home/datasets/made/train_sft.jsonl")
    origins = [json.loads(line) for line in Path(result.provenance).read_text().splitlines()]
    assert [origin["prompt_id"] for origin in origins] == [row["prompt_id"] for row in rows]
    assert {origin["seed"]["row"] for origin in origins} == {1, 2}
    assert (result.usage.calls, result.usage.input_tokens, result.usage.output_tokens) == (4, 400, 40)
    assert result.usage.cost == pytest.approx(0.04)
    page, report = Path(result.page).read_text(), Path(result.report).read_text()
    assert page.count("<svg") >= 3
    for text in (page, report):
        assert "12 new rows, as many as were wanted, after 4 calls." in text
        assert "No new row repeats one of 1 test rows" in text
        assert REFERENCE[0] in text
    assert all(TEST not in call.prompt for call in server.calls)


def test_everything_that_is_bad_is_left_out_and_counted_and_asked_again_for(server, writer, home):
    good = {"prompt": "The only one", "response": "Good."}
    writer.answers[0] = "I would rather not."
    writer.answers[1] = '{"examples": [{"prompt": "cut off'
    writer.answers[2] = "Here they are:\n```json\n" + writer.examples(
        1, good, good, {**good, "response": "Else."}, {"prompt": TEST.lower(), "response": "x"},
        {"prompt": REFERENCE[0] + ", please", "response": "x"}, {"prompt": "no answer"}, 7,
    ) + "\n```"  # fmt: skip
    result = run(server, home, gen_workers=1)
    assert result.complete
    assert result.dropped == {
        "malformed": 2, "duplicate": 1, "same_prompt": 1, "too_similar": 1, "test_overlap": 1, "surplus": 2
    }  # fmt: skip
    assert result.retries == 2
    assert result.usage.requests == len(server.calls)
    prompts = [row["messages"][0]["content"] for row in rows_of(result)]
    assert prompts.count("The only one") == 1
    assert not any(TEST.lower() in prompt.lower() for prompt in prompts)


def test_a_storm_of_429_and_broken_connections_loses_nothing(server, writer, home):
    writer.answers |= {0: Fault(429, headers={"Retry-After": "0"}), 1: Fault(429), 2: Fault(cut=True), 4: Fault(503)}
    result = run(server, home)
    assert result.rows == 12
    assert result.usage.calls == 4
    assert result.usage.requests == 8


def test_ten_malformed_answers_cost_a_call_and_not_the_run(server, writer, home):
    writer.answers |= dict.fromkeys(range(10), "no JSON")
    result = run(server, home, gen_workers=1)
    assert result.rows == 12
    assert result.failed_calls == 1
    assert len(server.calls) == 14


def test_a_service_that_never_gives_json_is_given_up(server, writer, home):
    server.script = lambda call, number: "no JSON"
    with pytest.raises(ServiceLLMError, match="8 calls in a row brought nothing.*no valid JSON in 10 attempts"):
        run(server, home, num_samples=60)
    assert len(server.calls) <= 100


def test_the_limit_of_calls_ends_it_with_what_there_is(server, home):
    server.script = lambda call, number: json.dumps({"examples": [{"prompt": "Again the same", "response": "Yes."}]})
    result = run(server, home, max_calls=5)
    assert (result.rows, result.complete, result.usage.calls) == (1, False, 5)
    assert result.dropped == {"duplicate": 4}
    assert "the limit of 5 calls was reached" in Path(result.report).read_text()
    server.script = lambda call, number: json.dumps({"examples": [{"prompt": TEST, "response": "Yes."}]})
    with pytest.raises(DataError, match=r"no row passed the checks: 5 test overlap"):
        run(server, home, max_calls=5, topic="other")


def test_an_outage_stops_it_and_the_same_command_goes_on(server, writer, home):
    for number in range(2, 40):
        writer.answers[number] = Fault(503)
    with pytest.raises(ServiceLLMError, match="6 rows are kept so far; the same command goes on"):
        run(server, home, gen_workers=1, max_retries=1)
    writer.answers.clear()
    before = len(server.calls)
    result = run(server, home, gen_workers=1)
    assert len(server.calls) - before == 2
    assert result.usage.calls == 4
    asked_again = run(server, home)
    assert (asked_again.rows, len(server.calls) - before) == (12, 2)
    assert run(server, home, num_samples=15).rows == 15
    assert len(server.calls) - before == 3
    assert run(server, home, resume=False).rows == 12
    assert len(server.calls) - before == 7


def test_what_was_appended_before_is_not_repeated(server, writer, home):
    first = run(server, home, num_samples=3)
    writer.count = 0  # the service says the same again
    second = run(server, home, num_samples=3, synth_ds_append=True)
    assert second.dropped["duplicate"] == 3
    assert len(rows_of(first)) == 6
    assert len({row["prompt_id"] for row in rows_of(second)}) == 6
    assert len(Path(second.provenance).read_text().splitlines()) == 6


def test_failed_rows_are_seeds_and_failed_test_rows_only_point_at_some(server, home):
    scores = {"candidate_responses": "?", "similarity_scores": 10.0, "precision_scores": 10.0}
    judged = [
        {"instructions": "Say what a failed prompt is", "target_responses": "This one.", **scores},
        {"instructions": TEST, "target_responses": "None.", **scores},
    ]
    (home / "judged").mkdir()
    (home / "judged/eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in judged))
    result = run(server, home, failed_ds_id=str(home / "judged"))
    assert sum("Say what a failed prompt is" in call.prompt for call in server.calls) >= 1
    assert all(TEST not in call.prompt for call in server.calls)
    kinds = [json.loads(line)["seed"]["kind"] for line in Path(result.provenance).read_text().splitlines()]
    assert kinds.count("failed") in (3, 6)
    assert "2 failed rows" in Path(result.report).read_text()


def killed_after(calls, server, home):
    """Run in a process of its own, which is killed when its journal holds so many calls."""
    process = multiprocessing.get_context("fork").Process(target=run, args=(server, home), kwargs={"gen_workers": 1})
    process.start()
    deadline = time.monotonic() + 30
    journals = home / "home/synthesis/made"
    while sum(file.read_bytes().count(b"\n") for file in journals.glob("*.calls.jsonl")) < calls:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.join()


def test_a_killed_run_goes_on_without_asking_again(server, home):
    server.seconds = 0.2
    killed_after(2, server, home)
    before = len(server.calls)
    assert before in (2, 3)
    server.seconds = 0
    arguments = [
        "--provider", "openai", "--model", "m-1", "--base_url", server.url(), "--rate_limit_per_minute", "60000",
        "--reference_ds_id", str(home / "reference"), "--synth_ds_id", "made", "--num_samples", "12",
        "--samples_per_call", "3", "--more_test_sets", f"[{home}/reference:test_sft]",
    ]  # fmt: skip
    environment = {**os.environ, "WHETSTONE_HOME": str(home / "home")}
    command = [sys.executable, ROOT / "llm-pipelines/data_gen.py", *arguments]
    again = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert "12 new rows, as many as were wanted, after 4 calls." in again.stdout, again.stderr
    assert "Taken from an earlier run: 6 of 12 rows" in again.stdout
    assert len(server.calls) == before + 2


def test_a_test_split_that_is_not_there_stops_it_before_the_first_call(server, home):
    with pytest.raises(DataError, match="the test split cannot be read: .* has no split 'test'.*null for none"):
        run(server, home, test_ds_split="test")
    assert server.calls == []
    result = run(server, home, test_ds_split=None)
    assert "No test split was named" in Path(result.report).read_text()


def test_new_rows_merge_with_the_dataset_that_they_were_made_after(server, home):
    run(server, home)
    settings = Settings(whetstone_home=home / "home")
    result = merge(DatasetMergeConfig(ds1_id=str(home / "reference"), ds2_id="made", result_ds_id="all"), settings)
    assert (result.rows, result.test_rows, result.counts()) == (14, 1, {})
