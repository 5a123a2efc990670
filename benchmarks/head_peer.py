"""The peer: FastAPI around transformers' own pipeline, one request at a time, as its documentation shows.

python -m benchmarks.head_peer --port N --model FOLDER
"""

import argparse
import threading
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.peer_server import peer_app, serve


class Question(BaseModel):
    """The body, as KServe's V1 protocol has it."""

    instances: list[dict[str, str]]


def build_app(folder: str) -> FastAPI:
    """One route."""
    from transformers import pipeline

    classify = pipeline("text-classification", model=folder, tokenizer=folder, device="cpu")
    turn = threading.Lock()
    app = peer_app()

    @app.post("/v1/models/model:predict")
    def predict(body: Question) -> dict[str, list[Any]]:
        # A pipeline is not made for several threads at once.
        with turn:
            found = classify([each["text"] for each in body.instances], top_k=None, truncation=True)
        return {"predictions": [{"label": scores[0]["label"], "scores": scores} for scores in found]}

    return app


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", required=True)
    given = parser.parse_args()
    serve(build_app(given.model), given.port)


if __name__ == "__main__":
    main()
