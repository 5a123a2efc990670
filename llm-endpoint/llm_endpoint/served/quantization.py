"""The word on int8 weights, which stands beside the model (contract 1): served only where a gate has passed them."""

import json
import logging
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from llm_endpoint.errors import ModelError
from llm_endpoint.served.folder import MANIFEST_FILE

logger = logging.getLogger(__name__)

QUANTIZATION_FILE = "quantization.json"
FORMAT = 1


def check_int8_passed(folder: Path) -> None:
    """Make sure that a gate has passed int8 for the very weights in a model folder.

    Raises:
        ModelError: If there is no verdict, if it is of other weights, or if it is no; with the remedy.
    """
    if not (folder / MANIFEST_FILE).is_file():
        raise ModelError(
            f"WEIGHTS=int8, but {folder} has no {MANIFEST_FILE}: int8 is judged for model folders that were "
            "published here only. Unset WEIGHTS."
        )
    remedy = f"Run `python -m llm-pipelines.gate-int8 --model {folder} --dataset-dir ...` first, or unset WEIGHTS."
    path = folder / QUANTIZATION_FILE
    if not path.is_file():
        raise ModelError(f"WEIGHTS=int8, but nobody has judged int8 for {folder}: it has no {path.name}. {remedy}")
    try:
        judged, manifest = _read(path), _read(folder / MANIFEST_FILE)
        verdict = judged["int8"]
        status, headline = str(verdict["status"]), str(verdict["headline"])
        form, content = judged["format"], judged["content_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is no verdict on int8 ({type(error).__name__}: {error}). {remedy}") from error
    if form != FORMAT:
        raise ModelError(f"{path} has the format {form}; this endpoint reads {FORMAT}. {remedy}")
    if not content or content != manifest.get("content_sha256"):
        raise ModelError(f"WEIGHTS=int8, but the verdict in {path} is of other weights than those beside it. {remedy}")
    if status != "passed":
        raise ModelError(f"WEIGHTS=int8, but int8 did not pass for this model. {headline}. Unset WEIGHTS.")
    _compare_versions(verdict.get("openvino"))


def _compare_versions(judged: Any) -> None:
    try:
        here = version("openvino")
    except PackageNotFoundError:
        return  # opening the engine says so
    if judged and judged != here:
        logger.warning("int8 was judged with OpenVINO %s and is served with %s: judge it again", judged, here)


def _read(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise TypeError("not a JSON object")
    return content
