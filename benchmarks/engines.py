"""Our engine on both of its cores against one transformers `generate` at a time, in turns, on the same prompts.

    python -m benchmarks.engines [--model m25 m110] [--requests N] [--rounds N] [--threads N]

Random Llamas, prompts of 64 to 512 tokens, 64 new tokens each, greedy with the endpoint's repetition penalty. Every
round has prompts of its own, since our engines reuse what they have read. Every answer is compared with the peer's,
token by token, and figures are kept only when all are the same. A quick look: `--model m25 --requests 16 --rounds 1`,
where all first tokens wait for each other's prompts, as they do only at the start of a longer run.
"""

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.contenders import Answer, Contender, Equality, OneByOne, Ours
from benchmarks.load_client import percentile
from benchmarks.random_llama import SHAPES, draw_texts, write_random_llama
from benchmarks.server_process import machine

RESULT = Path(__file__).parent / "results" / "engines.json"
PEER = "one by one"
AT_ONCE = 16
NEW_TOKENS = 64
SHORTEST, LONGEST = 64, 512
REQUESTS = {"m25": 64, "m110": 24}
"""Per round; the larger model takes four times as long for each."""
ROUNDS = {"m25": 2, "m110": 1}
ALONE_SHARE = 8
"""One of so many requests is answered alone."""
CONTEXT_TOKENS, QUESTION_TOKENS, QUESTIONS, ANSWER_TOKENS = 400, 20, 32, 4
CHECKED_QUESTIONS = 4
GOALS = {"tokens_per_second": 4.0, "first_token": 10.0, "alone": 1.5, "prefix": 3.0}

Turn = dict[str, float]


def draw_lengths(count: int, seed: int) -> list[int]:
    """Tokens of each prompt."""
    draw = random.Random(seed)
    return [draw.randint(SHORTEST, LONGEST) for _ in range(count)]


async def drive(contender: Contender, texts: Sequence[str], at_once: int, new_tokens: int) -> tuple[list[Answer], Turn]:
    """Ask all texts, `at_once` at a time, each caller at once after its last answer."""
    answers: dict[int, Answer] = {}
    waiting = iter(enumerate(texts))

    async def caller() -> None:
        for number, text in waiting:
            answers[number] = await contender.ask(text, new_tokens)

    began = time.monotonic()
    await asyncio.gather(*(caller() for _ in range(at_once)))
    seconds = time.monotonic() - began
    ordered = [answers[number] for number in range(len(texts))]
    first = [answer.first_seconds for answer in ordered]
    turn = {
        "tokens_per_second": sum(len(answer.token_ids) for answer in ordered) / seconds,
        "first_p50": percentile(first, 0.5),
        "first_p95": percentile(first, 0.95),
    }
    return ordered, turn


async def take_rounds(
    contenders: Mapping[str, Contender], equality: Mapping[str, Equality], rounds: int, requests: int, at_once: int
) -> dict[str, list[Turn]]:
    """Let everyone answer the same prompts in turn, and compare the answers."""
    found: dict[str, list[Turn]] = {name: [] for name in contenders}
    for number in range(rounds):
        seed = 1000 * at_once + number
        texts = draw_texts(draw_lengths(requests, seed), seed)
        answers = {}
        for name, contender in contenders.items():
            answers[name], turn = await drive(contender, texts, at_once, NEW_TOKENS)
            found[name].append(turn)
            print(f"  {at_once:2} at once  {name:12}{turn['tokens_per_second']:8.1f} tokens/s", flush=True)
        check_all(contenders, equality, answers)
    return found


def check_all(
    contenders: Mapping[str, Contender], equality: Mapping[str, Equality], answers: Mapping[str, Sequence[Answer]]
) -> None:
    """Compare everyone's answers with the peer's."""
    peer = contenders[PEER]
    assert isinstance(peer, OneByOne)
    for name, compared in equality.items():
        compared.check(name, peer, answers[PEER], answers[name])


async def measure_prefix(
    contenders: Mapping[str, Contender], equality: Mapping[str, Equality], count: int
) -> dict[str, Turn]:
    """First token of questions on one context, and of questions on a context each, one at a time and in turn."""
    *contexts, shared = draw_texts([CONTEXT_TOKENS] * (count + 1), seed=1)
    questions = draw_texts([QUESTION_TOKENS] * count, seed=2)
    pairs = [
        (_prompt(shared, question), _prompt(context, question))
        for context, question in zip(contexts, questions, strict=True)
    ]
    found, answers = {}, {}
    for name in equality:
        taken = [
            [await contenders[name].ask(text, ANSWER_TOKENS) for text in pair]  # one, then the other
            for pair in pairs
        ]
        same, other = ([pair[side].first_seconds for pair in taken] for side in (0, 1))
        found[name] = {"same_context": median(same), "other_contexts": median(other)}
        answers[name] = [answer for pair in taken[:CHECKED_QUESTIONS] for answer in pair]
    texts = [text for pair in pairs[:CHECKED_QUESTIONS] for text in pair]
    answers[PEER] = [await contenders[PEER].ask(text, ANSWER_TOKENS) for text in texts]
    check_all(contenders, equality, answers)
    return found


