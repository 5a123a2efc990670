"""Who takes part in `benchmarks.engines`: our engine on each of its cores, and one transformers generate at a time."""

import asyncio
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.fixed_answer import ROOT

sys.path.insert(0, str(ROOT / "llm-endpoint"))
from llm_endpoint.engines.opening import open_ahead, open_local_engine  # noqa: E402
from llm_endpoint.engines.openvino.equality import TIE, shared_length  # noqa: E402
from llm_endpoint.engines.seam import Core, GenerationRequest, Sampling  # noqa: E402
from llm_endpoint.served.encoding import PromptEncoder  # noqa: E402
from llm_endpoint.served.folder import open_served_model  # noqa: E402
from llm_endpoint.settings import Settings  # noqa: E402

PENALTY = Sampling().repetition_penalty


@dataclass(frozen=True)
class Answer:
    """What came back for one text."""

    prompt_ids: list[int]
    token_ids: list[int]
    first_seconds: float
    """From submission, the queue included, to the first token."""


class Contender(Protocol):
    """Continues texts, greedily and with the endpoint's repetition penalty."""

    async def start(self) -> None:
        """Load the model."""
        ...

    async def ask(self, text: str, new_tokens: int) -> Answer:
        """Continue a text by so many tokens."""
        ...

    async def stop(self) -> None:
        """Free the model."""
        ...


class Ours:
    """The endpoint's engine with the settings that it has by default.

    Args:
        engine: ENGINE: openvino or transformers.
        model: A model folder.
        home: For conversions.
        threads: CPU threads.
    """

    def __init__(self, engine: str, model: Path, home: Path, threads: int) -> None:
        self._settings = Settings(model=str(model), engine=engine, threads=threads, whetstone_home=home)  # type: ignore[arg-type]
        served = open_served_model(self._settings)
        self._encoder = PromptEncoder(served.folder, in_chat=False)
        self._engine = open_local_engine(self._settings, served, self._encoder, self._open_core)
        self._tokens: dict[int, list[int]] = {}

    async def start(self) -> None:
        """Load the model, after converting it where that is needed."""
        await self._engine.start()

    async def ask(self, text: str, new_tokens: int) -> Answer:
        """Continue a text; the engine merges tokens, the first comes at once."""
        began, first = time.monotonic(), None
        generation = self._engine.submit(GenerationRequest(text=text, sampling=Sampling(max_new_tokens=new_tokens)))
        async for _ in generation:
            first = first or time.monotonic()
        assert first is not None
        return Answer(generation.prompt_ids, self._tokens.pop(generation.key), first - began)

    async def stop(self) -> None:
        """Free the model."""
        await self._engine.stop()

    def _open_core(self) -> Core:
        """The core that the settings name, made to note its tokens: an engine gives text only."""
        opener = open_ahead(self._settings)
        assert opener is not None
        core: Any = opener()
        step = core.step

        def noting_step() -> Any:
            steps = step()
            for one in steps:
                self._tokens.setdefault(one.key, []).extend(one.token_ids)
            return steps

        core.step = noting_step
        opened: Core = core
        return opened


class OneByOne:
    """The peer: plain transformers, one `generate` at a time; requests wait in a queue without bound.

    This is what KServe's own Hugging Face backend does without vLLM.
    """

    def __init__(self, model: Path, threads: int) -> None:
        import torch

        self._folder = model
        self._encoder = PromptEncoder(model, in_chat=False)
        self._worker = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(threads,))

    async def start(self) -> None:
        """Load the model."""
        import torch
        from transformers import AutoModelForCausalLM

        self.model = AutoModelForCausalLM.from_pretrained(self._folder, dtype=torch.float32).eval()

    async def ask(self, text: str, new_tokens: int) -> Answer:
        """Queue a text."""
        began = time.monotonic()
        prompt_ids = self._encoder.encode(GenerationRequest(text=text))
        loop = asyncio.get_running_loop()
        token_ids, first = await loop.run_in_executor(self._worker, self._generate, prompt_ids, new_tokens)
        return Answer(prompt_ids, token_ids, first - began)

    async def stop(self) -> None:
        """Free the model."""
        self._worker.shutdown()
        del self.model

    def next_scores(self, ids: Sequence[int]) -> Any:
        """What the next token is chosen by: a tensor of the vocabulary's length."""
        output = self._run(ids, 1, output_scores=True, return_dict_in_generate=True)
        return output.scores[0][0]

    def _generate(self, ids: list[int], new_tokens: int) -> tuple[list[int], float]:
        streamer = _FirstToken()
        output = self._run(ids, new_tokens, streamer=streamer)
        return output[0, len(ids) :].tolist(), streamer.seen_at[1]

    def _run(self, ids: Sequence[int], new_tokens: int, **options: Any) -> Any:
        import torch

        return self.model.generate(
            torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), do_sample=False,
            max_new_tokens=new_tokens, repetition_penalty=PENALTY, **options,
        )  # fmt: skip


class _FirstToken:
    """A streamer that notes when its first pieces come: the prompt, then the first token."""

    def __init__(self) -> None:
        self.seen_at: list[float] = []

    def put(self, _value: Any) -> None:
        if len(self.seen_at) < 2:
            self.seen_at.append(time.monotonic())

    def end(self) -> None:
        """All of it has come."""


@dataclass
class Equality:
    """How many tokens were compared with the peer's."""

    answers: int = 0
    tokens: int = 0
    ties: int = 0
    """Answers that were compared only up to two tokens with the same score, as when a conversion is checked."""

    def check(self, name: str, peer: OneByOne, expected: Sequence[Answer], answers: Sequence[Answer]) -> None:
        """Compare the answers to one series of texts.

        Raises:
            SystemExit: If a token differs where the scores were not tied.
        """
        for right, answer in zip(expected, answers, strict=True):
            shared = len(right.token_ids)
            if len(answer.token_ids) != shared:
                sys.exit(f"error: {name} gives {len(answer.token_ids)} tokens and the peer {shared}")
            shared = shared_length(right.token_ids, answer.token_ids)
            self.answers += 1
            self.tokens += shared
            if shared == len(right.token_ids):
                continue
            scores = peer.next_scores([*right.prompt_ids, *right.token_ids[:shared]])
            best, other = float(scores.max()), float(scores[answer.token_ids[shared]])
            if best - other > TIE * max(1.0, abs(best)):
                where = f"token {shared + 1} after a prompt of {len(right.prompt_ids)}"
                sys.exit(f"error: {name} differs from the peer in {where}: scores {other} and {best}")
            self.ties += 1
