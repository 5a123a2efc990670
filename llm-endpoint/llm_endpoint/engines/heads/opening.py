"""Which runtime serves a model with a head, decided once at start."""

import logging
from pathlib import Path

from llm_endpoint.engines.heads.onnxruntime import ONNX_FILE, OnnxRuntime, check_head_int8_passed
from llm_endpoint.engines.heads.pytorch import PyTorchRuntime
from llm_endpoint.engines.heads.seam import Runtime
from llm_endpoint.engines.openvino.core import usable_cores
from llm_endpoint.errors import ModelError
from llm_endpoint.heads.head import HEAD_FILE, Head
from llm_endpoint.served.folder import ServedModel
from llm_endpoint.settings import Settings

logger = logging.getLogger(__name__)


def refuse_remote(settings: Settings) -> None:
    """A model with a head runs here: no other server would answer for it.

    Raises:
        ModelError: If MODEL is such a folder.
    """
    if (Path(settings.model) / HEAD_FILE).is_file():
        raise ModelError(
            f"{settings.model} is a model with a head, which no OpenAI-compatible server answers for. "
            "Unset OPENAI_BASE_URL, and set ENGINE to auto, onnxruntime or transformers."
        )


def open_runtime(settings: Settings, served: ServedModel, head: Head) -> Runtime:
    """Load the model; blocks.

    Raises:
        ModelError: If the settings ask for what this model does not have.
    """
    threads = settings.threads or usable_cores()
    engine, folder = settings.engine, served.folder
    if engine in ("openvino", "openai"):
        raise ModelError(
            f"ENGINE is {engine}, which serves text models only; {served.name} has a {head.task} head. "
            "Set ENGINE to auto, onnxruntime or transformers."
        )
    if settings.weights == "int8":
        if engine == "transformers":
            raise ModelError("WEIGHTS=int8 needs ONNX Runtime. Unset ENGINE or WEIGHTS.")
        check_head_int8_passed(folder)
    if engine == "onnxruntime" or settings.weights == "int8":
        return OnnxRuntime(folder, head, settings.weights, threads)
    if engine == "auto" and (folder / ONNX_FILE).is_file():
        try:
            return OnnxRuntime(folder, head, settings.weights, threads)
        except (ModelError, ImportError) as error:
            logger.warning("Serving with PyTorch instead of ONNX Runtime: %s", error)
    return PyTorchRuntime(folder, served.base_folder, head, threads)
