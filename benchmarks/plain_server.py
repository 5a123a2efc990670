"""The peer: the plainest server of a transformers model that one would write, streaming as the documentation shows.

Run as `python -m benchmarks.plain_server --model FOLDER --port N --threads N`.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from llm_endpoint.served.prompt import STANDARD_PROMPT
from pydantic import BaseModel

from benchmarks.peer_server import peer_app, serve


class Question(BaseModel):
    """The body."""

    question: str
    context: str
    max_new_tokens: int = 512


def build_app(folder: Path) -> FastAPI:
    """Load the model; one route."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, TextIteratorStreamer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    app = peer_app()

    @app.post("/generate")
    def generate(body: Question) -> StreamingResponse:
        prompt = STANDARD_PROMPT.template.replace("{context}", body.context).replace("{question}", body.question)
        inputs = tokenizer(prompt, return_tensors="pt")
        streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
        options = {"max_new_tokens": body.max_new_tokens, "do_sample": False, "repetition_penalty": 1.03}
        Thread(target=model.generate, kwargs={**inputs, **options, "streamer": streamer}).start()

        def events() -> Iterator[str]:
            for text in streamer:
                if text:
                    yield f"data: {json.dumps({'delta': text})}\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    return app


def main() -> None:
    """Serve."""
    import torch

    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    serve(build_app(given.model), given.port)


if __name__ == "__main__":
    main()
