"""What may stand in, and which settings contradict each other: refused at the start, with the remedy."""

from typing import Any

import pytest
from llm_endpoint.asking import Asking, Question
from llm_endpoint.engines.opening import is_chain, is_remote
from llm_endpoint.engines.seam import Message, Sampling
from llm_endpoint.errors import InvalidInput, ModelError
from llm_endpoint.served.encoding import PromptEncoder
from llm_endpoint.served.folder import open_served_model
from llm_endpoint.served.prompt import INSTRUCTION_PROMPT, STANDARD_PROMPT, Prompt
from llm_endpoint.served.verdict import check_may_stand_in
from llm_endpoint.settings import Settings
from support.endpoint_server import STARTER
from support.passed_model import write_judged_model

REFUSED = {"status": "refused", "outcome": "worse than the base model", "headline": "REFUSED: F1 is worse"}
SERVICE = {"openai_base_url": "http://127.0.0.1:9/v1"}


def check(folder: Any) -> None:
    check_may_stand_in(open_served_model(Settings(model=str(folder))))


def test_a_model_that_passed_its_gate_may_stand_in(tmp_path) -> None:
    check(write_judged_model(tmp_path / "m"))


@pytest.mark.parametrize(
    ("verdict", "message"),
    [
        (REFUSED, "small may not stand in. REFUSED: F1 is worse. Serve one that passed its gate"),
        (REFUSED | {"status": "passed"}, "its gate was off, so it passed unjudged"),
        ("passed", "model_info.json holds no verdict"),
    ],
)
def test_one_that_did_not_may_not(tmp_path, verdict, message) -> None:
    with pytest.raises(ModelError, match=message):
        check(write_judged_model(tmp_path / "m", verdict))


def test_a_model_that_nobody_judged_may_not() -> None:
    with pytest.raises(ModelError, match="nobody has judged it here"):
        check(STARTER)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stand_in": "local"}, "STAND_IN is set, but OPENAI_BASE_URL is not"),
        (SERVICE | {"stand_in": "local", "engine": "openai"}, "STAND_IN is set, but ENGINE is openai"),
        (SERVICE | {"always_local": True, "engine": "openai"}, "ALWAYS_LOCAL is set, but ENGINE is openai"),
        (SERVICE | {"shadow_sample": 0.1, "shadow_consent": True}, "Set STAND_IN=local"),
        (SERVICE | {"stand_in": "local", "shadow_sample": 0.1}, "SHADOW_CONSENT=true if they agreed"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message) -> None:
    with pytest.raises(ModelError, match=message):
        is_chain(Settings(**settings))


@pytest.mark.parametrize(
    ("settings", "chain", "remote"),
    [
        ({}, False, False),
        (SERVICE, False, True),
        (SERVICE | {"stand_in": "local"}, True, False),
        (SERVICE | {"stand_in": "service"}, True, False),
        (SERVICE | {"stand_in": "local", "always_local": True}, False, False),
        (SERVICE | {"always_local": True}, False, False),
        ({"stand_in": "local", "always_local": True}, False, False),
    ],
)
def test_who_answers(settings, chain, remote) -> None:
    made = Settings(**settings)
    assert (is_chain(made), is_remote(made)) == (chain, remote)


def asking(prompt: Prompt, chat: bool, penalty: float = 1.03) -> Asking:
    return Asking(prompt, chat, str, Sampling(repetition_penalty=penalty))


def test_each_model_is_asked_in_its_own_words() -> None:
    question = Question("Where {question}?", "Here {context}.")
    own = asking(STANDARD_PROMPT, False).question_request(question, Sampling())
    assert own.messages[0].content == "Context: Here {context}.\nQuestion: Where {question}?\nAnswer:"
    turns = [Message("system", "Here."), Message("user", "Where?")]
    chat = asking(INSTRUCTION_PROMPT, True).chat_request(turns, Sampling())
    assert chat.messages == tuple(turns)
    plain = asking(STANDARD_PROMPT, False).chat_request(turns, Sampling())
    assert plain.messages[0].content == "Context: Here.\nQuestion: Where?\nAnswer:"
    with pytest.raises(InvalidInput, match="send the context as a system message"):
        asking(STANDARD_PROMPT, False).chat_request(turns[1:], Sampling())


def test_a_penalty_that_nobody_asked_for_is_the_models_own() -> None:
    one, other = asking(STANDARD_PROMPT, False, 1.2), Sampling(repetition_penalty=1.03)
    assert one.own(Sampling(repetition_penalty=1.03), other).repetition_penalty == 1.2
    assert one.own(Sampling(repetition_penalty=1.5), other).repetition_penalty == 1.5


def test_a_continued_answer_is_encoded_behind_its_prompt() -> None:
    encoder = PromptEncoder(STARTER, in_chat=False)
    own = asking(STANDARD_PROMPT, False).question_request(Question("Where?", "Here."), Sampling())
    from dataclasses import replace

    whole = encoder.tokenizer.decode(encoder.encode(replace(own, answer_start="by the")))
    assert whole.endswith("Answer: by the")
