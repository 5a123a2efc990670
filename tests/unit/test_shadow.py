"""Shadow mode: it makes way, it is bounded, and what it keeps is redacted."""

import asyncio
import json
from pathlib import Path
from typing import Any

from llm_endpoint.engines.seam import GenerationRequest, Message
from llm_endpoint.shadow import Shadow, ShadowStore, say_prompt
from support.scripted_engine import LOCAL, Part, ScriptedEngine


def request(text: str = "Where?") -> GenerationRequest:
    own = GenerationRequest((Message("user", f"Question: {text}\nAnswer:"),))
    return GenerationRequest((Message("user", text),), stand_in=lambda: own)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


class Bench:
    def __init__(self, folder: Path, sample: float = 1.0, queue: int = 4, limit: int = 10**6) -> None:
        self.file = folder / "deep" / "batch_infer.jsonl"
        self.local = ScriptedEngine(LOCAL, Part(("by", " the", " sea")))
        self.counted: list[str] = []
        store = ShadowStore(self.file, limit)
        self.shadow = Shadow(self.local, store, sample, queue, self.counted.append, draw=lambda: 0.5)

    async def until(self, number: int) -> None:
        for _ in range(300):
            if len(self.counted) >= number:
                return
            await asyncio.sleep(0.01)

    def run(self, use: Any) -> None:
        async def main() -> None:
            self.shadow.start()
            try:
                await use()
            finally:
                await self.shadow.stop()

        asyncio.run(asyncio.wait_for(main(), 10))


def test_a_sampled_prompt_becomes_a_row_that_the_judge_reads(tmp_path) -> None:
    bench = Bench(tmp_path)

    async def use() -> None:
        bench.shadow.offer(request("Where is ada@example.org?"), "At home, write to ada@example.org")
        await bench.until(1)

    bench.run(use)
    assert rows(bench.file) == [
        {
            "instructions": "Where is [EMAIL]?",
            "target_responses": "At home, write to [EMAIL]",
            "candidate_responses": "by the sea",
            "model_id": "small",
            "model_sha": "c" * 64,
        }
    ]
    assert bench.local.asked[0].messages[0].content.startswith("Question: ")
    assert bench.counted == ["stored"]


def test_the_draw_decides(tmp_path) -> None:
    bench = Bench(tmp_path, sample=0.4)

    async def use() -> None:
        bench.shadow.offer(request(), "x")
        await asyncio.sleep(0.02)

    bench.run(use)
    assert bench.counted == []
    assert bench.local.asked == []


def test_it_waits_while_the_local_model_is_asked_and_its_queue_is_bounded(tmp_path) -> None:
    bench = Bench(tmp_path, queue=2)
    bench.local.busy = (1, 0)

    async def use() -> None:
        for _ in range(4):
            bench.shadow.offer(request(), "x")
        await asyncio.sleep(0.1)
        assert bench.local.asked == []
        assert bench.counted == ["queue_full", "queue_full"]
        bench.local.busy = (0, 0)
        await bench.until(4)

    bench.run(use)
    assert bench.counted[2:] == ["stored", "stored"]


def test_it_makes_way_for_somebody_who_waits_and_goes_on_later(tmp_path) -> None:
    bench = Bench(tmp_path)

    async def use() -> None:
        looks = iter([(0, 0), (2, 0)])
        bench.local.load = lambda: next(looks, (0, 0))  # type: ignore[method-assign]
        bench.shadow.offer(request(), "x")
        await bench.until(1)

    bench.run(use)
    assert [one.finish_reason for one in bench.local.given] == ["cancelled", "stop"]
    assert bench.counted == ["stored"]


def test_a_full_file_takes_no_more_and_a_failure_ends_nothing(tmp_path) -> None:
    bench = Bench(tmp_path, limit=250)

    async def use() -> None:
        for _ in range(2):
            bench.shadow.offer(request(), "x")
        await bench.until(2)
        bench.file.unlink()
        bench.file.parent.rmdir()
        bench.file.parent.write_text("in the way")
        bench.shadow.offer(request(), "x")
        await bench.until(3)
        bench.file.parent.unlink()
        bench.shadow.offer(request(), "x")
        await bench.until(4)

    bench.run(use)
    assert bench.counted == ["stored", "full", "failed", "stored"]


def test_a_conversation_is_told_with_its_roles() -> None:
    turns = (Message("system", "Be brief."), Message("user", "Where?"))
    assert say_prompt(GenerationRequest(turns)) == "system: Be brief.\n\nuser: Where?"
    assert say_prompt(GenerationRequest(text="Once")) == "Once"
