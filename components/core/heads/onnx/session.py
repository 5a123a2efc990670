"""Sessions of ONNX Runtime, each with one line in the log that proves what computes."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from components.core.errors import StorageError
from components.core.heads.batches import Batch

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

logger = logging.getLogger(__name__)

OUTPUT = "logits"


def open_session(path: Path) -> "InferenceSession":
    """Open an exported model on the CPU, with all graph optimisations.

    Raises:
        StorageError: If the file cannot be loaded.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises kinds of its own for each way in which a file is broken
        reason = " ".join(str(error).split())[:200]
        raise StorageError(f"{path} cannot be loaded by ONNX Runtime: {reason}. Run the fine-tuning again.") from error
    facts = describe(session)
    logger.info(
        "ONNX Runtime %s runs %s (%s), %d threads",
        facts["onnxruntime"], path.name, ", ".join(facts["providers"]), facts["threads"],
    )  # fmt: skip
    return session


def run(session: "InferenceSession", batch: Batch) -> npt.NDArray[Any]:
    """Outputs of padded inputs: shape (inputs, k), or (inputs, tokens, k) for words."""
    found: npt.NDArray[Any] = session.run([OUTPUT], dict(batch))[0]
    return found


def describe(session: "InferenceSession") -> dict[str, Any]:
    """The session log, as it stands in onnx.json."""
    import onnxruntime

    return {
        "onnxruntime": onnxruntime.__version__,
        "providers": session.get_providers(),
        "inputs": [each.name for each in session.get_inputs()],
        "threads": session.get_session_options().intra_op_num_threads,
    }
