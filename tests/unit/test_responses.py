import json
import logging

import pytest
from support.tiny_adapters import write_adapter
from support.tiny_llama import write_tiny_llama

from components.core.errors import ConfigError, DataError, RegistryError, StorageError
from components.core.responses import COLUMNS, BatchInferenceConfig, infer
from components.core.responses.questions import Question, read_questions
from components.core.settings import Settings
from components.core.tables import read_rows, write_rows
from components.core.tasks.prompt import messages_prompt, write_prompt

CHAT = (
    "{% for m in messages %}{{ m['role'] }}:{{ m['content'] }}<turn>{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
ROWS = [
    {
        "prompt": "Say a.",
        "prompt_id": "1",
        "messages": [{"role": "user", "content": "Say a."}, {"role": "assistant", "content": "a"}],
        "category": "Chat",
    },
    {
        "prompt": "Say b.",
        "prompt_id": "2",
        "messages": [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "Say b."},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "And c?"},
            {"role": "assistant", "content": "c"},
        ],
        "category": "Chat",
    },
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = write_tiny_llama(tmp_path_factory.mktemp("models") / "tiny", chat_template=CHAT)
    write_prompt(messages_prompt(), folder)
    return folder


@pytest.fixture
def settings(tmp_path):
    return Settings(whetstone_home=tmp_path / "home", hf_endpoint="http://127.0.0.1:9")


@pytest.fixture
def rows(tmp_path):
    (tmp_path / "rows").mkdir()
    write(tmp_path / "rows", ROWS)
    return tmp_path / "rows"


def write(folder, rows):
    (folder / "test_sft.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def run(model, rows, settings, **changes):
    config = {"ft_model_id": str(model), "test_ds_id": str(rows), "repeat": 2, "max_new_tokens": 6} | changes
    result = infer(BatchInferenceConfig.model_validate(config), settings)
    return result, read_rows("lm_responses", "batch_infer", settings)


def test_every_row_is_answered_repeat_times_in_order_with_exactly_the_columns(model, rows, settings):
    result, answers = run(model, rows, settings)
    assert (result.rows, len(answers)) == (4, 4)
    assert all(tuple(answer) == COLUMNS for answer in answers)
    assert [answer["target_responses"] for answer in answers] == ["a", "a", "c", "c"]
    assert answers[0]["instructions"] == "Say a."
    assert answers[2]["instructions"] == "System: Be short.\n\nUser: Say b.\n\nAssistant: b\n\nUser: And c?"
    assert {answer["model_id"] for answer in answers} == {"tiny"}
    assert {len(answer["model_sha"]) for answer in answers} == {64}
    assert answers[0]["candidate_responses"] != answers[1]["candidate_responses"]
    assert not list((settings.whetstone_home / "batch_inference").iterdir())


def test_answers_are_the_same_whatever_the_batch_and_greedy_ones_are_all_alike(model, rows, settings):
    _, once = run(model, rows, settings, inference_bs=1, batch_infer_data_preprocess_bs=1)
    _, again = run(model, rows, settings, inference_bs=8)
    assert once == again
    _, greedy = run(model, rows, settings, do_sample=False)
    said = [answer["candidate_responses"] for answer in greedy]
    assert said[0::2] == said[1::2]


def test_answers_are_put_below_or_in_the_place_of_others(model, rows, settings):
    run(model, rows, settings)
    _, both = run(model, rows, settings, lm_response_append=True, seed=1)
    assert len(both) == 8
    _, last = run(model, rows, settings, seed=2)
    assert len(last) == 4


def test_answers_that_do_not_fit_to_those_there_are_refused_before_anything_is_answered(
    model, rows, settings, monkeypatch
):
    from components.core.responses import inference

    monkeypatch.setattr(inference, "find_model", lambda *_: pytest.fail("the model was asked"))
    write_rows([{"a": 1}], "lm_responses", "batch_infer", settings)
    with pytest.raises(DataError, match="the columns differ: row 1 of the rows that are there lacks candidate_res"):
        run(model, rows, settings, lm_response_append=True)


def test_answers_that_could_not_be_written_are_written_elsewhere_without_asking_again(
    model, rows, settings, monkeypatch
):
    from components.core.responses import inference

    def full(*_arguments, **_options):
        raise StorageError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(inference, "write_rows", full)
        with pytest.raises(StorageError, match="full"):
            run(model, rows, settings)
    monkeypatch.setattr(inference, "open_model", lambda *_: pytest.fail("the model was asked again"))
    config = BatchInferenceConfig(
        ft_model_id=str(model), test_ds_id=str(rows), repeat=2, max_new_tokens=6, lm_response_ds_split="other"
    )
    assert infer(config, settings).rows == 4


def test_a_run_that_was_stopped_goes_on_and_one_killed_after_writing_writes_nothing_twice(
    model, rows, settings, monkeypatch, caplog
):
    from components.core.responses import inference
    from components.core.responses.journal import Journal

    _, expected = run(model, rows, settings)
    note = Journal.note

    def failing(journal, row, repeat, text):
        note(journal, row, repeat, text)
        if len(journal.known) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "note", failing)
    with pytest.raises(KeyboardInterrupt):
        run(model, rows, settings, lm_response_append=True)
    monkeypatch.setattr(Journal, "note", note)
    asked = []
    answer = inference.Generator.answer
    monkeypatch.setattr(inference.Generator, "answer", lambda self, jobs: (asked.extend(jobs), answer(self, jobs))[1])
    monkeypatch.setattr(Journal, "remove", lambda journal: None)
    with caplog.at_level(logging.INFO, "components"):
        _, answers = run(model, rows, settings, lm_response_append=True)
    assert answers == expected + expected
    assert sum(len(job.repeats) for job in asked) == 1
    assert "3 of 4 answers are there" in caplog.text
    # as if it had been killed before it could forget its answers
    _, answers = run(model, rows, settings, lm_response_append=True)
    assert answers == expected + expected


