import pytest
from support.tiny_llama import write_tiny_llama

from components.core.evaluation.candidates import split_layers
from components.core.evaluation.generation import StopRule, generate_greedy, plan_batches, stop_rule
from components.core.registry.base_model import read_tokenizer

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(write_tiny_llama(tmp_path_factory.mktemp("llama"))).eval()


@pytest.fixture(scope="module")
def tokenizer(model):
    return read_tokenizer(model.name_or_path)


def prompts_of(count, longest=60):
    import random

    chance = random.Random(5)
    return [[chance.randrange(2, 258) for _ in range(chance.randrange(3, longest))] for _ in range(count)]


def one_by_one(model, prompt, ends, max_new_tokens, repetition_penalty=1.0):
    import torch

    out = model.generate(
        torch.tensor([prompt]),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        eos_token_id=sorted(ends),
        pad_token_id=0,
        repetition_penalty=repetition_penalty,
    )[0, len(prompt) :].tolist()
    return out[:-1] if out[-1] in ends else out


@pytest.mark.parametrize("tokens_per_batch", [1, 400, 100_000])
def test_batched_tokens_are_those_of_generate_on_each_row_alone(model, tokens_per_batch):
    prompts = prompts_of(40)
    # many end tokens, so that rows finish at different steps and the batch shrinks
    ends = frozenset(range(0, 258, 9))
    expected = [one_by_one(model, prompt, ends, 12) for prompt in prompts]
    assert len({len(answer) for answer in expected}) > 4
    assert generate_greedy(model, prompts, StopRule(ends), 12, tokens_per_batch) == expected


@pytest.mark.parametrize("penalty", [1.03, 1.5])
def test_the_repetition_penalty_is_that_of_generate(model, penalty):
    prompts = prompts_of(20)
    ends = frozenset(range(0, 258, 9))
    expected = [one_by_one(model, prompt, ends, 12, penalty) for prompt in prompts]
    assert generate_greedy(model, prompts, StopRule(ends), 12, 800, repetition_penalty=penalty) == expected
    assert expected != generate_greedy(model, prompts, StopRule(ends), 12, 800)


def test_sliding_window_attention_gives_the_tokens_of_generate_too():
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    model = MistralForCausalLM(
        MistralConfig(
            vocab_size=258, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, sliding_window=16, initializer_range=0.3,
        )
    ).eval()  # fmt: skip
    prompts, ends = prompts_of(20), frozenset(range(0, 258, 9))
    expected = [one_by_one(model, prompt, ends, 12) for prompt in prompts]
    assert generate_greedy(model, prompts, StopRule(ends), 12, 500) == expected


def test_absolute_positions_are_counted_from_the_first_real_token():
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=258, n_positions=80, n_embd=32, n_layer=2, n_head=2, initializer_range=0.3)
    ).eval()
    prompts, ends = prompts_of(20), frozenset(range(0, 258, 9))
    expected = [one_by_one(model, prompt, ends, 12) for prompt in prompts]
    assert generate_greedy(model, prompts, StopRule(ends), 12, 500) == expected


def test_an_empty_prompt_gets_an_empty_answer_and_keeps_its_place(model):
    prompts = [[5, 6, 7], [], [8, 9]]
    found = generate_greedy(model, prompts, StopRule(frozenset()), 4, 1000)
    assert [len(answer) for answer in found] == [4, 0, 4]


def test_no_rows_give_no_answers(model):
    assert generate_greedy(model, [], StopRule(frozenset()), 4, 1000) == []


def test_a_line_break_ends_an_answer_that_has_said_something(model):
    free = generate_greedy(model, [[5, 6, 7]], StopRule(frozenset()), 6, 1000)[0]
    third = free[2]
    assert third not in free[:2]
    stop = StopRule(frozenset(), newline_ids=frozenset([third]))
    assert generate_greedy(model, [[5, 6, 7]], stop, 6, 1000)[0] == free[:3]
    silent = StopRule(frozenset(), newline_ids=frozenset([third]), blank_ids=frozenset(free[:3]))
    assert len(generate_greedy(model, [[5, 6, 7]], silent, 6, 1000)[0]) > 3


def test_the_stop_rule_knows_line_breaks_spaces_and_all_end_tokens(model, tokenizer):
    model.generation_config.eos_token_id = [0, 7]
    rule = stop_rule(model, tokenizer, [1], one_line=True)
    assert rule.token_ids == {0, 1, 7}
    assert rule.newline_ids == {tokenizer("\n")["input_ids"][0]}
    assert rule.blank_ids >= rule.newline_ids | {tokenizer(" ")["input_ids"][0]}
    assert tokenizer("x")["input_ids"][0] not in rule.blank_ids
    assert stop_rule(model, tokenizer, [], one_line=False).newline_ids == frozenset()


def test_batches_hold_every_row_once_and_keep_the_budget():
    lengths = [5, 90, 17, 17, 3, 60, 200, 1]
    batches = list(plan_batches(lengths, tokens_per_batch=150, max_new_tokens=10))
    assert sorted(sum(batches, [])) == list(range(8))
    assert batches[0] == [6]
    assert all(len(batch) * (max(lengths[i] for i in batch) + 10) <= 150 for batch in batches if len(batch) > 1)
    assert list(plan_batches([], 100, 10)) == []


def test_progress_is_reported_while_it_lasts(model, monkeypatch, caplog):
    monkeypatch.setattr("components.core.evaluation.generation._PROGRESS_SECONDS", 0.0)
    with caplog.at_level("INFO"):
        generate_greedy(model, prompts_of(4), StopRule(frozenset()), 2, 1, "base")
    assert [record.getMessage().split(" (")[0] for record in caplog.records] == [
        f"base: answered {done} of 4 rows" for done in (1, 2, 3, 4)
    ]


def test_layers_that_do_not_fit_are_fetched_and_the_answers_stay(model, tokenizer, tmp_path):
    """The disk stands in for host memory and this CPU for the GPU: what is fetched layer by layer is the same."""
    from accelerate import dispatch_model
    from transformers import AutoModelForCausalLM

    split = AutoModelForCausalLM.from_pretrained(model.name_or_path).eval()
    places = split_layers(split, free_bytes=split.get_memory_footprint() * 2)
    assert places["model.embed_tokens"] == places["model.layers.0"] == 0
    assert places["model.layers.1"] == places["lm_head"] == "cpu"
    stand_ins = {name: "cpu" if place == 0 else "disk" for name, place in places.items()}
    split = dispatch_model(split, device_map=stand_ins, main_device="cpu", offload_dir=str(tmp_path))
    assert split.lm_head.weight.device.type == "meta"
    stop = stop_rule(model, tokenizer, frozenset(), False)
    prompts = prompts_of(5)
    answers = [generate_greedy(one, prompts, stop, 6, 256, "base", 1.03) for one in (model, split)]
    assert answers[0] == answers[1]
