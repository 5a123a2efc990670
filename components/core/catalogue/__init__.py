"""The task catalogue: parameters of its preprocess, finetune, inference and evaluate components, checked first."""

from components.core.catalogue.checking import check_parameters, read_parameters
from components.core.catalogue.finetune import FINETUNE, FinetuneParameters
from components.core.catalogue.gate import EVALUATE, HeadGate
from components.core.catalogue.inference import InferenceParameters
from components.core.catalogue.preprocess import PREPROCESS, PreprocessParameters

__all__ = [
    "EVALUATE",
    "FINETUNE",
    "PREPROCESS",
    "FinetuneParameters",
    "HeadGate",
    "InferenceParameters",
    "PreprocessParameters",
    "check_parameters",
    "read_parameters",
]
