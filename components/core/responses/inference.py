"""Batch inference: every row of a dataset, answered by a model `repeat` times, as the rows of another dataset."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from components.core.errors import StorageError
from components.core.evaluation.predictions import context_length
from components.core.registry.names import public_name
from components.core.responses.choosing import Sampling
from components.core.responses.config import BatchInferenceConfig
from components.core.responses.generation import Generator, Job
from components.core.responses.journal import Journal
from components.core.responses.opening import FoundModel, find_model, open_model, open_tokenizer
from components.core.responses.questions import Question, encode_questions, read_questions
from components.core.settings import Settings
from components.core.tables import check_target, read_rows, target_place, target_rows, write_rows

logger = logging.getLogger(__name__)

COLUMNS = ("instructions", "target_responses", "candidate_responses", "model_id", "model_sha")
_FORMAT = 1
"""Part of a journal's name: raise it when the same configuration would answer otherwise."""
_PROGRESS_SECONDS = 5.0


@dataclass(frozen=True)
class InferResult:
    """What was written."""

    rows: int
    """Answers of this run: rows of the dataset times `repeat`."""
    where: str
    """File, or address on the Hub."""
    model_id: str
    model_sha: str


def infer(config: BatchInferenceConfig, settings: Settings) -> InferResult:
    """Answer every row and write the answers; a run that was killed goes on where it was.

    Raises:
        ConfigError: If the configuration is impossible.
        DataError: If a row cannot be asked, or the answers do not fit to those that they are put below.
        StorageError: If model or rows cannot be read, or the answers not be written.
        RegistryError: If a registered model cannot be used.
    """
    check_target(
        config.lm_response_ds_id, config.lm_response_ds_split, settings, append=config.lm_response_append,
        push_to_hub=config.push_lm_responses_to_hf_hub, columns=COLUMNS,
    )  # fmt: skip
    where = f"{public_name(config.test_ds_id)}, split {config.test_ds_split}"
    questions = read_questions(read_rows(config.test_ds_id, config.test_ds_split, settings), where)
    found = find_model(config, settings)
    name = _journal_name(config, found, questions)
    with Journal(settings.whetstone_home.resolve() / "batch_inference" / name) as journal:
        _answer_all(config, found, questions, journal, where)
        rows = _rows(config, found, questions, journal)
        place = _write(config, rows, journal, settings)
        journal.remove()
    return InferResult(len(rows), place, found.model_id, found.sha)


def _journal_name(config: BatchInferenceConfig, found: FoundModel, questions: Sequence[Question]) -> str:
    """Names the work: another model, row or way to answer is another one; another batch size, or place, is not."""
    how = {
        "repeat",
        "max_new_tokens",
        "do_sample",
        "temperature",
        "top_p",
        "repetition_penalty",
        "seed",
        "long_prompts",
    }
    identity = {
        "format": _FORMAT,
        "config": config.model_dump(mode="json", include=how),
        "model": [found.sha, found.candidate.weights_sha256, found.candidate.settings_sha256],
        "rows": [[each.messages, each.target] for each in questions],
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]


def _answer_all(
    config: BatchInferenceConfig, found: FoundModel, questions: Sequence[Question], journal: Journal, where: str
) -> None:
    """Put every answer that is not there yet into the journal."""
    # answers that are not drawn are all the same, so one is enough
    repeats = range(config.repeat if config.do_sample else 1)
    wanted = {row: [each for each in repeats if (row, each) not in journal.known] for row in range(len(questions))}
    total, left = len(questions) * len(repeats), sum(map(len, wanted.values()))
    if left < total:
        logger.info("%d of %d answers are there from a run that was stopped", total - left, total)
    if not left:
        return
    tokenizer = open_tokenizer(found)
    context = _context_length(found, tokenizer)
    prompts = encode_questions(questions, tokenizer, found.candidate.prompt, context, config, where)
    jobs = [Job(row, prompts[row], missing) for row, missing in wanted.items() if missing]
    opened = open_model(found)
    penalty = config.repetition_penalty or found.generation.get("repetition_penalty") or 1.0
    sampling = Sampling(config.do_sample, config.temperature, config.top_p, float(penalty), config.seed)
    logger.info(
        "Answering %d rows (%d answers, %d prompts at once) on %s",
        len(jobs), left, config.inference_bs, opened.model.device,
    )  # fmt: skip
    report = _progress(left)
    generator = Generator(opened.model, opened.stop, sampling, config.max_new_tokens, config.inference_bs)
    for done, answer in enumerate(generator.answer(jobs), start=1):
        text = tokenizer.decode(answer.token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False).strip()
        journal.note(answer.row, answer.repeat, text.partition("\n")[0].rstrip() if opened.one_line else text)
        report(done, len(answer.token_ids))


def _context_length(found: FoundModel, tokenizer: Any) -> int:
    from transformers import AutoConfig

    folder = found.candidate.folders[0]
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # what a broken file raises depends on its reader
        reason = " ".join(str(error).split())[:200]
        raise StorageError(
            f"cannot read the model's configuration in {folder}: {reason}. Check ft_model_id."
        ) from error
    return context_length(config.get_text_config(), tokenizer)


def _progress(total: int) -> Callable[[int, int], None]:
    started = last = time.monotonic()
    tokens = 0

    def report(done: int, count: int) -> None:
        nonlocal last, tokens
        tokens += count
        now = time.monotonic()
        if now - last >= _PROGRESS_SECONDS or done == total:
            last = now
            rate = done / (now - started)
            logger.info(
                "Answered %d of %d (%.1f answers/s, %.0f tokens/s, about %.0f s left)",
                done, total, rate, tokens / (now - started), (total - done) / rate,
            )  # fmt: skip

    return report


def _rows(
    config: BatchInferenceConfig, found: FoundModel, questions: Sequence[Question], journal: Journal
) -> list[dict[str, str]]:
    """Every row with its answers, in the order of the rows and then of the repeats."""
    return [
        dict(
            zip(
                COLUMNS,
                (
                    question.instructions,
                    question.target,
                    journal.known[row, repeat if config.do_sample else 0],
                    found.model_id,
                    found.sha,
                ),
                strict=True,
            )
        )
        for row, question in enumerate(questions)
        for repeat in range(config.repeat)
    ]


def _write(config: BatchInferenceConfig, rows: Sequence[dict[str, str]], journal: Journal, settings: Settings) -> str:
    dataset, split, push = config.lm_response_ds_id, config.lm_response_ds_split, config.push_lm_responses_to_hf_hub
    append = config.lm_response_append
    if append:
        # a run that was killed between writing and forgetting must not put the same rows there twice
        there = target_rows(dataset, split, settings, push_to_hub=push)
        before = journal.begin_writing(target_place(dataset, split, settings, push_to_hub=push), len(there))
        if len(there) > before and there[before : before + len(rows)] == rows:
            logger.info("The answers are there already, from a run that was stopped")
            return target_place(dataset, split, settings, push_to_hub=push)
    return write_rows(rows, dataset, split, settings, append=append, push_to_hub=push, columns=COLUMNS)
