"""Open a model with OpenVINO: from the cache, or converted first."""

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llm_endpoint.engines.openvino.cache import fingerprint, read_entry, remove_entry
from llm_endpoint.engines.openvino.convert import Job
from llm_endpoint.engines.openvino.core import plan_kv_cache, usable_cores
from llm_endpoint.engines.openvino.export import WEIGHTS_FILE, NotConvertible, Precision
from llm_endpoint.engines.openvino.process import OpenVinoCore, describe_end, start_module
from llm_endpoint.errors import ModelError

logger = logging.getLogger(__name__)


def open_openvino_core(
    folder: Path,
    *,
    base_folder: Path | None,
    cache: Path,
    precision: Precision,
    threads: int | None,
    max_running: int,
    kv_cache_gb: float,
    context_length: int,
    prompts: Sequence[Sequence[int]] = (),
) -> OpenVinoCore:
    """Load a model into a core, after converting it where the cache has no conversion of it.

    Imports neither torch nor transformers; a conversion runs in a process of its own.

    Args:
        folder: Model folder, or an adapter.
        base_folder: The adapter's base model.
        cache: Folder of all conversions.
        precision: Of the weights; int8 is compared with fp32 for the record only: its evaluation decides about it.
        threads: CPU threads; None takes the cores that this process may use.
        max_running: Requests at once.
        kv_cache_gb: GiB of keys and values.
        context_length: Tokens of one request, prompt and answer together.
        prompts: Token ids of real prompts that a conversion is compared on, besides random ones.

    Raises:
        NotConvertible: If OpenVINO cannot serve this model, or not with the same tokens as transformers.
        ModelError: If the model cannot be loaded at all.
    """
    name = fingerprint(folder, base_folder, precision, context_length)
    job = Job(
        folder=str(folder),
        base_folder=str(base_folder) if base_folder else None,
        cache=str(cache),
        name=name,
        precision=precision,
        threads=threads or usable_cores(),
        kv_cache_gb=kv_cache_gb,
        context_length=context_length,
        prompts=tuple(tuple(prompt) for prompt in prompts),
    )
    found = read_entry(cache, name)
    if found is not None and "refused" not in found[1]:
        # a setting that cannot work says nothing about the conversion, which stays
        plan_kv_cache(found[1]["token_bytes"], kv_cache_gb, max_running, context_length)
        try:
            return _load(*found, job, max_running)
        except ModelError as error:
            logger.warning("The converted model in %s is broken and will be made again (%s)", found[0], error)
            remove_entry(found[0])
            found = None
    converted, record = found or _convert(job)
    try:
        if "refused" in record:
            raise NotConvertible(f"OpenVINO cannot serve {folder.name}: {record['refused']}.")
        return _load(converted, record, job, max_running)
    finally:
        if converted.parent != cache:
            shutil.rmtree(converted, ignore_errors=True)  # was for this run only; what is loaded stays loaded


def _load(converted: Path, record: dict[str, Any], job: Job, max_running: int) -> OpenVinoCore:
    logger.info("Loading %.1f MB of %s weights", (converted / WEIGHTS_FILE).stat().st_size / 1e6, job.precision)
    return OpenVinoCore(
        converted,
        precision=job.precision,
        max_running=max_running,
        token_bytes=record["token_bytes"],
        threads=job.threads,
        kv_cache_gb=job.kv_cache_gb,
        context_length=job.context_length,
    )


def _convert(job: Job) -> tuple[Path, dict[str, Any]]:
    logger.info("Converting the model for OpenVINO (once; about %d s)", _expected_seconds(job))
    process = start_module("llm_endpoint.engines.openvino.convert")
    try:
        output, _ = process.communicate(json.dumps(asdict(job)).encode() + b"\n")
    finally:
        process.kill()  # after an interrupt; harmless otherwise
    if not output:
        raise ModelError(f"the conversion for OpenVINO ended without a result ({describe_end(process)}).")
    answer = json.loads(output)
    if "error" in answer:
        raise ModelError(answer["error"])
    return Path(answer["folder"]), answer["record"]


def _expected_seconds(job: Job) -> int:
    folder = Path(job.base_folder or job.folder)
    gigabytes = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 2**30
    return round((7 + 40 * gigabytes) * (2 if job.precision == "int8" else 1))  # of one 2024 server core
