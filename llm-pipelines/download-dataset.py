"""Bring a Hub dataset here as files: `python -m llm-pipelines.download-dataset --dataset USER/NAME`."""

from pathlib import Path
from typing import Annotated

import typer

from components.core.errors import ConfigError, user_errors
from components.core.progress import log_to_stdout
from components.core.recipe import DataConfig
from components.core.settings import load_settings


def main(
    dataset: Annotated[str, typer.Option(help="Dataset id on the Hub (user/name); with --preview also a file here.")],
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
        if local.is_file():
            if not preview:
                raise ConfigError(f"{dataset} is a file here, nothing is downloaded. Add --preview to look at it.")
            _show(local)
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


def _show(path: Path) -> None:
    from components.core.data.preview import preview

    for row in preview(path):
        print(f"\n{row}", flush=True)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app(prog_name="python -m llm-pipelines.download-dataset")
