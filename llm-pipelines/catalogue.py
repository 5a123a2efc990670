"""The published components: `python -m llm-pipelines.catalogue list|path|publish [NAME[@VERSION]]`."""

from typing import Annotated

import typer

from components._published import CATALOGUE, find_component, publish, read_index
from components.core.errors import user_errors

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)


@app.command("list")
def list_() -> None:
    """Print every published component: name, version, digest, what it does."""
    with user_errors():
        for each in read_index():
            print(f"{each.name:<44} {each.version:<8} {each.digest[:19]}  {each.description}")


@app.command()
def path(name: Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="Without a version the newest.")]) -> None:
    """Print the file of a component, for kfp.components.load_component_from_file; its digest is checked."""
    with user_errors():
        wanted, _, version = name.partition("@")
        print(find_component(wanted, version or None))


@app.command("publish")
def publish_(
    replace: Annotated[
        bool, typer.Option("--replace", help="Write this version again although it has other content.")
    ] = False,
) -> None:
    """Write all components of this checkout as YAML, under the version in components/env.yaml."""
    with user_errors():
        made = publish(replace=replace)
        print(f"{len(made)} components of version {made[0].version} in {CATALOGUE}")


if __name__ == "__main__":
    app(prog_name="python -m llm-pipelines.catalogue")
