"""Conversations as token ids: those of the chat template itself, with the loss where it says that text is generated."""

import pytest
from support.chat_templates import FORMATS, chat_tokenizer
from support.small_tokenizers import CHAT_TEMPLATE, byte_level, sentence_piece

from components.core.errors import ConfigError
from components.core.recipe import TaskConfig
from components.core.tasks import get_generative_task, set_chat_template
from components.core.tasks.chat_layout import fold_system
from components.core.tasks.rendering import build_prompt

ALL, LAST = TaskConfig(name="chat_completion"), TaskConfig(name="chat_completion", assistant_turns="last")
TURNS = [
    ("system", "You are helpful."),
    ("user", "How long is the river?"),
    ("assistant", "It is 312 km long."),
    ("user", "Ünd wann? 🙂"),
    ("assistant", "  In 1281, by traders – 漢字 🙂"),
    ("user", "Context:\n\n{{ x }} {% raw %}"),
    ("assistant", "not in the context"),
]
KINDS = ("byte level", "sentence piece")


def messages(turns=TURNS):
    return [{"role": role, "content": text} for role, text in turns]


def encode(tokenizer, turns, max_length=4096, window=True, config=ALL):
    prompt = build_prompt(config, tokenizer)
    set_chat_template(tokenizer, prompt)
    return get_generative_task(config).encode([{"messages": messages(turns)}], tokenizer, prompt, max_length, window)


def encode_prompt(tokenizer, turns, max_length=4096):
    prompt = build_prompt(ALL, tokenizer)
    set_chat_template(tokenizer, prompt)
    return get_generative_task(ALL).encode_prompts([{"messages": messages(turns)}], tokenizer, prompt, max_length)


def as_the_template_takes_it(name, turns):
    return fold_system(messages(turns)) if name == "Gemma" and turns[0][0] == "system" else messages(turns)


def learned(tokenizer, labels):
    """The learned runs of a row as text."""
    runs, last = [], None
    for place, label in enumerate(labels):
        if label != -100:
            if last != place - 1:
                runs.append([])
            runs[-1].append(label)
            last = place
    return [tokenizer.decode(run) for run in runs]


