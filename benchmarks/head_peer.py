"""The peer: FastAPI around transformers' own pipeline, one request at a time, as its documentation shows.

python -m benchmarks.head_peer --port N --model FOLDER
"""

import argparse
import threading
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel


class Question(BaseModel):
    """The body, as KServe's V1 protocol has it."""

    instances: list[dict[str, str]]


def build_app(folder: str) -> FastAPI:
    """One route."""
    from transformers import pipeline

    classify = pipeline("text-classification", model=folder, tokenizer=folder, device="cpu")
    turn = threading.Lock()
    app = FastAPI()

    @app.post("/v1/models/model:predict")
    def predict(body: Question) -> dict[str, list[Any]]:
        # A pipeline is not made for several threads at once.
        with turn:
            found = classify([each["text"] for each in body.instances], top_k=None, truncation=True)
        return {"predictions": [{"label": scores[0]["label"], "scores": scores} for scores in found]}

    @app.get("/readyz")
    def ready() -> dict[str, bool]:
        return {"ready": True}

    return app


def main() -> None:
    """Serve."""
    import uvicorn

    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", required=True)
    given = parser.parse_args()
    uvicorn.run(build_app(given.model), host="127.0.0.1", port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
