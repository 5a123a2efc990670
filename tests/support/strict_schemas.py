"""Hold documents against the real schemas, strictly: an unknown field is an error."""

import gzip
import json
from functools import cache
from pathlib import Path

import jsonschema
import kubernetes_validate

SCHEMAS = Path(__file__).resolve().parents[1] / "schemas"
KUBERNETES = "1.32"
"""The version against whose built-in kinds documents are held."""


def problems(document):
    """Path and message of everything in a document that its schema does not know.

    Raises:
        LookupError: For a custom kind without a schema in tests/schemas.
    """
    api_version, kind = document["apiVersion"], document["kind"]
    if "." not in api_version.split("/")[0] or api_version.split("/")[0].endswith(".k8s.io"):
        return _built_in(document)
    validator = _validator(api_version, kind)
    return [f"{'.'.join(map(str, e.absolute_path)) or '(top)'}: {e.message}" for e in validator.iter_errors(document)]


def _built_in(document):
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    return []


@cache
def _validator(api_version, kind):
    for path in SCHEMAS.glob(f"{kind}.json*"):
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        entry = json.loads(text)
        if api_version in entry["apiVersions"]:
            return jsonschema.Draft202012Validator(entry["schema"])
    raise LookupError(f"no schema of {api_version} {kind} in {SCHEMAS}")
