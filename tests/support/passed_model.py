"""The starter's base model as a model folder with a verdict; it is the test's, nobody judged the model."""

import json
from pathlib import Path
from typing import Any

from support.endpoint_server import STARTER

from components.core.registry.manifest import write_manifest


def write_judged_model(folder: Path, verdict: dict[str, Any] | None = None, **info: Any) -> Path:
    """A complete model folder.

    Args:
        folder: Made.
        verdict: Of model_info.json; passed where none is given.
        info: More of model_info.json.
    """
    folder.mkdir()
    for file in STARTER.iterdir():
        (folder / file.name).symlink_to(file)
    template = "Context: {context}\nQuestion: {question}\nAnswer:"
    prompt = {"template": template, "chat_template": False, "no_answer_text": "not in the context"}
    passed = {"status": "passed", "outcome": "better", "headline": "PASSED: for a test"}
    facts = {"format": 1, "name": "small", "task": "context_qa", "verdict": verdict or passed, **info}
    for name, content in (("prompt.json", prompt), ("model_info.json", facts)):
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    write_manifest(folder, sorted(file.name for file in folder.iterdir()))
    return folder