def _prompt(context: str, question: str) -> str:
    return f"Context: {context}\nQuestion: {question}\nAnswer:"


async def measure(shape: str, requests: int, rounds: int, threads: int, folder: Path) -> dict[str, Any]:
    """Everything with one model."""
    model = folder / shape
    parameters = write_random_llama(model, shape)
    contenders: dict[str, Contender] = {
        "openvino": Ours("openvino", model, folder, threads),
        "transformers": Ours("transformers", model, folder, threads),
        PEER: OneByOne(model, threads),
    }
    print(f"\n{shape}: {parameters / 1e6:.0f}M parameters; converting and loading", flush=True)
    for contender in contenders.values():
        await contender.start()
    equality = {name: Equality() for name in contenders if name != PEER}
    # untimed: the first allocations of each, and the first comparison
    texts = draw_texts([SHORTEST, LONGEST], seed=3)
    check_all(contenders, equality, {n: (await drive(c, texts, 2, NEW_TOKENS))[0] for n, c in contenders.items()})
    loaded = await take_rounds(contenders, equality, rounds, requests, AT_ONCE)
    alone = await take_rounds(contenders, equality, rounds, -(-requests // ALONE_SHARE), 1)
    prefix = await measure_prefix(contenders, equality, min(QUESTIONS, requests))
    for contender in contenders.values():
        await contender.stop()
    return {
        "parameters": parameters, "requests": requests, "rounds": rounds,
        "equality": {name: vars(compared) for name, compared in equality.items()},
        "at_16": loaded, "alone": alone, "prefix": prefix,
        "ratios": {name: ratios_of(name, loaded, alone, prefix) for name in equality},
    }  # fmt: skip


def ratios_of(
    name: str, loaded: dict[str, list[Turn]], alone: dict[str, list[Turn]], prefix: dict[str, Turn]
) -> dict[str, float]:
    """How much better than the peer, each within its round; above 1 is better."""

    def against(turns: dict[str, list[Turn]], figure: str, sign: int) -> float:
        return median((o[figure] / p[figure]) ** sign for o, p in zip(turns[name], turns[PEER], strict=True))

    return {
        "tokens_per_second": against(loaded, "tokens_per_second", 1),
        "first_token": against(loaded, "first_p50", -1),
        "alone": against(alone, "tokens_per_second", 1),
        "prefix": prefix[name]["other_contexts"] / prefix[name]["same_context"],
    }


def print_model(shape: str, found: dict[str, Any]) -> None:
    """Medians, then ratios with their goals."""
    print(f"\n{shape}, {found['requests']} requests a round, {AT_ONCE} at once; then one at a time")
    print(f"{'':14}{'tokens/s':>9}{'first p50':>11}{'p95':>8}{'alone tokens/s':>17}{'first':>8}")
    for name, turns in found["at_16"].items():
        speed, p50, p95 = (median(turn[figure] for turn in turns) for figure in turns[0])
        alone = found["alone"][name]
        single, first = (median(turn[figure] for turn in alone) for figure in ("tokens_per_second", "first_p50"))
        print(f"{name:14}{speed:9.1f}{p50:9.2f} s{p95:6.2f} s{single:17.1f}{first * 1000:5.0f} ms")
    for name, ratios in found["ratios"].items():
        equal = found["equality"][name]
        print(f"{name}: {equal['tokens']} tokens of {equal['answers']} answers are the peer's, {equal['ties']} ties")
        print("  " + ", ".join(f"{figure} {ratio:.1f}x (goal {GOALS[figure]}x)" for figure, ratio in ratios.items()))
        same, others = (1000 * found["prefix"][name][side] for side in ("same_context", "other_contexts"))
        print(f"  first token of a question on one context {same:.0f} ms, on others {others:.0f} ms")


def main() -> None:
    """Measure, print and keep the figures."""
    facts = machine()
    parser = argparse.ArgumentParser(description="Our engines against one transformers generate at a time.")
    parser.add_argument("--model", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--requests", type=int, help=f"per round ({REQUESTS})")
    parser.add_argument("--rounds", type=int, help=f"with {AT_ONCE} at once ({ROUNDS})")
    parser.add_argument("--threads", type=int, default=facts["cores"], help="CPU threads of each")
    given = parser.parse_args()
    if any(number is not None and number < 1 for number in (given.requests, given.rounds, given.threads)):
        parser.error("--requests, --rounds and --threads are at least 1.")
    print(f"{facts['cpu']}, {facts['cores']} cores, load average {facts['load_average']}, {given.threads} threads")
    models = {}
    with tempfile.TemporaryDirectory() as name:
        for shape in given.model:
            requests, rounds = given.requests or REQUESTS[shape], given.rounds or ROUNDS[shape]
            models[shape] = asyncio.run(measure(shape, requests, rounds, given.threads, Path(name)))
            print_model(shape, models[shape])
    result = {"machine": facts, "threads": given.threads, "at_once": AT_ONCE, "goals": GOALS, "models": models}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"\nwritten to {RESULT}")


if __name__ == "__main__":
    main()
