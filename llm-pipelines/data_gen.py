"""Make new training rows with a service LLM, after reference rows and rows that the local model answered badly.

`python -m llm-pipelines.data_gen --from-config FILE [--key value]`; every key of the file is a flag, which wins.
"""

import sys
from importlib import import_module
from pathlib import Path

if not __package__:
    # run by its path: Python put this folder first, and what is imported lies in the one above
    sys.path[0] = str(Path(__file__).resolve().parents[1])


def main() -> None:
    """Generate, write and say how it went."""
    from components.core.errors import user_errors
    from components.core.synthesis import DataGenConfig, generate, say_end

    with user_errors():
        config, settings = import_module("llm-pipelines.from_config").configured(DataGenConfig, "data_gen", __doc__)
        try:
            result = generate(config, settings)
        except KeyboardInterrupt:
            print("\nStopped. What came is kept: the same command goes on from there.", file=sys.stderr)
            sys.exit(130)
        usage = result.usage
        print(say_end(config, result))
        print(f"Tokens     {usage.input_tokens:,} in, {usage.output_tokens:,} out ({usage.requests:,} requests)")
        if usage.cost:
            print(f"Cost       {usage.cost:,.4f} USD")
        print(f"Rows       {result.where}\nProvenance {result.provenance}\nReport     {result.page}")


if __name__ == "__main__":
    main()
