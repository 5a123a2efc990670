"""Parameters of inference_<task>."""

from typing import Literal

from components.core.catalogue.values import Key, OptionalText, Parameters


class InferenceParameters(Parameters):
    """What is predicted, and with which model; the same for all tasks."""

    model_path: Key
    """Folder of the fine-tuned model."""
    test_file: Key
    """File of the rows to predict, or the output of a preprocess, whose test split is meant."""
    deepspeed: OptionalText = None
    """DeepSpeed configuration, a JSON file."""
    runtime: Literal["auto", "pytorch", "onnxruntime"] = "auto"
    """What computes; `auto` is ONNX Runtime where the model was exported (`apply_ort`), else PyTorch."""
    weights: Literal["fp32", "int8"] = "fp32"
    """int8 only where the export's gate passed it (`ort_quantization`)."""
