"""Make new training rows with a service LLM, after reference rows and rows that the local model answered badly.

`python -m llm-pipelines.data_gen --from-config FILE [--key value]`; every key of the file is a flag, which wins.
"""

import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also as a plain script, from any folder

from components.core.errors import user_errors


def main() -> None:
    """Generate, write and say how it went."""
    configured = importlib.import_module("llm-pipelines.from_config").configured
    with user_errors():
        from components.core.synthesis import DataGenConfig, generate, say_end

        config, settings = configured(DataGenConfig, "data_gen", __doc__)
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
