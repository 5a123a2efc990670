"""From the request to load a LoRA adapter to the first answer with it, while other adapters are asked all the time.

    python -m benchmarks.adapter_swap [--rounds N] [--shape m25 m110] [--streams N] [--threads N]

Peers, in turn with ours in each round: the same server ended and started again with one more adapter (what a server
needs that reads its adapters only at the start), and transformers with peft in one process, which loads the adapter
onto a model that is there (`load_adapter`) and answers alone, without server and traffic. All give the same answer.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.fixed_answer import request_bytes
from benchmarks.load_client import Connection, connect, drive
from benchmarks.random_llama import SHAPES, draw_texts, write_random_llama
from benchmarks.server_process import ServerProcess, free_port, machine

RESULT = Path(__file__).parent / "results" / "adapter_swap.json"
GOAL_SECONDS = 1.0
RANK = 8
NEW_TOKENS = 8
KEY = "benchmark"
TRAFFIC = ("one", "two")
"""Adapters that are asked all the time."""


def write_adapter(folder: Path, base: Path, seed: int) -> None:
    """A random adapter on the attention of a model, as peft saves one."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj"]
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=RANK, lora_alpha=2 * RANK, target_modules=targets)
    adapted = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    with torch.no_grad():
        for name, weights in adapted.named_parameters():
            if "lora_" in name:
                weights.normal_(std=0.1)
    adapted.peft_config["default"].base_model_name_or_path = str(base)
    adapted.save_pretrained(folder)


def request(path: str, body: dict[str, Any]) -> bytes:
    """A POST with the key."""
    return request_bytes(path, body).replace(b"\r\nContent-Type", f"\r\nX-API-Key: {KEY}\r\nContent-Type".encode(), 1)


def question(model: str, text: str) -> bytes:
    """A completion by one model, to its last token."""
    return request("/openai/v1/completions", {"model": model, "prompt": text, "max_tokens": NEW_TOKENS})


async def ask(port: int, content: bytes) -> str:
    """The body of one answer; ends the benchmark where there is none."""
    (reply,) = await drive(port, content, 1, 1)
    if reply.status != 200:
        sys.exit(f"error: status {reply.status}: {reply.body[:300]!r}")
    return reply.body.decode()


def said(body: str) -> str:
    """The text of a completion."""
    return str(json.loads(body)["choices"][0]["text"]).strip()


class Traffic:
    """Requests to other adapters without a pause, until stopped."""

    def __init__(self, port: int, streams: int, text: str) -> None:
        self._port, self._text = port, text
        self.seconds: list[float] = []
        self.failed: list[str] = []
        self._stopping = False
        self._tasks = [asyncio.ensure_future(self._one(TRAFFIC[number % len(TRAFFIC)])) for number in range(streams)]

    async def _one(self, model: str) -> None:
        connection: Connection = await connect(self._port)
        content = question(model, self._text)
        while not self._stopping:
            try:
                reply = await connection.ask(content)
            except ConnectionResetError as error:
                self.failed.append(str(error))
                return
            self.seconds.append(reply.total_seconds)
            if reply.status != 200:
                self.failed.append(f"status {reply.status}: {reply.body[:200]!r}")
        connection.close()

    async def stop(self) -> None:
        """Let the last answers come."""
        self._stopping = True
        await asyncio.gather(*self._tasks)


def start(base: Path, home: Path, adapters: dict[str, Path], threads: int) -> ServerProcess:
    """The endpoint, which is not ready yet."""
    port = free_port()
    environment = {
        "MODEL": str(base), "HOST": "127.0.0.1", "HTTP_PORT": str(port), "WHETSTONE_HOME": str(home),
        "THREADS": str(threads), "API_KEY_PRIMARY": KEY, "ADAPTERS_ROOT": str(home / "adapters"),
        "ADAPTERS": ",".join(f"{name}={folder}" for name, folder in adapters.items()),
    }  # fmt: skip
    return ServerProcess(["llm_endpoint"], port, "/readyz", home, environment)


async def swap(server: ServerProcess, name: str, folder: Path, streams: int, text: str) -> dict[str, Any]:
    """Load, ask and drop an adapter, with traffic on others before, meanwhile and after."""
    traffic = Traffic(server.port, streams, text)
    await asyncio.sleep(1.0)
    before = len(traffic.seconds)
    began = time.monotonic()
    body = await ask(server.port, request("/v1/load_lora_adapter", {"lora_name": name, "lora_path": folder.name}))
    loaded = time.monotonic() - began
    answer = said(await ask(server.port, question(name, text)))
    seconds = time.monotonic() - began
    meanwhile = len(traffic.seconds) - before
    await ask(server.port, request("/v1/unload_lora_adapter", {"lora_name": name}))
    await asyncio.sleep(0.5)
    await traffic.stop()
    return {
        "seconds": seconds, "load_seconds": loaded, "server_seconds": json.loads(body)["seconds"], "answer": answer,
        "answered_meanwhile": meanwhile, "answered": len(traffic.seconds), "failed": traffic.failed,
        "slowest_of_others": max(traffic.seconds), "median_of_others": median(traffic.seconds),
    }  # fmt: skip


