"""The task catalogue: parameters of preprocess_<task>, finetune_<task> and inference_<task>, checked before a run."""

from components.core.catalogue.checking import check_parameters, read_parameters
from components.core.catalogue.finetune import FINETUNE, FinetuneParameters
from components.core.catalogue.inference import InferenceParameters
from components.core.catalogue.preprocess import PREPROCESS, PreprocessParameters

__all__ = [
    "FINETUNE",
    "PREPROCESS",
    "FinetuneParameters",
    "InferenceParameters",
    "PreprocessParameters",
    "check_parameters",
    "read_parameters",
]
