"""From rows to token ids: each split rendered, masked, packed and written as Arrow, once for each content."""

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from components.core.data.contract.reading import Progress
from components.core.data.new_folder import link_files, new_folder
from components.core.data.token_counts import SplitCounts
from components.core.data.token_file import TokenFile
from components.core.data.token_report import write_token_report
from components.core.errors import DataError, StorageError
from components.core.recipe import ModelConfig, TaskConfig, TokensConfig
from components.core.registry.base_model import read_tokenizer, resolve_tokenizer, tokenizer_files
from components.core.settings import Settings
from components.core.tasks import Prompt, Row, Task, get_generative_task, set_chat_template, write_prompt
from components.core.tasks.rendering import build_prompt, layout

logger = logging.getLogger(__name__)

INFO_FILE = "tokens_info.json"
TRAINED_SPLITS = ("train", "validation")
SPLITS = (*TRAINED_SPLITS, "test")
_FORMAT = 1
"""Raise it when the same inputs give other files than before, so that cached ones are not taken."""
_BATCH_ROWS = 1024
"""Rows encoded at once: enough for all cores; a batch of the longest rows stays below about 100 MB."""


@dataclass(frozen=True)
class TokensReport:
    """What a tokenization gave, as it stands in `tokens_info.json`."""

    fingerprint: str
    """Content hash of everything that decides the token ids."""
    dataset_fingerprint: str
    """What the dataset's own `dataset_info.json` says; the hash of its rows where it has none."""
    model_id: str
    revision: str
    tokenizer_sha256: str
    vocab_size: int
    max_seq_length: int
    """Tokens per sequence that were really used: the recipe's, or the model's maximum where that is smaller."""
    pad_token_id: int
    pad_token_from: str
    """`pad` for the tokenizer's own; `eos`, `unk` or `zero` where it has none. Padding is masked in any case."""
    stop_token_ids: list[int]
    packing: bool
    splits: dict[str, dict[str, float]]
    """By split: rows, kept, dropped, cut, packs, tokens, label_tokens, packing_efficiency; test: rows, prompts_cut."""
    files: dict[str, int]
    """Bytes of each file, by which a cached folder is known to be whole."""

    def metrics(self) -> dict[str, float]:
        """The numbers by flat names (`train_tokens`), for a metrics view."""
        flat = {f"{split}_{name}": value for split, numbers in self.splits.items() for name, value in numbers.items()}
        return {"max_seq_length": self.max_seq_length} | flat


def tokenize_dataset(
    task: TaskConfig, model: ModelConfig, tokens: TokensConfig, dataset_dir: Path, output_dir: Path, settings: Settings
) -> TokensReport:
    """Tokenize train.jsonl and validation.jsonl into packed Arrow files, and look at test.jsonl.

    Writes train.arrow, validation.arrow, prompt.json, tokens_info.json, report.html and report.json. The folder appears
    complete or not at all; the same content a second time comes from the cache under `settings.cache`.

    Raises:
        DataError: If a split is missing or broken, or if no training row fits.
        StorageError: If the tokenizer cannot be loaded or the folder cannot be written.
    """
    source = resolve_tokenizer(model, settings)
    dataset_sha256 = _hash_files([_split_path(dataset_dir, split) for split in SPLITS])
    tokenizer_sha256 = _hash_files([*tokenizer_files(source.path)])
    inputs = [_FORMAT, dataset_sha256, model.model_id, source.revision, tokenizer_sha256, source.max_positions]
    inputs += [_dataset_fingerprint(dataset_dir), task.model_dump(), tokens.model_dump()]
    fingerprint = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    cached = settings.cache / "tokens" / fingerprint
    report = _read_whole(cached)
    if report is not None:
        with new_folder(output_dir) as folder:
            link_files(cached, folder)
        logger.info("Token ids come from the cache (%s)", fingerprint[:12])
        return report
    with new_folder(output_dir) as folder:
        tokenizer = read_tokenizer(source.path)
        maximum = min(tokens.max_seq_length, source.max_positions or 10**9, int(min(tokenizer.model_max_length, 1e9)))
        if maximum < tokens.max_seq_length:
            logger.warning("tokens.max_seq_length %d is lowered to the model's %d", tokens.max_seq_length, maximum)
        prompt = build_prompt(task, tokenizer)
        set_chat_template(tokenizer, prompt)
        run = _Run(get_generative_task(task), tokenizer, prompt, maximum, tokens)
        counts = {split: run.write_split(dataset_dir, split, folder / f"{split}.arrow") for split in TRAINED_SPLITS}
        counts["test"] = run.look_at_prompts(dataset_dir)
        write_prompt(run.prompt, folder)
        write_token_report(folder, counts, maximum, tokens, run.prompt, tokenizer)
        pad_token_id, pad_token_from = choose_pad_token(tokenizer)
        report = TokensReport(
            fingerprint=fingerprint,
            dataset_fingerprint=_dataset_fingerprint(dataset_dir) or dataset_sha256,
            model_id=model.model_id,
            revision=source.revision,
            tokenizer_sha256=tokenizer_sha256,
            vocab_size=len(tokenizer),
            max_seq_length=maximum,
            pad_token_id=pad_token_id,
            pad_token_from=pad_token_from,
            stop_token_ids=list(layout(tokenizer, run.prompt.chat_template).stop_ids),
            packing=tokens.packing,
            splits={split: split_counts.numbers(maximum) for split, split_counts in counts.items()},
            files={path.name: path.stat().st_size for path in sorted(folder.iterdir())},
        )
        # written last, so its presence means the folder is complete
        (folder / INFO_FILE).write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
    _keep(output_dir, cached)
    return report


