"""Fine-tuning: token ids in, model folder out."""

from components.core.training.finetuning import finetune
from components.core.training.result import TrainingResult

__all__ = ["TrainingResult", "finetune"]
