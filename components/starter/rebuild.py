"""Rebuild the starter: `python -m components.starter.rebuild [--data-only]`."""

import argparse
import logging
from pathlib import Path

from components.starter.generate import write_data_set
from components.starter.task_rows import write_task_sets

HERE = Path(__file__).parent


def main() -> None:
    """Write the data sets and, unless told otherwise, train the tokenizer and pretrain the model."""
    parser = argparse.ArgumentParser(description="Rebuild the starter model and its data sets.")
    parser.add_argument("--data-only", action="store_true", help="write the data sets and stop")
    parser.add_argument("--output", type=Path, default=HERE, help="folder for data/, tasks/ and model/")
    parser.add_argument("--work", type=Path, default=Path("build/starter"), help="folder for the checkpoint")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    write_data_set(arguments.output / "data")
    write_task_sets(arguments.output / "tasks")
    if arguments.data_only:
        return
    # Imported here: the data sets need neither torch nor transformers.
    from components.starter.pretrain import PretrainingConfig, pretrain
    from components.starter.tokenizer import build_tokenizer

    pretrain(build_tokenizer(), arguments.output / "model", arguments.work, PretrainingConfig())


if __name__ == "__main__":
    main()
