"""Hold manifests against our own rules: `make check-manifests`, or any folder or rendered file."""

import sys
from pathlib import Path
from typing import Annotated

import typer
import yaml

from components.core.deployment.manifest_check import EXTERNAL, Document, check_documents
from components.core.deployment.rendering import build
from components.core.errors import EXIT_BAD_INPUT, ConfigError, user_errors

MANIFESTS = Path("manifests")


def main(
    paths: Annotated[
        list[str] | None,
        typer.Argument(help="Kustomize folders, rendered files, or - for standard input; all of ours."),
    ] = None,
    external: Annotated[
        list[str] | None, typer.Option(help="Kind/name that documents may refer to, such as Secret/registry-login.")
    ] = None,
) -> None:
    """Find what nothing in a cluster refuses and goes wrong later."""
    found = 0
    with user_errors():
        allowed = _allow(external or [])
        for path in paths or _ours():
            documents = _documents(path)
            findings = check_documents(documents, allowed)
            found += len(findings)
            print(f"{path}: {len(documents)} documents, {len(findings)} findings")
            for finding in findings:
                print(f"  {finding}")
    if found:
        sys.exit(EXIT_BAD_INPUT)


def _ours() -> list[str]:
    """Every overlay, and what the pipelines need."""
    return [str(path.parent) for path in sorted(MANIFESTS.glob("*/overlays/*/kustomization.yaml"))] + [
        str(MANIFESTS / name) for name in ("pipeline", "checkpoint-owner")
    ]


def _allow(external: list[str]) -> dict[str, list[str]]:
    allowed = {kind: list(names) for kind, names in EXTERNAL.items()}
    for reference in external:
        kind, slash, name = reference.partition("/")
        if not slash or not name:
            raise ConfigError(f"--external {reference}: not Kind/name. Write it like Secret/registry-login.")
        allowed.setdefault(kind, []).append(name)
    return allowed


def _documents(path: str) -> list[Document]:
    try:
        loaded = list(yaml.safe_load_all(_text(path)))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    documents = [document for document in loaded if document]
    for number, document in enumerate(documents, 1):
        if not isinstance(document, dict) or not isinstance(document.get("metadata"), dict):
            raise ConfigError(f"{path}: document {number} is no Kubernetes object. Give rendered manifests.")
    return documents


def _text(path: str) -> str:
    if path == "-":
        return sys.stdin.read()
    if not Path(path).is_dir():
        try:
            return Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}. Name a folder or a rendered file.") from error
    return build(Path(path))


if __name__ == "__main__":
    typer.run(main)
