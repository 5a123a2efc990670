"""A head in ONNX Runtime, from the model.onnx that the training compared with PyTorch."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy.typing as npt

from llm_endpoint.engines.heads.seam import Batch
from llm_endpoint.errors import ModelError
from llm_endpoint.heads.head import Head

logger = logging.getLogger(__name__)

ONNX_FILE = "model.onnx"
ONNX_INT8_FILE = "model.int8.onnx"
ONNX_INFO_FILE = "onnx.json"
_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


class OnnxRuntime:
    """One session.

    Args:
        folder: The model folder.
        head: Of the model.
        precision: fp32 or int8.
        threads: CPU threads.

    Raises:
        ModelError: If the file is missing, cannot be loaded, or takes other inputs than the head gives.
    """

    name = "onnxruntime"

    def __init__(self, folder: Path, head: Head, precision: str, threads: int) -> None:
        import onnxruntime

        self.precision = precision
        path = folder / (ONNX_INT8_FILE if precision == "int8" else ONNX_FILE)
        if not path.is_file():
            raise ModelError(f"{folder} holds no {path.name}. Train with apply_ort, or set ENGINE=transformers.")
        here = onnxruntime.get_available_providers()
        # Two batches on half of the cores each get more done than one on all: measured in benchmarks/head_serving.py.
        self.lanes = 1 if _PROVIDERS[0] in here else min(2, threads)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = -(-threads // self.lanes)  # rounded up
        # a thread that spins while it waits takes its core from the requests
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        onnxruntime.set_default_logger_severity(3)
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=[name for name in _PROVIDERS if name in here]
            )
        except Exception as error:  # the library's own exceptions have no common base
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ModelError(f"cannot load {path}: {first}. Publish the model folder again.") from error
        self._inputs = [each.name for each in self._session.get_inputs()]
        given = {"input_ids", "attention_mask"} | ({"token_type_ids"} if head.token_type_ids else set())
        if not set(self._inputs) <= given:
            raise ModelError(f"{path} asks for {sorted(set(self._inputs) - given)}, which head.json does not name.")
        self._output = self._session.get_outputs()[0].name
        logger.info(
            "Runtime: ONNX Runtime %s, %s, %d batches at once on %d threads each, %s",
            onnxruntime.__version__, ", ".join(self._session.get_providers()), self.lanes,
            options.intra_op_num_threads, path.name,
        )  # fmt: skip

    def run(self, batch: Batch) -> npt.NDArray[Any]:
        """Logits of a batch."""
        (logits,) = self._session.run([self._output], {name: batch[name] for name in self._inputs})
        found: npt.NDArray[Any] = logits
        return found


def check_head_int8_passed(folder: Path) -> None:
    """Make sure that the training's gate has passed int8 for this model.

    Raises:
        ModelError: If it has not, or says nothing.
    """
    path = folder / ONNX_INFO_FILE
    try:
        verdict: Any = json.loads(path.read_text(encoding="utf-8"))["int8"]
        passed, reason = (False, "it was not asked for") if verdict is None else (verdict["passed"], verdict["reason"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"WEIGHTS=int8, but nobody has judged int8 for {folder}: it has no readable {path.name}. Unset WEIGHTS."
        ) from error
    if passed is not True:
        raise ModelError(f"WEIGHTS=int8, but int8 did not pass for this model: {reason}. Unset WEIGHTS.")
