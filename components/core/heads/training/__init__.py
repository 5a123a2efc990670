"""Fine-tuning of models with a head: a preprocess folder in, a model folder out."""

from components.core.heads.training.finetuning import finetune_head
from components.core.heads.training.result import HeadTrainingResult

__all__ = ["HeadTrainingResult", "finetune_head"]
