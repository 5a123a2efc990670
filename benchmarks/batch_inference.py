"""Batch inference of 2,000 conversations against transformers' pipeline and against a loop over the endpoint.

    python -m benchmarks.batch_inference [--rows N] [--model m25] [--threads N]

Ours is all of `infer` with its defaults, 8 prompts at once: reading the rows, checking and loading the model, and
keeping every answer. Peers, neither of whose loading is counted: `transformers.pipeline("text-generation",
batch_size=8)` on the same folder in the same process, and the real endpoint as a process of its own on its own choice
of engine, asked over HTTP for one row after the other. All greedy.

The model is a random Llama whose answers end where it says so, after a few tokens or at the limit of 128, as answers
do; prompts have 16 to 256 tokens, most of them few.
"""

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from benchmarks.random_llama import SHAPES, draw_texts, write_random_llama
from benchmarks.server_process import ServerProcess, free_port, machine
from components.core.recipe import TaskConfig
from components.core.registry.base_model import read_tokenizer
from components.core.registry.manifest import write_manifest
from components.core.responses import BatchInferenceConfig, infer
from components.core.settings import Settings
from components.core.tables import read_rows, write_rows
from components.core.tasks.prompt import write_prompt
from components.core.tasks.rendering import build_prompt

RESULT = Path(__file__).parent / "results" / "batch_inference.json"
GOALS = {"pipeline": 3.0, "endpoint": 1.5}
SHORTEST, LONGEST, NEW_TOKENS, BATCH = 16, 256, 128, 8
_END, _END_SPREAD = 1, 1.8
"""Id of the end token, and how much wider its scores spread than those of other tokens: that makes it the best now and
then."""


def write_chat_llama(folder: Path, shape: str) -> None:
    """A random Llama for conversations, whose answers end."""
    import torch
    from safetensors.torch import load_file, save_file

    write_random_llama(folder, shape)
    weights = load_file(folder / "model.safetensors")
    head = weights["lm_head.weight"]
    torch.manual_seed(1)
    head[_END] = torch.randn(head.shape[1]) * head[3:].std() * _END_SPREAD
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    write_prompt(build_prompt(TaskConfig(name="chat_completion"), read_tokenizer(folder)), folder)
    info = {"task": "chat_completion", "name": shape, "generation": {"one_line": False, "repetition_penalty": 1.0}}
    (folder / "model_info.json").write_text(json.dumps(info), encoding="utf-8")
    write_manifest(folder, [path.name for path in folder.iterdir() if path.name != "manifest.json"])