def read_tokens_info(folder: Path) -> TokensReport:
    """Read what `tokenize_dataset` wrote.

    Raises:
        StorageError: If the folder is not complete.
    """
    try:
        return TokensReport(**json.loads((folder / INFO_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise StorageError(f"{folder} holds no complete tokens ({error}). Run the tokenization again.") from error


def choose_pad_token(tokenizer: Any) -> tuple[int, str]:
    """Id that fills up batches, and where it comes from; the model never sees or learns it."""
    for name in ("pad", "eos", "unk"):
        token_id = getattr(tokenizer, f"{name}_token_id")
        if token_id is not None:
            return int(token_id), name
    return 0, "zero"


class _Run:
    """One tokenization: what stays the same for all splits."""

    def __init__(self, task: Task, tokenizer: Any, prompt: Prompt, maximum: int, tokens: TokensConfig) -> None:
        self.task, self.tokenizer, self.prompt, self.maximum, self.tokens = task, tokenizer, prompt, maximum, tokens

    def write_split(self, dataset_dir: Path, split: str, path: Path) -> SplitCounts:
        """Encode, pack and write one split."""
        source = _split_path(dataset_dir, split)
        counts = SplitCounts(source.name)
        window = self.tokens.on_too_long == "window"
        progress = Progress(f"Tokenizing {split}")
        with TokenFile(path, self.maximum, self.tokens.packing) as file:
            for first_row, rows in _batches(source, self.task):
                progress.tick(first_row - 1)
                encoded = self.task.encode(rows, self.tokenizer, self.prompt, self.maximum, window)
                examples = zip(encoded.input_ids, encoded.labels, encoded.cut, strict=True)
                for number, (input_ids, labels, cut) in enumerate(examples, start=first_row):
                    if counts.add(number, input_ids, labels, cut):
                        file.add(input_ids, labels)
        counts.packs = file.packs
        logger.info(
            "%s: kept %d of %d rows (%d cut, %d dropped), %d tokens in %d sequences of at most %d",
            split, counts.kept, counts.rows, counts.cut, counts.dropped, counts.tokens, counts.packs, self.maximum,
        )  # fmt: skip
        if split == "train" and not counts.kept:
            raise DataError(
                f"no row of {source} fits into {self.maximum} tokens. "
                "Raise tokens.max_seq_length, shorten task.prompt_template, or set tokens.on_too_long to `window`."
            )
        return counts

    def look_at_prompts(self, dataset_dir: Path) -> SplitCounts:
        """Count the test prompts that would be cut."""
        source = _split_path(dataset_dir, "test")
        counts = SplitCounts(source.name, prompts_only=True)
        for first_row, rows in _batches(source, self.task):
            encoded = self.task.encode_prompts(rows, self.tokenizer, self.prompt, self.maximum)
            for number, (input_ids, cut) in enumerate(zip(encoded.input_ids, encoded.cut, strict=True), first_row):
                counts.add(number, input_ids, input_ids, cut)
        return counts


def _split_path(dataset_dir: Path, split: str) -> Path:
    path = dataset_dir / f"{split}.jsonl"
    if not path.is_file():
        raise DataError(f"{path} is missing. Fetch the dataset first; it writes {', '.join(SPLITS)}.")
    return path


def _batches(path: Path, task: Task) -> Iterator[tuple[int, list[Row]]]:
    """Rows of a prepared file in batches, each with the number of its first row (from 1)."""
    # bytes that are not UTF-8 reach the task's own check, which names the row
    with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        numbered = enumerate(lines, start=1)
        while chunk := list(islice(numbered, _BATCH_ROWS)):
            yield chunk[0][0], [_read_row(path, number, line, task) for number, line in chunk]


def _read_row(path: Path, number: int, line: str, task: Task) -> Row:
    try:
        raw = json.loads(line)
    except ValueError as error:
        raise DataError(f"{path}:{number} is not JSON ({error}). Fetch the dataset again.") from error
    row, findings = task.parse_row(raw) if isinstance(raw, dict) else (None, [])
    if row is None:
        reason = findings[0].message if findings else "not a JSON object"
        raise DataError(f"{path}:{number}: {reason}. Fetch the dataset again.")
    return row


def _dataset_fingerprint(dataset_dir: Path) -> str:
    try:
        info = json.loads((dataset_dir / "dataset_info.json").read_text(encoding="utf-8"))
        return str(info.get("fingerprint", ""))
    except (OSError, ValueError, AttributeError):  # a folder that somebody else prepared
        return ""


def _hash_files(paths: list[Path]) -> str:
    """Hash of names and contents."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.name}\0{content}\n".encode())
    return digest.hexdigest()


def _keep(output_dir: Path, cached: Path) -> None:
    """Put finished files into the cache; one that cannot be written only costs time later."""
    try:
        with new_folder(cached) as folder:
            link_files(output_dir, folder)
    except StorageError as error:
        logger.warning("Token ids are not cached: %s", error)


def _read_whole(folder: Path) -> TokensReport | None:
    """The report of a cached folder whose files all have their size, else None."""
    try:
        report = read_tokens_info(folder)
        whole = all((folder / name).stat().st_size == size for name, size in report.files.items())
    except (StorageError, OSError):
        return None
    return report if whole else None
