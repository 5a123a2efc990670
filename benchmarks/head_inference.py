"""Batch inference of a classification head against transformers' own pipeline, on 5,000 rows of mixed lengths.

python -m benchmarks.head_inference

Peer: `transformers.pipeline("text-classification", batch_size=16)` on the same weights in the same process, with the
same threads. The model is benchmarks/random_encoder.py's.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.random_encoder import make_model, make_rows
from components.core.heads.inference import open_predictor, predict
from components.core.heads.onnx import export_onnx
from components.core.settings import Settings
from components.core.tasks import get_head_task

RESULTS = Path(__file__).parent / "results" / "head_inference.json"


def main() -> None:
    """Measure in turn, print the ratios, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    from transformers import pipeline

    rows = make_rows(given.rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder, rows)
        export_onnx(folder, rows[:200], "int8", Settings())
        task = get_head_task("single_label")
        ours = {runtime: open_predictor(folder, Settings(), runtime) for runtime in ("pytorch", "onnxruntime")}
        peer = pipeline("text-classification", model=str(folder), tokenizer=str(folder), batch_size=16, device="cpu")
        texts = [row["text"] for row in rows]

        def ask_peer() -> list[str]:
            return [each["label"] for each in peer(texts, truncation=True)]

        def ask_ours(runtime: str) -> list[str]:
            return [each["label"] for each in predict(ours[runtime], task, rows)]

        contenders = {
            "pipeline": ask_peer,
            "pytorch": lambda: ask_ours("pytorch"),
            "onnxruntime": lambda: ask_ours("onnxruntime"),
        }
        seconds: dict[str, list[float]] = {contender: [] for contender in contenders}
        labels: dict[str, list[str]] = {}
        for _ in range(given.rounds):
            for contender, ask in contenders.items():
                started = time.perf_counter()
                labels[contender] = ask()  # type: ignore[no-untyped-call]
                seconds[contender].append(time.perf_counter() - started)
                print(f"  {contender:<12} {given.rows / seconds[contender][-1]:8.0f} rows/s", flush=True)
    speed = {contender: given.rows / median(values) for contender, values in seconds.items()}
    same = {
        contender: sum(a == b for a, b in zip(labels["pipeline"], found, strict=True)) / given.rows
        for contender, found in labels.items()
    }
    result = {
        "rows": given.rows,
        "rounds": given.rounds,
        "rows_per_second": {contender: round(value, 1) for contender, value in speed.items()},
        "pytorch_over_pipeline": round(speed["pytorch"] / speed["pipeline"], 2),
        "onnxruntime_over_pipeline": round(speed["onnxruntime"] / speed["pipeline"], 2),
        "onnxruntime_over_pytorch": round(speed["onnxruntime"] / speed["pytorch"], 2),
        "same_labels_as_pipeline": same,
    }
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