def make_rows(count: int) -> list[dict[str, Any]]:
    """Conversations of one question."""
    draw = random.Random(5)
    # as in instruction data: most prompts are short
    lengths = [round(SHORTEST * (LONGEST / SHORTEST) ** draw.random()) for _ in range(count)]
    texts = draw_texts(lengths, seed=6)
    return [{"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "-"}]} for text in texts]


def ask_ours(model: Path, rows: Path, settings: Settings) -> list[str]:
    """Our tool, from the folder of the model to the file of the answers."""
    config = BatchInferenceConfig(
        ft_model_id=str(model), test_ds_id=str(rows), test_ds_split="test", repeat=1, do_sample=False,
        max_new_tokens=NEW_TOKENS, inference_bs=BATCH,
    )  # fmt: skip
    infer(config, settings)
    return [row["candidate_responses"] for row in read_rows("lm_responses", "batch_infer", settings)]


def pipeline_asker(model: Path, rows: list[dict[str, Any]]) -> Callable[[], list[str]]:
    """The first peer, loaded."""
    from transformers import pipeline

    peer = pipeline("text-generation", model=str(model), device="cpu")
    peer.tokenizer.padding_side = "left"
    prompts = [row["messages"][:-1] for row in rows]

    def ask() -> list[str]:
        found = peer(prompts, batch_size=BATCH, max_new_tokens=NEW_TOKENS, do_sample=False, return_full_text=False)
        return [answer[0]["generated_text"].strip() for answer in found]

    return ask


def ask_endpoint(port: int, shape: str, rows: list[dict[str, Any]]) -> list[str]:
    """The second peer: one request after the other, on one connection."""
    answers = []
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
        for row in rows:
            body = {
                "model": shape, "messages": row["messages"][:-1], "max_tokens": NEW_TOKENS, "temperature": 0,
                "repetition_penalty": 1.0,
            }  # fmt: skip
            response = client.post("/openai/v1/chat/completions", json=body)
            response.raise_for_status()
            answers.append(str(response.json()["choices"][0]["message"]["content"]).strip())
    return answers


Speed = dict[str, float]
"""Rows a second by the clock, and by the seconds that processors worked, which others on the machine hardly change."""


def timed(
    name: str, count: int, ask: Callable[[], list[str]], cpu: Callable[[], float] | None = time.process_time
) -> tuple[list[str], Speed]:
    """Answers, and how fast they came."""
    began, worked = time.perf_counter(), cpu() if cpu else 0.0
    answers = ask()
    speed = {"clock": count / (time.perf_counter() - began)}
    if cpu:
        speed["cpu"] = count / (cpu() - worked)
    print(f"  {name:<9} " + ", ".join(f"{value:.2f} rows/s by {kind}" for kind, value in speed.items()), flush=True)
    return answers, speed


def measure(shape: str, count: int, threads: int, folder: Path) -> dict[str, Any]:
    """Everyone in turn on the same rows."""
    import torch

    torch.set_num_threads(threads)
    model, rows = folder / shape, make_rows(count)
    write_chat_llama(model, shape)
    settings = Settings(whetstone_home=folder / "home")
    write_rows(rows, str(folder / "rows"), "test", settings)
    pipe = pipeline_asker(model, rows)
    answers: dict[str, list[str]] = {}
    speed: dict[str, Speed] = {}
    answers["ours"], speed["ours"] = timed("ours", count, lambda: ask_ours(model, folder / "rows", settings))
    answers["pipeline"], speed["pipeline"] = timed("pipeline", count, pipe)
    port = free_port()
    environment = {
        "MODEL": str(model), "HOST": "127.0.0.1", "HTTP_PORT": str(port), "WHETSTONE_HOME": str(folder / "endpoint"),
        "THREADS": str(threads),
    }  # fmt: skip
    with ServerProcess(["llm_endpoint"], port, "/readyz", folder, environment) as server:
        engine = json.loads(server.get("/healthz")[1])["engine"]
        answers["endpoint"], speed["endpoint"] = timed(
            "endpoint",
            count,
            lambda: ask_endpoint(port, shape, rows),
            None,  # its engine is a child process
        )
    tokenizer = read_tokenizer(model)
    lengths = sorted(len(tokenizer(text)["input_ids"]) for text in answers["ours"])
    return {
        "rows_per_second": {
            name: {kind: round(value, 2) for kind, value in found.items()} for name, found in speed.items()
        },
        "engine": engine,
        "answer_tokens": {"p10": lengths[count // 10], "p50": lengths[count // 2], "p90": lengths[count * 9 // 10]},
        "same_answers": {
            name: sum(a == b for a, b in zip(answers["ours"], answers[name], strict=True)) / count for name in GOALS
        },
        "ratios": {name: ratio(speed["ours"], speed[name]) for name in GOALS},
    }


def ratio(ours: Speed, theirs: Speed) -> Speed:
    """How much faster."""
    return {kind: round(ours[kind] / theirs[kind], 2) for kind in ours if kind in theirs}


def shown(found: Speed) -> str:
    """A ratio as it is printed."""
    return ", ".join(f"{value:.1f}x by {kind}" for kind, value in found.items())


def main() -> None:
    """Measure, print and keep the figures."""
    facts = machine()
    parser = argparse.ArgumentParser(description="Batch inference against a pipeline and a loop over the endpoint.")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--model", choices=SHAPES, default="m25")
    parser.add_argument("--threads", type=int, default=facts["cores"], help="CPU threads of each")
    given = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    print(f"{facts['cpu']}, {facts['cores']} cores, load average {facts['load_average']}, {given.threads} threads")
    with tempfile.TemporaryDirectory() as name:
        found = measure(given.model, given.rows, given.threads, Path(name))
    result = {"machine": facts, "model": given.model, "rows": given.rows, "threads": given.threads, "goals": GOALS}
    RESULT.write_text(json.dumps(result | found, indent=2) + "\n", encoding="utf-8")
    print(f"answers of {found['answer_tokens']} tokens; the endpoint runs on {found['engine']}")
    for name, goal in GOALS.items():
        same = 100 * found["same_answers"][name]
        print(f"{name}: {shown(found['ratios'][name])} (goal {goal}x), {same:.1f} % of its answers the same")


if __name__ == "__main__":
    main()
