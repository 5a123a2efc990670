import random

import pytest
from support.tiny_llama import write_tiny_llama

from components.core.errors import ConfigError, StorageError
from components.core.evaluation.generation import StopRule
from components.core.responses.choosing import Sampling, choose
from components.core.responses.generation import Generator, Job
from components.core.responses.slots import Slots

STOP = StopRule(frozenset({0, 1, 5, 9, 40, 77, 100, *range(200, 206)}))
GREEDY = Sampling(do_sample=False, temperature=1, top_p=1, repetition_penalty=1, seed=1)
DRAWN = Sampling(do_sample=True, temperature=0.7, top_p=0.9, repetition_penalty=1.2, seed=7)
NEW = 24


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(write_tiny_llama(tmp_path_factory.mktemp("m"), seed=3)).eval()


@pytest.fixture(scope="module")
def prompts():
    draw = random.Random(1)
    return [[draw.randrange(2, 258) for _ in range(draw.randint(1, 60))] for _ in range(12)]


def ask(model, prompts, sampling, at_once, repeats=(0,), new=NEW):
    jobs = [Job(row, ids, repeats) for row, ids in enumerate(prompts)]
    found = list(Generator(model, STOP, sampling, new, at_once).answer(jobs))
    answers = {(each.row, each.repeat): each.token_ids for each in found}
    assert len(answers) == len(found) == len(prompts) * len(repeats)
    return answers


def generate(model, ids, penalty):
    import torch

    output = model.generate(
        input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), max_new_tokens=NEW,
        do_sample=False, eos_token_id=sorted(STOP.token_ids), pad_token_id=0, repetition_penalty=penalty,
    )  # fmt: skip
    answer = output[0, len(ids) :].tolist()
    return answer[:-1] if answer[-1] in STOP.token_ids else answer


@pytest.mark.parametrize("penalty", [1.0, 1.3])
@pytest.mark.parametrize("at_once", [1, 5, 40])
def test_greedy_answers_are_those_of_generate_on_each_row_alone(model, prompts, penalty, at_once):
    sampling = Sampling(False, 1, 1, penalty, 1)
    found = ask(model, prompts, sampling, at_once)
    assert [found[row, 0] for row in range(len(prompts))] == [generate(model, ids, penalty) for ids in prompts]
    assert len({len(answer) for answer in found.values()}) > 3


def sliding():
    from transformers import MistralConfig, MistralForCausalLM

    return MistralForCausalLM(
        MistralConfig(
            vocab_size=258, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=256, sliding_window=8, initializer_range=0.3,
        )
    )  # fmt: skip


def mixed():
    from transformers import Gemma2Config, Gemma2ForCausalLM

    return Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=258, hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4,
            head_dim=8, num_key_value_heads=2, max_position_embeddings=256, sliding_window=8, initializer_range=0.3,
        )
    )  # fmt: skip


def learned_positions():
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(vocab_size=258, n_embd=32, n_layer=2, n_head=4, n_positions=256, initializer_range=0.3)
    )


@pytest.mark.parametrize("make", [sliding, mixed, learned_positions])
def test_other_kinds_of_attention_and_positions_are_generates_too(prompts, make):
    import torch

    torch.manual_seed(0)
    other = make().eval()
    found = ask(other, prompts, GREEDY, 5)
    assert [found[row, 0] for row in range(len(prompts))] == [generate(other, ids, 1.0) for ids in prompts]


def test_a_model_with_a_recurrent_state_is_refused():
    from transformers import MambaConfig, MambaForCausalLM

    config = MambaConfig(vocab_size=64, hidden_size=16, state_size=4, num_hidden_layers=1)
    with pytest.raises(ConfigError, match="of the kind mamba keeps a state"):
        ask(MambaForCausalLM(config).eval(), [[3, 4]], GREEDY, 1)


def test_drawn_answers_depend_on_row_and_repeat_only(model, prompts):
    together, alone = (ask(model, prompts, DRAWN, at_once, (0, 1, 2)) for at_once in (12, 1))
    assert together == alone
    assert ask(model, prompts, DRAWN, 4, (2,)) == {key: answer for key, answer in together.items() if key[1] == 2}
    assert len({tuple(together[0, repeat]) for repeat in range(3)}) > 1
    other = ask(model, prompts, Sampling(True, 0.7, 0.9, 1.2, seed=8), 12, (0, 1, 2))
    assert other != together


def test_the_copies_of_a_prompt_are_read_once_and_rows_that_ended_make_room(model, prompts, monkeypatch):
    shapes = []
    forward = model.forward

    def noting(input_ids, **options):
        shapes.append(tuple(input_ids.shape))
        return forward(input_ids=input_ids, **options)

    monkeypatch.setattr(model, "forward", noting)
    found = ask(model, prompts, DRAWN, 3, (0, 1, 2, 3))
    read = [rows for rows, tokens in shapes if tokens > 1]
    steps = [rows for rows, tokens in shapes if tokens == 1 and rows > 0]
    assert sum(read) <= len(prompts)
    assert max(steps) == 12
    # a batch that waits for its longest answer would take a step of all 12 rows for each of its tokens
    groups = [range(start, start + 3) for start in range(0, 12, 3)]
    waiting = sum(12 * max(len(found[row, each]) for row in group for each in range(4)) for group in groups)
    assert sum(steps) < 0.9 * waiting


def test_a_line_break_ends_an_answer_of_one_line_once_something_was_said(model):
    draw = random.Random(2)
    ids = [draw.randrange(2, 258) for _ in range(9)]
    free = next(iter(ask(model, [ids], GREEDY, 1).values()))
    stop = StopRule(STOP.token_ids, frozenset({free[2]}), frozenset({free[0]}))
    found = next(iter(Generator(model, stop, GREEDY, NEW, 1).answer([Job(0, ids, [0])])))
    assert found.token_ids == free[: next(n for n in range(1, NEW) if free[n] == free[2]) + 1]


def test_slots_move_their_columns_when_they_reach_the_end(model, prompts, monkeypatch):
    monkeypatch.setattr("components.core.responses.slots.SPARE_COLUMNS", 1)
    moves = []
    move = Slots._move
    monkeypatch.setattr(Slots, "_move", lambda slots, end: (moves.append(end), move(slots, end))[1])
    expected = [generate(model, ids, 1.0) for ids in prompts]
    found = ask(model, prompts, GREEDY, 3)
    assert [found[row, 0] for row in range(len(prompts))] == expected
    assert len(moves) > 3


def test_a_model_whose_scores_are_not_numbers_is_named(model, prompts, monkeypatch):
    import torch

    weights = torch.full_like(model.lm_head.weight, float("nan"))
    monkeypatch.setattr(model.lm_head, "weight", torch.nn.Parameter(weights))
    with pytest.raises(StorageError, match="weights are broken"):
        ask(model, prompts, GREEDY, 3)


def test_tokens_are_drawn_as_often_as_they_are_likely_and_never_outside_top_p():
    import torch

    chances = torch.tensor([0.5, 0.3, 0.15, 0.05])
    for top_p, expected in ((1.0, chances), (0.75, torch.tensor([0.625, 0.375, 0, 0]))):
        source = random.Random(0)
        rows = 4000
        sampling = Sampling(True, 1.0, top_p, 1.0, 0)
        drawn = choose(chances.log().expand(rows, -1), None, [source] * rows, sampling)
        shares = torch.bincount(torch.tensor(drawn), minlength=4) / rows
        assert (shares - expected).abs().max() < 0.03
        assert not shares[expected == 0].any()
