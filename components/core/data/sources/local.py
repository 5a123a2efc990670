"""Local files and folders as a dataset; links that lead out of the dataset are not followed."""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import yaml

from components.core.data.formats import ARCHIVES, BrokenFile, Limits, Parsed, format_of, read_file
from components.core.data.naming import printable
from components.core.data.sources.source import SPLITS, NumberedRow, Source
from components.core.errors import DataError, StorageError
from components.core.recipe import DataConfig
from components.core.tasks.seam import Finding

DATASET_KEY = "data.dataset_id"
_ALIASES = {"train": ("train", "training"), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
_SHARD = r"(?:[-_.]\d+(?:-of-\d+)?|-v\d[\d.]*)?"
"""What may follow a split's name: a shard number (`train-00000-of-00002`) or SQuAD's version (`train-v2.0`)."""


def find_local(path: Path, key: str = DATASET_KEY) -> Path:
    """The real path of a file or folder that a user named.

    Args:
        path: As the user wrote it.
        key: Of the recipe, which the user can correct.

    Raises:
        StorageError: If it does not exist, is a link out of its own folder, or is neither file nor folder.
    """
    name = printable(str(path))
    try:
        real = path.resolve(strict=True)
    except FileNotFoundError as error:
        kind = "a symbolic link to nothing" if path.is_symlink() else "no such file or folder"
        raise StorageError(f"cannot read {name}: {kind}. Check {key}.") from error
    except (OSError, RuntimeError) as error:  # Python 3.11 raises RuntimeError for a loop of links
        reason = "a loop of symbolic links" if path.is_symlink() else f"{error}"
        raise StorageError(f"cannot read {name}: {reason}. Check {key}.") from error
    if path.is_symlink() and real.is_file() and not real.is_relative_to(path.parent.resolve()):
        raise StorageError(
            f"cannot read {name}: it is a symbolic link that leads out of its folder, which is not followed. "
            "Name the file itself, or copy it."
        )
    if not real.is_file() and not real.is_dir():
        raise StorageError(f"cannot read {name}: not a regular file (a device, pipe or socket).")
    return real


def open_local(path: Path, data: DataConfig, limits: Limits, columns: Sequence[str], wanted: Collection[str]) -> Source:
    """The dataset in a file (its rows are the train split) or a folder (one or more files per split).

    Raises:
        StorageError: If files cannot be reached.
        DataError: If no file can be told to be a split, or a format is not supported.
    """
    real = find_local(path)
    try:
        files = {"train": [real]} if real.is_file() else _split_files(real, data)
    except OSError as error:
        raise StorageError(f"cannot list {printable(str(path))}: {error.strerror}. Check its permissions.") from error
    root = real if real.is_dir() else real.parent
    for found in files.values():
        for file in found:
            check_format(file)
    names = {split: [_display(file, root) for file in found] for split, found in files.items()}

    def reader(found: list[Path]) -> Callable[[], Iterator[NumberedRow]]:
        return lambda: read_files([(_display(file, root), file) for file in found], limits, columns, wanted)

    return Source(
        data.dataset_id, {split: reader(found) for split, found in files.items()}, license=_license(root), files=names
    )


def files_of_split(folder: Path, split: str) -> list[Path]:
    """Files of any split of a folder: the one of this name, else its shards; none where it is not there.

    Raises:
        StorageError: If the folder holds a link that leads out of it.
        DataError: If the split stands there more than once.
    """
    usable = _usable(folder.resolve())
    exact = [file for file in usable if _stem(file.name) == split.lower()]
    shards = re.compile(re.escape(split) + r"-\d+-of-\d+", re.IGNORECASE)
    files = exact or [
        file for file in usable if shards.fullmatch(_stem(file.name)) or file.parent.name == split != folder.name
    ]
    return _one_format(files, split)


def splits_of(folder: Path) -> list[str]:
    """Names of the splits that a folder has files of."""
    return sorted({re.sub(r"-\d+-of-\d+$", "", _stem(file.name)) for file in _usable(folder.resolve())})


def read_files(
    files: Sequence[tuple[str, Path]], limits: Limits, columns: Sequence[str], wanted: Collection[str]
) -> Iterator[NumberedRow]:
    """Rows of several files; what breaks a file off becomes its last, fatal, entry."""
    for name, path in files:
        try:
            for parsed in read_file(path, limits, columns, wanted):
                yield name, parsed
        except BrokenFile as error:
            yield name, Parsed(error.row, None, (Finding(error.kind, "error", str(error)),), fatal=True)
        except OSError as error:
            raise StorageError(
                f"cannot read {name}: {error.strerror or error}. Check that it is there and readable."
            ) from error


def _display(file: Path, root: Path) -> str:
    return printable(str(file.relative_to(root)) if file.is_relative_to(root) else file.name)


def check_format(file: Path) -> None:
    """Raise DataError if the name says none that is supported."""
    if format_of(file.name) is None:
        raise DataError(
            f"{printable(file.name)}: unknown format; supported are .jsonl, .json, .csv and .tsv (each also as "
            ".gz) and .parquet."
        )


def _split_files(root: Path, data: DataConfig) -> dict[str, list[Path]]:
    usable = _usable(root)
    wanted = {"train": data.train_split, "validation": data.validation_split, "test": data.test_split}
    found: dict[str, list[Path]] = {}
    for split in SPLITS:
        for name in _ALIASES[split] if wanted[split] == split else (wanted[split],):
            pattern = re.compile(re.escape(name) + _SHARD, re.IGNORECASE)
            files = [
                file for file in usable if pattern.fullmatch(_stem(file.name)) or file.parent.name == name != root.name
            ]
            if files:
                found[split] = _one_format(files, split)
                break
    named = [file.name for file in usable]
    if not found and len(usable) == 1:
        return {"train": usable}
    if not found:
        archives = [entry.name for entry in root.iterdir() if entry.name.lower().endswith(ARCHIVES)]
        shown = ", ".join(map(printable, (named or archives)[:8])) or "no data files"
        raise DataError(
            f"{printable(str(root))} holds no file for a split: expected {wanted['train']}.jsonl (or .json, "
            ".csv, .tsv, "
            f".parquet), found {shown}. Rename the files or set data.train_split."
        )
    if "train" not in found:
        raise DataError(
            f"{printable(str(root))} has no train split: expected {wanted['train']}.jsonl (or another format), found "
            f"{', '.join(map(printable, named[:8]))}. Rename the file or set data.train_split."
        )
    return found


def _usable(root: Path) -> list[Path]:
    """Data files in the folder and one level below, links out of it refused."""
    usable = []
    folders = [root, *sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))]
    for entry in (entry for folder in folders for entry in sorted(folder.iterdir())):
        if entry.name.startswith(".") or entry.name.lower().endswith(ARCHIVES) or format_of(entry.name) is None:
            continue
        try:
            real = entry.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise StorageError(
                f"cannot read {printable(str(entry))}: a symbolic link to nothing or in a loop. Remove it from "
                "the dataset's folder."
            ) from error
        if not real.is_relative_to(root):
            raise StorageError(
                f"cannot read {printable(str(entry))}: a symbolic link that leads out of the dataset's folder is "
                "not followed. "
                "Copy the file into the folder."
            )
        if real.is_file() and entry.name not in ("dataset_info.json", "report.json", "dataset_infos.json"):
            usable.append(entry)
    return usable


def _stem(name: str) -> str:
    return Path(name.lower().removesuffix(".gz")).stem


def _one_format(files: list[Path], split: str) -> list[Path]:
    suffixes = {format_of(file.name) for file in files}
    stems = [_stem(file.name) for file in files]
    if len(suffixes) > 1 or len(set(stems)) < len(stems):
        names = ", ".join(printable(file.name) for file in files[:8])
        raise DataError(f"the {split} split stands there more than once: {names}. Leave one of them in the folder.")
    return sorted(files)


def _license(root: Path) -> str:
    """The `license` in the front matter of the folder's README, as on the Hub."""
    readme = root / "README.md"
    if readme.is_symlink() or not readme.is_file():
        return ""
    with readme.open(encoding="utf-8", errors="replace") as file:
        parts = file.read(100_000).split("---")
    if len(parts) < 3 or parts[0].strip():
        return ""
    try:
        card = yaml.safe_load(parts[1])
    except yaml.YAMLError:
        return ""
    return str(card.get("license") or "") if isinstance(card, dict) else ""
