"""Bring a Hub dataset here as files: `python -m llm-pipelines.download-dataset --dataset USER/NAME`."""

from pathlib import Path
from typing import Annotated

import typer

from components.core.errors import ConfigError, user_errors
from components.core.progress import log_to_stdout
from components.core.recipe import DataConfig
from components.core.settings import load_settings


def main(
    dataset: Annotated[str, typer.Option(help="Dataset id on the Hub (user/name); a path with --preview.")],
    download_dir: Annotated[
        Path | None,
        typer.Option("--download_dir", "--download-dir", help="Folder of the files; by default <name>_dataset."),
    ] = None,
    dataset_split_pc: Annotated[
        float,
        typer.Option("--dataset_split_pc", "--dataset-split-pc", help="Percent of each split, from its start."),
    ] = 100,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the Hub.")] = None,
    subset: Annotated[str | None, typer.Option(help="Configuration of a dataset that has several.")] = None,
    preview: Annotated[bool, typer.Option("--preview", help="Print the first 5 rows of each file in full.")] = False,
) -> None:
    """Write <split>.jsonl for every split of a dataset."""
    with user_errors():
        if not 0 < dataset_split_pc <= 100:
            raise ConfigError(f"--dataset_split_pc={dataset_split_pc:g} must be above 0 and at most 100.")
        local = Path(dataset).expanduser()
        if local.exists():
            if not preview:
                raise ConfigError(f"{dataset} is here already, nothing is downloaded. Add --preview to look at it.")
            for file in _data_files(local):
                _show(file)
            return
        settings = load_settings()
        log_to_stdout()
        from components.core.data.sources.hub_files import download_splits

        data = DataConfig(dataset_id=dataset, revision=revision, subset=subset)
        folder = download_dir or Path(f"{dataset.rpartition('/')[2]}_dataset")
        files = download_splits(data, settings, folder, dataset_split_pc)
        print("\n".join(str(file) for file in files.values()), flush=True)
        if preview:
            for file in files.values():
                _show(file)


def _data_files(path: Path) -> list[Path]:
    from components.core.data.formats import format_of

    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.is_file() and format_of(file.name))
    if not found:
        raise ConfigError(f"{path} holds no data file. Name a .jsonl, .json, .csv, .tsv or .parquet file.")
    return found


def _show(path: Path) -> None:
    from components.core.data.preview import preview

    for row in preview(path):
        print(f"\n{row}", flush=True)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app(prog_name="python -m llm-pipelines.download-dataset")
