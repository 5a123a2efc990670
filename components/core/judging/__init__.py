"""A service LLM as the judge of answers: judgements, their verdict, and how far the judge itself can be trusted."""

from components.core.judging.calibration import Calibration, calibrate
from components.core.judging.comparison import CompareConfig, Comparison, compare, compare_rows
from components.core.judging.config import JudgeConfig
from components.core.judging.judging import EVAL_COLUMNS, JudgeResult, judge
from components.core.judging.report import write_compare_report, write_judge_report
from components.core.judging.service_answers import AnswerConfig, answer_instructions
from components.core.judging.summary import say_calibration, say_comparison, say_result
from components.core.judging.verdict import Verdict

__all__ = [
    "EVAL_COLUMNS",
    "AnswerConfig",
    "Calibration",
    "CompareConfig",
    "Comparison",
    "JudgeConfig",
    "JudgeResult",
    "Verdict",
    "answer_instructions",
    "calibrate",
    "compare",
    "compare_rows",
    "judge",
    "say_calibration",
    "say_comparison",
    "say_result",
    "write_compare_report",
    "write_judge_report",
]
