"""A service LLM as the judge of answers: judgements, their verdict, and how far the judge itself can be trusted."""

from components.core.judging.config import JudgeConfig
from components.core.judging.judging import EVAL_COLUMNS, JudgeResult, judge
from components.core.judging.summary import say_result
from components.core.judging.verdict import Verdict

__all__ = ["EVAL_COLUMNS", "JudgeConfig", "JudgeResult", "Verdict", "judge", "say_result"]