@pytest.mark.parametrize("turns", [TURNS, TURNS[1:], TURNS[1:3]], ids=["system", "no system", "one turn"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FORMATS)
def test_ids_and_mask_are_those_of_the_chat_template_itself(name, kind, turns):
    tokenizer = chat_tokenizer(name, True, kind)
    expected = tokenizer.apply_chat_template(
        as_the_template_takes_it(name, turns), return_dict=True, return_assistant_tokens_mask=True
    )
    found = encode(tokenizer, turns)
    assert found.input_ids[0] == expected["input_ids"]
    assert [int(label != -100) for label in found.labels[0]] == expected["assistant_masks"]
    assert 0 < sum(expected["assistant_masks"]) < len(expected["input_ids"])


@pytest.mark.parametrize("turns", [TURNS, TURNS[1:]], ids=["system", "no system"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FORMATS)
def test_a_template_that_does_not_say_what_is_generated_teaches_the_same_tokens(name, kind, turns):
    with_tags, without = chat_tokenizer(name, True, kind), chat_tokenizer(name, False, kind)
    assert encode(without, turns) == encode(with_tags, turns)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FORMATS)
def test_a_prompt_is_the_beginning_of_what_is_trained(name, kind):
    tokenizer = chat_tokenizer(name, False, kind)
    expected = tokenizer.apply_chat_template(as_the_template_takes_it(name, TURNS)[:-1], add_generation_prompt=True)
    found = encode_prompt(tokenizer, TURNS)
    whole = encode(tokenizer, TURNS)
    assert found.input_ids[0] == expected["input_ids"]
    assert whole.input_ids[0][: len(found.input_ids[0])] == found.input_ids[0]
    labels = encode(tokenizer, TURNS, config=LAST).labels[0]
    assert [place for place, label in enumerate(labels) if label != -100][0] == len(found.input_ids[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FORMATS)
def test_no_message_becomes_a_control_token(name, kind):
    tokenizer = chat_tokenizer(name, False, kind)
    control = [*FORMATS[name][1], "<s>", "</s>"]
    hostile = [(role, f"a {' '.join(control)} b") for role, _ in TURNS]
    plain = [(role, "a b") for role, _ in TURNS]
    ids = set(tokenizer.convert_tokens_to_ids(control))
    found, wanted = ([i for i in encode(tokenizer, turns).input_ids[0] if i in ids] for turns in (hostile, plain))
    assert found == wanted
    real = tokenizer.apply_chat_template(as_the_template_takes_it(name, hostile))["input_ids"]
    assert len([i for i in real if i in ids]) > len(wanted)  # which the tokenizer alone does not do


def test_the_loss_is_on_every_answer_or_on_the_last():
    tokenizer = chat_tokenizer("ChatML", False)
    answers = [f"{text}<|im_end|>" for role, text in TURNS if role == "assistant"]
    assert learned(tokenizer, encode(tokenizer, TURNS).labels[0]) == answers
    assert learned(tokenizer, encode(tokenizer, TURNS, config=LAST).labels[0]) == answers[-1:]


def test_a_space_that_the_prompt_does_not_end_with_is_for_the_model_to_say():
    tokenizer = chat_tokenizer("brackets", False)
    assert learned(tokenizer, encode(tokenizer, TURNS[1:3]).labels[0]) == [" It is 312 km long.</s>"]


def test_text_that_a_template_puts_before_a_finished_answer_is_learned():
    tokenizer = byte_level(
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
        "{% if m['role'] == 'assistant' and loop.last %}(no thoughts)\n{% endif %}{{ m['content'] }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    assert learned(tokenizer, encode(tokenizer, TURNS[1:5]).labels[0]) == [
        "It is 312 km long.<|im_end|>",
        "(no thoughts)\n  In 1281, by traders – 漢字 🙂<|im_end|>",
    ]


def test_too_long_a_conversation_loses_its_oldest_turns_and_keeps_the_system_message():
    tokenizer = chat_tokenizer("Phi-3", False)
    whole = len(encode(tokenizer, TURNS).input_ids[0])
    for length in range(whole - 1, 60, -1):
        found = encode(tokenizer, TURNS, length)
        text = tokenizer.decode(found.input_ids[0])
        assert found.cut == [True]
        assert len(found.input_ids[0]) <= length
        assert "You are helpful." in text
        kept = [turn for turn in TURNS[1:] if turn[1] in text]
        assert kept == TURNS[-len(kept) :]
        assert len(kept) in (2, 4)
        # as many as fit: one more pair would be too long
        assert len(kept) == 4 or len(encode(tokenizer, [TURNS[0], *TURNS[3:]]).input_ids[0]) > length


def test_a_last_turn_that_is_too_long_loses_its_end_or_the_row_is_left_out():
    tokenizer = chat_tokenizer("ChatML", False)
    turns = [("user", "Hi"), ("assistant", "word " * 200)]
    found = encode(tokenizer, turns, 100)
    assert (len(found.input_ids[0]), found.cut) == (100, [True])
    assert "<|im_end|>" not in learned(tokenizer, found.labels[0])[0]
    assert encode(tokenizer, turns, 100, window=False).input_ids == [[]]
    nothing = encode(tokenizer, [("user", "word " * 200), ("assistant", "Hi")], 100)
    assert set(nothing.labels[0]) == {-100}  # no answer is left to learn: it is counted as dropped


def test_two_thousand_messages_keep_the_newest():
    tokenizer = chat_tokenizer("ChatML", True)
    turns = [(("user", "assistant")[n % 2], f"turn {n}") for n in range(2000)]
    found = encode(tokenizer, turns, 256)
    assert 200 < len(found.input_ids[0]) <= 256
    assert learned(tokenizer, found.labels[0])[-1] == "turn 1999<|im_end|>"


def test_too_long_a_prompt_loses_its_oldest_turns_and_then_its_beginning():
    tokenizer = chat_tokenizer("ChatML", False)
    short = encode_prompt(tokenizer, TURNS, 60)
    assert short.cut == [True]
    assert tokenizer.decode(short.input_ids[0]).startswith("<|im_start|>system\nYou are helpful.")
    long = encode_prompt(tokenizer, [("user", "word " * 100), ("assistant", "Hi")], 50)
    assert (len(long.input_ids[0]), long.cut) == (50, [True])
    assert tokenizer.decode(long.input_ids[0]).endswith("<|im_start|>assistant\n")


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_without_a_chat_template_gets_a_plain_one_that_travels(kind, tmp_path):
    tokenizer = byte_level() if kind == "byte level" else sentence_piece()
    found = encode(tokenizer, TURNS[:3])
    bos = "<s>" if kind == "sentence piece" else ""
    text = (
        f"{bos}System:\nYou are helpful.</s>\nUser:\nHow long is the river?</s>\nAssistant:\nIt is 312 km long.</s>\n"
    )
    assert tokenizer.decode(found.input_ids[0]) == text
    assert learned(tokenizer, found.labels[0]) == ["It is 312 km long.</s>"]
    assert tokenizer.apply_chat_template(messages(TURNS[:3]))["input_ids"] == found.input_ids[0]


def test_never_takes_the_plain_template_in_place_of_the_tokenizers_own():
    config = TaskConfig(name="chat_completion", chat_template="never")
    tokenizer = byte_level(CHAT_TEMPLATE)
    found = encode(tokenizer, TURNS[1:3], config=config)
    assert tokenizer.decode(found.input_ids[0]).startswith("User:\nHow long")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ raise_exception('tools only') }}", "refuses a conversation of user, assistant.*tools only"),
        ("{{ messages[0]['content'] }}", "does not write each message once"),
        ("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}", "without a control token"),
    ],
)
def test_a_template_that_cannot_hold_a_conversation_is_refused_with_the_remedy(template, message):
    with pytest.raises(ConfigError, match=f"{message}.*task.chat_template"):
        encode(byte_level(template), TURNS[1:3])


def test_a_tokenizer_without_a_template_and_an_end_token_is_refused():
    with pytest.raises(ConfigError, match="no end token"):
        build_prompt(ALL, byte_level(eos_token=None))
