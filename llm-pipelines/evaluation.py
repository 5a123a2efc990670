"""Have a service LLM judge a local model's answers: similarity and precision, 0 to 100, and whether it is good enough.

`python -m llm-pipelines.evaluation --from-config FILE [--key value]`; every key of the file is a flag, which wins.
"""

import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also as a plain script, from any folder

from components.core.errors import user_errors


def main() -> None:
    """Judge, write and say what came of it."""
    configured = importlib.import_module("llm-pipelines.from_config").configured
    with user_errors():
        from components.core.judging import JudgeConfig, judge, say_result

        config, settings = configured(JudgeConfig, "evaluation", __doc__)
        try:
            result = judge(config, settings)
        except KeyboardInterrupt:
            print("\nStopped. Every judgement that came is kept: the same command goes on from there.", file=sys.stderr)
            sys.exit(130)
        print(say_result(result, config))


if __name__ == "__main__":
    main()
