"""Let a model answer every row of a dataset, and save the answers as another: docs/batch-inference.md."""

import sys
from importlib import import_module
from pathlib import Path

if not __package__:
    # run by its path: Python put this folder first, and what is imported lies in the one above
    sys.path[0] = str(Path(__file__).resolve().parents[1])


def main() -> None:
    """Answer, and say where the answers are."""
    from components.core.errors import user_errors
    from components.core.responses import BatchInferenceConfig, infer

    with user_errors():
        config, settings = import_module("llm-pipelines.from_config").configured(
            BatchInferenceConfig, "batch_inference", __doc__
        )
        result = infer(config, settings)
        print(f"{result.rows} answers of {result.model_id} at {result.model_sha} are in {result.where}", flush=True)


if __name__ == "__main__":
    main()
