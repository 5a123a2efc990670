"""The rounds of infer, judge, generate, merge, retrain: what was decided and why."""

from components.core.loop.config import LoopConfig, ReferenceConfig
from components.core.loop.deciding import decide
from components.core.loop.history import History, Round, Usage, read_history, write_history

__all__ = ["History", "LoopConfig", "ReferenceConfig", "Round", "Usage", "decide", "read_history", "write_history"]
