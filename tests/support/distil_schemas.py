"""`python tests/support/distil_schemas.py FOLDER_OF_CRDS`: write tests/schemas again from CustomResourceDefinitions.

Kept are the names of fields, their types, what is required and enumerations; texts, limits and statuses are not. The
result is strict: where a CRD does not preserve unknown fields, an unknown one is an error.
"""

import gzip
import json
import sys
from pathlib import Path

import yaml

SCHEMAS = Path(__file__).resolve().parents[1] / "schemas"
KINDS = {
    "AuthorizationPolicy", "DestinationRule", "Gateway", "HTTPRoute", "InferenceService", "PeerAuthentication",
    "PodDefault", "PodMonitor", "Profile", "PrometheusRule", "RequestAuthentication", "ScaledObject", "ServiceEntry",
    "Sidecar", "TrainJob", "VirtualService",
}  # fmt: skip
"""Kinds that are emitted or written about here."""
LEFT_OUT = {
    # hundreds of kilobytes of predictors that this product has none of
    "InferenceService": {
        "spec": {"transformer", "explainer", "canary"},
        "predictor": {
            "lightgbm", "onnx", "paddle", "pmml", "pytorch", "sklearn", "tensorflow", "triton", "xgboost",
            "huggingface", "workerSpec", "initContainers",
        },
    },
}  # fmt: skip
"""By kind: fields that are dropped, by the field that holds them."""
LARGE = 50_000
"""Bytes from which a file is compressed."""


def distil(schema, left_out, name="", level=0):
    """Turn a structural OpenAPI schema into a strict JSON Schema.

    Args:
        schema: Of one field, or the whole.
        left_out: Fields that are dropped, by the field that holds them.
        name: Of the field.
        level: Depth, 0 for the whole object.
    """
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    strict = {key: schema[key] for key in ("type", "enum", "required") if key in schema}
    if schema.get("nullable") and "type" in strict:
        strict["type"] = [strict["type"], "null"]
    if "properties" in schema:
        dropped = left_out.get(name, set()) | ({"status", "metadata", "apiVersion", "kind"} if level == 0 else set())
        strict["properties"] = {
            field: distil(inner, left_out, field, level + 1)
            for field, inner in sorted(schema["properties"].items())
            if field not in dropped
        }
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            strict["additionalProperties"] = False
    for key in ("additionalProperties", "items"):
        if isinstance(schema.get(key), dict):
            strict[key] = distil(schema[key], left_out, name, level + 1)
    if level == 0:
        strict["properties"] |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
        strict["properties"]["metadata"] = {"type": "object", "required": ["name"]}
    return strict


def distil_folder(folder):
    """API versions and schema by kind, of every CustomResourceDefinition below a folder."""
    found = {}
    for path in sorted(Path(folder).rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if not document or document.get("kind") != "CustomResourceDefinition":
                continue
            kind = document["spec"]["names"]["kind"]
            if kind in KINDS:
                found[kind] = _of_definition(document["spec"], LEFT_OUT.get(kind, {}))
    return found


def _of_definition(spec, left_out):
    """Of the newest stored version; the other versions of these kinds have the same fields."""
    versions = [version for version in spec["versions"] if version.get("schema")]
    stored = next(version for version in versions if version["storage"])
    schema = distil(stored["schema"]["openAPIV3Schema"], left_out)
    same = [v for v in versions if distil(v["schema"]["openAPIV3Schema"], left_out) == schema]
    return {"apiVersions": sorted(f"{spec['group']}/{version['name']}" for version in same), "schema": schema}


def main():
    """Write one file per kind."""
    if len(sys.argv) != 2:
        sys.exit("usage: python tests/support/distil_schemas.py FOLDER_OF_CRDS")
    found = distil_folder(sys.argv[1])
    missing = sorted(KINDS - set(found))
    if missing:
        sys.exit(f"error: no CustomResourceDefinition of {', '.join(missing)} below {sys.argv[1]}.")
    for kind, entry in found.items():
        text = json.dumps(entry, separators=(",", ":"), sort_keys=True) + "\n"
        for old in SCHEMAS.glob(f"{kind}.json*"):
            old.unlink()
        if len(text) > LARGE:
            # no time of writing in it, so that the same input gives the same bytes
            (SCHEMAS / f"{kind}.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
        else:
            (SCHEMAS / f"{kind}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
