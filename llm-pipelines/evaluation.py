"""Have a service LLM judge a local model's answers: similarity and precision, 0 to 100, and whether it is good enough.

`python -m llm-pipelines.evaluation --from-config FILE [--key value]`; every key of the file is a flag, which wins.
A word before the flags does something else: `calibrate` measures how far the judge can be trusted, `answer` asks the
service LLM the same instructions, `compare` holds two sets of judged answers against each other.
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also as a plain script, from any folder

from components.core.errors import user_errors


def judge() -> None:
    """Judge, write and say what came of it."""
    from components.core.judging import JudgeConfig, judge, say_result, write_judge_report

    config, settings = _configured(JudgeConfig, "evaluation")
    result = judge(config, settings)
    report = write_judge_report(result, config, settings)
    print(f"{say_result(result, config)}\nReport         {report}")


def calibrate() -> None:
    """Ask the judge about answers of known quality."""
    from components.core.judging import JudgeConfig, calibrate, say_calibration

    config, settings = _configured(JudgeConfig, "evaluation calibrate")
    print(say_calibration(calibrate(config, settings), config))


def answer() -> None:
    """Ask the service LLM what the local model was asked."""
    from components.core.judging import AnswerConfig, answer_instructions

    config, settings = _configured(AnswerConfig, "evaluation answer")
    where, rows = answer_instructions(config, settings)
    print(f"{rows} answers of {config.label}: {where}")


def compare() -> None:
    """Hold two sets of judged answers against each other."""
    from components.core.judging import CompareConfig, compare, say_comparison, write_compare_report

    config, settings = _configured(CompareConfig, "evaluation compare")
    found = compare(config, settings)
    print(f"{say_comparison(found)}\nReport         {write_compare_report(found, config, settings)}")


COMMANDS: dict[str, Callable[[], None]] = {"calibrate": calibrate, "answer": answer, "compare": compare}


def _configured(kind: type, tool: str) -> tuple:  # type: ignore[type-arg]
    found: tuple = importlib.import_module("llm-pipelines.from_config").configured(kind, tool, __doc__)  # type: ignore[type-arg]
    return found


def main() -> None:
    """Do what the first word says; judge without one."""
    command = COMMANDS.get(sys.argv[1]) if len(sys.argv) > 1 else None
    if command is not None:
        del sys.argv[1]
    with user_errors():
        try:
            (command or judge)()
        except KeyboardInterrupt:
            print("\nStopped. Everything that came is kept: the same command goes on from there.", file=sys.stderr)
            sys.exit(130)


if __name__ == "__main__":
    main()
