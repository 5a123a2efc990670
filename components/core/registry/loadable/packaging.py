"""Writes what MLflow's loader reads: MLmodel and the code of the loader; the weights stay where they were published."""

import platform
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

LOADABLE_FOLDER = "model"
"""Folder of a run's artifacts that holds it."""
_CODE = Path(__file__).with_name("text_model.py")
_ENVIRONMENT = "python_env.yaml"
_PACKAGES = ("mlflow", "torch", "transformers", "tokenizers", "safetensors", "peft", "huggingface-hub", "pandas")


def log_loadable(client: Any, run_id: str, place: str, content_sha256: str) -> str:
    """Put a loadable model into a run that is being recorded.

    Args:
        client: Of MLflow.
        run_id: The run.
        place: Where the model folder was published, `hf://...` or `whetstone:/...`.
        content_sha256: Of its manifest; the loader takes no other folder.

    Returns:
        Its address, `runs:/<run>/model`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / LOADABLE_FOLDER
        write_loadable(path, place, content_sha256)
        client.log_artifacts(run_id, str(path), LOADABLE_FOLDER)
    return f"runs:/{run_id}/{LOADABLE_FOLDER}"


def write_loadable(path: Path, place: str, content_sha256: str) -> None:
    """Write MLmodel, the loader's code and its requirements into a new folder."""
    from mlflow import pyfunc
    from mlflow.models import Model

    path.mkdir(parents=True)
    shutil.copyfile(_CODE, path / _CODE.name)
    requirements = _requirements()
    (path / "requirements.txt").write_text("".join(f"{each}\n" for each in requirements), encoding="utf-8")
    environment = (
        f"python: {platform.python_version()}\nbuild_dependencies: [pip]\ndependencies: [-r requirements.txt]\n"
    )
    (path / _ENVIRONMENT).write_text(environment, encoding="utf-8")
    model = Model(signature=_signature())
    pyfunc.add_to_model(
        model,
        loader_module="mlflow.pyfunc.loaders.code_model",
        model_code_path=_CODE.name,
        model_config={"place": place, "content_sha256": content_sha256},
        python_env=_ENVIRONMENT,
    )
    # mlflow's own writer: not by `save_model`, which notes where the code was on this machine
    model.save(str(path / "MLmodel"))


def _signature() -> Any:
    """Rows of `question` and `context` or of `messages`, and how tokens are chosen."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Array, ColSpec, DataType, Object, ParamSchema, ParamSpec, Property, Schema

    turn = Object([Property("role", DataType.string), Property("content", DataType.string)])
    columns = [
        ColSpec(DataType.string, "question", required=False),
        ColSpec(DataType.string, "context", required=False),
        ColSpec(Array(turn), "messages", required=False),
    ]
    params = [
        ParamSpec("max_new_tokens", DataType.long, 512),
        ParamSpec("do_sample", DataType.boolean, False),
        ParamSpec("temperature", DataType.double, 1.0),
        ParamSpec("top_p", DataType.double, 1.0),
        ParamSpec("top_k", DataType.long, 0),
        ParamSpec("repetition_penalty", DataType.double, None),
        ParamSpec("seed", DataType.long, None),
    ]
    return ModelSignature(Schema(columns), Schema([ColSpec(DataType.string)]), ParamSchema(params))


def _requirements() -> list[str]:
    found = []
    for package in _PACKAGES:
        try:
            # without a local build's suffix, such as +cpu
            found.append(f"{package}=={version(package).partition('+')[0]}")
        except PackageNotFoundError:
            continue
    return found