def test_an_adapter_answers_on_its_base_and_has_a_hash_of_its_own(model, rows, settings, tmp_path):
    first, base = run(model, rows, settings)
    adapter = write_adapter(tmp_path / "adapter", model)
    second, tuned = run(adapter, rows, settings)
    assert second.model_id == "adapter"
    assert second.model_sha != first.model_sha
    assert [each["candidate_responses"] for each in tuned] != [each["candidate_responses"] for each in base]


def test_a_model_of_plain_prompts_reads_a_single_message_as_it_is(rows, settings, tmp_path):
    plain = write_tiny_llama(tmp_path / "plain")
    write(rows, ROWS[:1])
    result, answers = run(plain, rows, settings)
    assert result.rows == 2
    assert all("\n" not in answer["candidate_responses"] for answer in answers)
    write(rows, ROWS)
    with pytest.raises(DataError, match="row 2 has 4 messages before the answer.*single prompts"):
        run(plain, rows, settings)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"test_ds_split": "test"}, DataError, "has no split 'test'.*It has test_sft"),
        ({"max_new_tokens": 400}, ConfigError, "max_new_tokens=400 leaves no room for a prompt: the model reads 256"),
        ({"max_new_tokens": 230}, DataError, "1 prompts are longer than the 26 tokens .* of the model's 256: row 2"),
        ({"ft_model_id": "nobody"}, RegistryError, "there is no model nobody.*Check ft_model_id"),
        ({"ft_model_id": "./nowhere"}, StorageError, "there is no model folder nowhere. Check ft_model_id"),
        ({"push_lm_responses_to_hf_hub": True, "lm_response_ds_id": "a/b"}, ConfigError, "Set HF_TOKEN"),
        ({"lm_response_ds_split": "a b"}, ConfigError, "'a b' is no name of a split"),
    ],
)
def test_what_cannot_work_is_named_before_anything_is_answered(model, rows, settings, changes, error, message):
    with pytest.raises(error, match=message):
        run(model, rows, settings, **changes)
    assert not (settings.whetstone_home / "datasets").exists()


def test_long_prompts_lose_their_oldest_turns_when_told_so(model, rows, settings):
    result, _ = run(model, rows, settings, max_new_tokens=200, long_prompts="cut")
    assert result.rows == 4


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"messages": [{"role": "user", "content": " "}, {"role": "assistant", "content": "x"}]}, "row 1: .*is empty"),
        ({"messages": [{"role": "user", "content": "x"}]}, "row 1: .*no assistant turn"),
        ({"prompt": "x"}, "row 1: .*messages"),
    ],
)
def test_a_row_that_cannot_be_asked_is_named(row, message):
    with pytest.raises(DataError, match=rf"d, split s: {message}"):
        read_questions([row], "d, split s")


def test_a_prompt_and_its_response_are_a_conversation_too():
    found = read_questions([{"prompt": "Why?", "response": "So."}], "x")
    assert found == [Question([{"role": "user", "content": "Why?"}], "So.")]


def test_a_model_that_is_not_complete_is_named(model, rows, settings, tmp_path):
    import shutil

    broken = shutil.copytree(model, tmp_path / "broken")
    (broken / "model.safetensors").unlink()
    with pytest.raises(StorageError, match="holds no \\*.safetensors weights"):
        run(broken, rows, settings)
    (broken / "config.json").unlink()
    with pytest.raises(StorageError, match="holds no config.json"):
        run(broken, rows, settings)
