"""Parameters of inference_<task>."""

from components.core.catalogue.values import Key, OptionalText, Parameters


class InferenceParameters(Parameters):
    """What is predicted, and with which model; the same for all tasks."""

    model_path: Key
    """Folder of the fine-tuned model."""
    test_file: Key
    """File of the rows to predict."""
    deepspeed: OptionalText = None
    """DeepSpeed configuration, a JSON file."""
