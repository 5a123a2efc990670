"""From raw rows and a base model to a folder that fine-tuning starts from."""

from components.core.heads.preprocess.preprocessing import PreprocessReport, preprocess

__all__ = ["PreprocessReport", "preprocess"]
