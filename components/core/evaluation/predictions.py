"""Predictions of one model on the test rows, kept in a cache so that base and champion are not asked twice."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from components.core.errors import ConfigError
from components.core.evaluation.candidates import Candidate
from components.core.evaluation.generation import generate_greedy, stop_rule
from components.core.evaluation.likelihood import RowLoss, answer_losses
from components.core.recipe import EvaluationConfig
from components.core.tasks import Row, Task, references_of, set_chat_template
from components.core.tasks.rendering import layout

logger = logging.getLogger(__name__)

_FORMAT = 1
"""Part of every cache key: raise it when the same settings would generate something else."""


@dataclass(frozen=True)
class Predictions:
    """Generated texts in row order, before the task reads them out."""

    texts: list[str]
    cut: list[bool]
    """Rows whose context lost its end to fit."""
    seconds: float
    cached: bool
    losses: list[RowLoss] = field(default_factory=list)
    """Likelihood of each row's right answers; empty for a task that is not measured by it."""


@dataclass(frozen=True)
class Answers:
    """What one model said, and what it is worth, in row order."""

    answers: list[str]
    """Read out by the task; "" says that there is no answer."""
    scores: list[dict[str, float]]


def fingerprint_rows(rows: Sequence[Row]) -> str:
    """Hash of the test rows, their order included."""
    text = "\n".join(json.dumps(row, sort_keys=True, ensure_ascii=False) for row in rows)
    return hashlib.sha256(text.encode()).hexdigest()


def predict(
    candidate: Candidate,
    task: Task,
    rows: Sequence[Row],
    config: EvaluationConfig,
    cache_dir: Path,
    open_model: Callable[[], tuple[Any, Any]],
) -> Predictions:
    """Ask a model every question, or take its answers from the cache.

    Args:
        candidate: The model.
        task: Writes the prompts and reads the answers out.
        rows: The test rows.
        config: How answers are generated.
        cache_dir: Where answers are kept.
        open_model: Loads model and tokenizer; not called where the cache knows the answers.

    Raises:
        ConfigError: If the answer alone fills what the model can read.
        StorageError: If the model cannot be loaded.
    """
    one_line = stays_on_a_line(candidate, rows)
    path = cache_dir / "predictions" / f"{_cache_key(candidate, task, rows, config, one_line)}.json"
    known = _read_cache(path, len(rows), bool(task.loss_on))
    if known is not None:
        logger.info("%s: %d answers taken from the cache", candidate.name, len(rows))
        return known
    started = time.monotonic()
    model, tokenizer = open_model()
    set_chat_template(tokenizer, candidate.prompt)
    limit = context_length(model.config.get_text_config(), tokenizer) - config.max_new_tokens
    if limit < 1:
        raise ConfigError(
            f"evaluation.max_new_tokens is {config.max_new_tokens}, which leaves the {candidate.name} model no room "
            f"for a prompt: it reads {limit + config.max_new_tokens} tokens in all. Choose fewer tokens."
        )
    prompts = task.encode_prompts(rows, tokenizer, candidate.prompt, limit)
    stop = stop_rule(model, tokenizer, layout(tokenizer, candidate.prompt.chat_template).stop_ids, one_line)
    answers = generate_greedy(
        model,
        prompts.input_ids,
        stop,
        config.max_new_tokens,
        config.tokens_per_batch,
        candidate.name,
        config.repetition_penalty,
    )
    texts = tokenizer.batch_decode(answers, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    if one_line:
        texts = [text.strip().partition("\n")[0] for text in texts]
    losses: list[RowLoss] = []
    if task.loss_on:
        whole = task.encode(rows, tokenizer, candidate.prompt, limit + config.max_new_tokens, True)
        losses = answer_losses(model, whole)
    found = Predictions(texts, prompts.cut, time.monotonic() - started, cached=False, losses=losses)
    logger.info(
        "%s: answered %d rows in %.1f s (%d tokens)", candidate.name, len(rows), found.seconds, sum(map(len, answers))
    )
    _write_cache(path, found)
    return found


def stays_on_a_line(candidate: Candidate, rows: Sequence[Row]) -> bool:
    """Whether a line break ends an answer.

    A base model never stops by itself, so with a plain prompt one answer is one line; unless the references themselves
    run over lines, or the model has learned to end a chat turn.
    """
    return not candidate.prompt.chat_template and not any(
        "\n" in reference for row in rows for reference in references_of(row)
    )


def context_length(config: Any, tokenizer: Any) -> int:
    """Tokens that a model can read."""
    limits = [getattr(config, "max_position_embeddings", None), tokenizer.model_max_length]
    return min(int(limit) for limit in limits if limit)


def _cache_key(candidate: Candidate, task: Task, rows: Sequence[Row], config: EvaluationConfig, one_line: bool) -> str:
    import torch
    import transformers

    identity = {
        "format": _FORMAT,
        "weights": candidate.weights_sha256,
        "settings": candidate.settings_sha256,
        "prompt": asdict(candidate.prompt),
        "rows": fingerprint_rows(rows),
        "max_new_tokens": config.max_new_tokens,
        "repetition_penalty": config.repetition_penalty,
        "one_line": one_line,
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "transformers": transformers.__version__,
    }
    if task.loss_on:
        identity["loss_on"] = task.loss_on
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _read_cache(path: Path, rows: int, with_losses: bool) -> Predictions | None:
    stored = read_cached(path)
    if stored is None:
        return None
    try:
        losses = [(float(loss), int(tokens)) for loss, tokens in stored.get("losses", [])]
        found = Predictions(list(stored["texts"]), list(stored["cut"]), 0.0, cached=True, losses=losses)
    except (ValueError, KeyError, TypeError) as error:
        logger.warning("%s is damaged (%s); the model is asked again", path, error)
        return None
    whole = len(found.texts) == len(found.cut) == rows and len(losses) == (rows if with_losses else 0)
    return found if whole else None


def _write_cache(path: Path, found: Predictions) -> None:
    write_cached(path, {"texts": found.texts, "cut": found.cut} | ({"losses": found.losses} if found.losses else {}))


def read_cached(path: Path) -> dict[str, Any] | None:
    """What was kept in a file of the cache; None where there is none, or it is damaged."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(stored, dict):
            raise TypeError("no object")
        return stored
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        logger.warning("%s is damaged (%s); the model is asked again", path, error)
        return None


def write_cached(path: Path, content: Mapping[str, Any]) -> None:
    """Keep something in a file of the cache."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # written aside and renamed, so that a killed run or two at once never leave half a file
    partial = path.with_name(f".{path.name}.{time.time_ns()}.partial")
    partial.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    partial.replace(path)
