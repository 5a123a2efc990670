"""Convert one model, in a process of its own: torch and transformers leave the memory when it ends.

Run as `python -m llm_endpoint.engines.openvino.convert`, with a job as JSON on standard input.
"""

import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llm_endpoint.engines.openvino.cache import make_partial, publish
from llm_endpoint.engines.openvino.core import GenAiCore, last_line, load_core, plan_kv_cache
from llm_endpoint.engines.openvino.equality import (
    NEW_TOKENS,
    Equality,
    check_equality,
    generate,
    sample_prompts,
    shared_length,
)
from llm_endpoint.engines.openvino.export import (
    MODEL_FILE,
    WEIGHTS_FILE,
    NotConvertible,
    Precision,
    compress_weights,
    convert_model,
    save_converted,
    token_bytes,
)
from llm_endpoint.engines.torch_model import load_torch_model
from llm_endpoint.errors import EndpointError, GenerationError, ModelError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One conversion; paths as text, since it crosses a process's border."""

    folder: str
    base_folder: str | None
    cache: str
    name: str
    """Fingerprint, and so the entry's name."""
    precision: Precision
    threads: int
    kv_cache_gb: float
    context_length: int
    prompts: tuple[tuple[int, ...], ...]
    """Real prompts to compare, besides the random ones."""


def convert(job: Job) -> tuple[Path, dict[str, Any]]:
    """Convert, compare with transformers, and put the result into the cache.

    Returns:
        The folder and its record; a refusal is a result, too, and not tried again.

    Raises:
        ModelError: If the model cannot be loaded.
    """
    import torch

    torch.set_num_threads(job.threads)
    folder = Path(job.folder)
    try:
        model = load_torch_model(folder, Path(job.base_folder) if job.base_folder else None)
    except (EndpointError, MemoryError):
        raise
    except Exception as error:  # broken files raise errors of many libraries
        message = f"cannot load the model in {folder.name}: {last_line(error)}. Publish the model folder again."
        raise ModelError(message) from error
    cache = Path(job.cache)
    partial = make_partial(cache)
    try:
        record = _convert_into(partial, model, job)
    except NotConvertible as error:
        _remove_model(partial)
        record = {"refused": str(error)}
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return publish(partial, cache, job.name, record), record


def _convert_into(partial: Path, model: Any, job: Job) -> dict[str, Any]:
    started = time.monotonic()
    converted = convert_model(model, job.context_length)
    bytes_per_token = token_bytes(converted)
    save_converted(converted, partial)
    prompts: list[Sequence[int]] = [*sample_prompts(model.config, job.context_length), *job.prompts]
    core = _load(partial, job, bytes_per_token, len(prompts))
    prompts = [prompt for prompt in prompts if len(prompt) + NEW_TOKENS <= core.context_length]
    try:
        equality = check_equality(core, model, prompts)
    except GenerationError as error:
        raise NotConvertible(f"OpenVINO fails on it: {error}") from error
    record: dict[str, Any] = {"precision": job.precision, "token_bytes": bytes_per_token, "equality": asdict(equality)}
    if job.precision == "int8":
        exact = generate(core, prompts, 1.0)
        core.close()
        _remove_model(partial)  # a new file, since the old one may still be mapped into memory
        compress_weights(converted)
        save_converted(converted, partial)
        core = _load(partial, job, bytes_per_token, len(prompts))
        record["int8_agreement"] = _agreement(exact, generate(core, prompts, 1.0))
        logger.info("int8 chooses %.0f%% of the tokens that fp32 chooses", 100 * record["int8_agreement"])
    core.close()
    _log_success(equality, time.monotonic() - started)
    return record


def _load(partial: Path, job: Job, bytes_per_token: int, max_running: int) -> GenAiCore:
    # outside: a setting that cannot work is no refusal of the model, and is not remembered as one
    plan_kv_cache(bytes_per_token, job.kv_cache_gb, max_running, job.context_length)
    try:
        return load_core(
            partial,
            precision=job.precision,
            token_bytes=bytes_per_token,
            threads=job.threads,
            max_running=max_running,
            kv_cache_gb=job.kv_cache_gb,
            context_length=job.context_length,
        )
    except ModelError as error:
        raise NotConvertible(str(error)) from error


def _agreement(exact: list[list[int]], answers: list[list[int]]) -> float:
    """Share of the tokens up to each answer's first difference: what follows one has another past."""
    same = sum(shared_length(left, right) for left, right in zip(exact, answers, strict=True))
    return same / sum(len(left) for left in exact)


def _log_success(equality: Equality, seconds: float) -> None:
    logger.info(
        "Converted for OpenVINO in %.0f s: %d tokens of %d prompts are those of transformers, %d ties",
        seconds,
        equality.tokens,
        equality.prompts,
        equality.ties,
    )


def _remove_model(folder: Path) -> None:
    for name in (MODEL_FILE, WEIGHTS_FILE):
        (folder / name).unlink(missing_ok=True)


def _silence_transformers() -> None:
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def main() -> None:
    """Read a job, write one line of JSON: the folder and the record, or the error."""
    # OpenVINO would report its use to its makers, from a forked process that may outlive this one
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    reply = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever libraries print must not get between
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
    for name in (__name__, "llm_endpoint"):  # run as a module, this one is called __main__
        logging.getLogger(name).setLevel(logging.INFO)
    _silence_transformers()
    job = Job(**json.loads(sys.stdin.readline()))
    try:
        folder, record = convert(job)
        answer: dict[str, Any] = {"folder": str(folder), "record": record}
    except EndpointError as error:
        answer = {"error": str(error)}
    except RuntimeError as error:  # OpenVINO's and torch's own
        answer = {"error": f"the conversion for OpenVINO failed: {last_line(error)}"}
    except MemoryError:
        answer = {"error": "there is not enough memory to convert the model"}
    except OSError as error:
        answer = {"error": f"cannot write the converted model: {error.strerror}. Free some space in {job.cache}."}
    reply.write(json.dumps(answer) + "\n")
    reply.flush()


if __name__ == "__main__":
    main()
