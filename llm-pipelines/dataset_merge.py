"""Make one dataset of two, or of one and users' feedback: checked, without copies and without test rows.

`python -m llm-pipelines.dataset_merge --from-config FILE [--key value]`; every key of the file is a flag, which wins.
"""

import sys
from importlib import import_module
from pathlib import Path

if not __package__:
    # run by its path: Python put this folder first, and what is imported lies in the one above
    sys.path[0] = str(Path(__file__).resolve().parents[1])

_SHOWN = 5


def main() -> None:
    """Merge, write and say what was left out, with row numbers."""
    from components.core.errors import user_errors
    from components.core.synthesis import DatasetMergeConfig, merge, say_counts

    with user_errors():
        config, settings = import_module("llm-pipelines.from_config").configured(
            DatasetMergeConfig, "dataset_merge", __doc__
        )
        result = merge(config, settings)
        for name, rows in result.kept.items():
            print(f"{rows:>8,} rows of {name}")
        print(
            f"{result.rows:>8,} rows in {config.result_train_split}, {result.test_rows:,} in {config.result_test_split}"
        )
        print(f"Left out: {say_counts(result.counts())}.")
        for reason in result.counts():
            shown = [each for each in result.dropped if each.reason == reason]
            for each in shown[:_SHOWN]:
                print(f"  {each.place}: {each.message}")
            if len(shown) > _SHOWN:
                print(f"  and {len(shown) - _SHOWN:,} more like it")
        print(f"Rows   {result.where}\nReport {result.report}")


if __name__ == "__main__":
    main()