def restart(base: Path, home: Path, adapters: dict[str, Path], name: str, threads: int, text: str) -> dict[str, Any]:
    """End a server that has the other adapters and start it with one more, until that one answers."""
    with start(base, home, {key: adapters[key] for key in TRAFFIC}, threads) as running:
        began = time.monotonic()
        running.stop()
        with start(base, home, adapters, threads) as server:
            answer = said(asyncio.run(ask(server.port, question(name, text))))
            return {"seconds": time.monotonic() - began, "answer": answer}


class InProcess:
    """transformers and peft, with the other adapters loaded."""

    def __init__(self, base: Path, adapters: dict[str, Path], threads: int) -> None:
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(threads)
        self._tokenizer = AutoTokenizer.from_pretrained(base)
        model = AutoModelForCausalLM.from_pretrained(base).eval()
        first, *others = TRAFFIC
        self._model = PeftModel.from_pretrained(model, str(adapters[first]), adapter_name=first)
        for other in others:
            self._model.load_adapter(str(adapters[other]), adapter_name=other)

    def swap(self, name: str, folder: Path, text: str) -> dict[str, Any]:
        """Load, answer and drop."""
        began = time.monotonic()
        self._model.load_adapter(str(folder), adapter_name=name)
        self._model.set_adapter(name)
        inputs = self._tokenizer(text, return_tensors="pt")
        ids = self._model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False, repetition_penalty=1.03)
        new = ids[0, inputs.input_ids.shape[1] :]
        answer = str(self._tokenizer.decode(new, skip_special_tokens=True)).strip()
        seconds = time.monotonic() - began
        self._model.delete_adapter(name)
        return {"seconds": seconds, "answer": answer}


def measure(shape: str, rounds: int, streams: int, threads: int, folder: Path) -> dict[str, Any]:
    """All rounds with one model."""
    base = folder / "base"
    parameters = write_random_llama(base, shape)
    names = [*TRAFFIC, "late"]
    adapters = {name: folder / "adapters" / name for name in names}
    for seed, place in enumerate(adapters.values(), 1):
        write_adapter(place, base, seed)
    (text,) = draw_texts([60], seed=7)
    peer = InProcess(base, adapters, threads)
    turns: dict[str, list[dict[str, Any]]] = {"ours": [], "restart": [], "peft": []}
    with start(base, folder, {name: adapters[name] for name in TRAFFIC}, threads) as server:
        for _ in range(rounds):
            turns["ours"].append(asyncio.run(swap(server, "late", adapters["late"], streams, text)))
            turns["peft"].append(peer.swap("late", adapters["late"], text))
            turns["restart"].append(restart(base, folder, adapters, "late", threads, text))
    answers = {turn["answer"] for side in turns.values() for turn in side}
    if len(answers) != 1:
        sys.exit(f"error: the answers differ: {answers}")
    failed = [reason for turn in turns["ours"] for reason in turn["failed"]]
    if failed:
        sys.exit(f"error: {len(failed)} requests to other adapters failed: {failed[:3]}")
    medians = {side: round(median(turn["seconds"] for turn in taken), 3) for side, taken in turns.items()}
    return {
        "parameters": parameters, "rank": RANK, "streams": streams, "medians": medians, "turns": turns,
        "failed_requests": len(failed), "answered": sum(turn["answered"] for turn in turns["ours"]),
        "restart_over_ours": round(medians["restart"] / medians["ours"], 2),
        "peft_over_ours": round(medians["peft"] / medians["ours"], 2),
    }  # fmt: skip


def main() -> None:
    """Measure, print and keep the figures."""
    facts = machine()
    parser = argparse.ArgumentParser(description="From a load request to the first answer with the adapter.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shape", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--streams", type=int, default=2, help="requests to other adapters at once")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each model")
    given = parser.parse_args()
    if min(given.rounds, given.streams, given.threads) < 1:
        parser.error("--rounds, --streams and --threads are at least 1.")
    print(f"{facts['cpu']}, {facts['cores']} cores, load average {facts['load_average']}, {given.threads} threads")
    models = {}
    for shape in given.shape:
        with tempfile.TemporaryDirectory() as name:
            models[shape] = measure(shape, given.rounds, given.streams, given.threads, Path(name).resolve())
    print("\nmedian seconds from the load request to the whole first answer")
    for shape, found in models.items():
        middle = found["medians"]
        print(
            f"{shape:6} ours {middle['ours']:.2f} (goal < {GOAL_SECONDS:g}, {given.streams} streams on others), "
            f"restart {middle['restart']:.2f} ({found['restart_over_ours']:.1f}x ours), "
            f"peft in process, no traffic {middle['peft']:.2f} ({found['peft_over_ours']:.2f}x ours); "
            f"{found['answered']} answers to others, {found['failed_requests']} failed"
        )
    result = {"machine": facts, "threads": given.threads, "goal_seconds": GOAL_SECONDS, "models": models}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to {RESULT}")


if __name__ == "__main__":
    main()
