"""The door to MLflow: a quiet client, and one clear message for whatever goes wrong behind it."""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from components.core.errors import PlatformError, RegistryError
from components.core.registry.names import public_name
from components.core.settings import Settings

_SQLITE = "sqlite:///"


def sqlite_file(settings: Settings) -> Path | None:
    """The file behind a SQLite tracking address; None for a server."""
    uri = settings.tracking_uri
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def open_client(settings: Settings) -> Any:
    """A client of tracking and registry; a fresh SQLite file gets its tables now (some seconds, once).

    Call it within `clear_errors`.
    """
    # read by mlflow at import: no telemetry, and no logger of its own at INFO
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # its default of 7 tries means minutes of silence before a dead server is reported
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    # each migration of a fresh file is reported at INFO
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    file = sqlite_file(settings)
    if file is not None and not file.exists():
        _make_tables(file)
    return MlflowClient(tracking_uri=settings.tracking_uri, registry_uri=settings.tracking_uri)


def _make_tables(file: Path) -> None:
    """Let MLflow make a SQLite file with its tables; it appears complete or not at all.

    MLflow gets there by some seventy migrations, each with a wait for the disk; here they run without those waits on a
    file of their own. A process that is killed meanwhile leaves no half-migrated file behind.
    """
    from mlflow import MlflowClient
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def without_waits(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".mlflow-") as folder:
        fresh = Path(folder) / file.name
        event.listen(Engine, "connect", without_waits)
        try:
            MlflowClient(tracking_uri=f"{_SQLITE}{fresh}", registry_uri=f"{_SQLITE}{fresh}").search_registered_models()
        finally:
            event.remove(Engine, "connect", without_waits)
        # another process may have made it meanwhile, and then its file stays
        with suppress(FileExistsError):
            os.link(fresh, file)


def experiment_id(client: Any, name: str, settings: Settings) -> str:
    """The experiment of that name, made at need."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        # a server chooses the place of its artifacts itself; for a file it would be the working directory
        local = sqlite_file(settings) is not None
        place = (settings.whetstone_home / "mlruns").resolve().as_uri() if local else None
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


@contextmanager
def clear_errors(settings: Settings, action: str) -> Iterator[None]:
    """Turn whatever MLflow raises into one RegistryError with the remedy."""
    try:
        yield
    except PlatformError:
        raise
    except Exception as error:
        raise RegistryError(f"cannot {action} in MLflow: {_explain(error, settings)}") from error


def _explain(error: Exception, settings: Settings) -> str:
    text = " ".join(str(error).split())
    file = sqlite_file(settings)
    where = settings.tracking_uri if file is not None else public_name(settings.tracking_uri)
    if "out-of-date database schema" in text:
        return f"{where} was written by another version of MLflow. Run `mlflow db upgrade {where}`."
    if file is not None:
        reason = text.split("[SQL:")[0].strip()[:200]
        return f"{file} cannot be used ({reason}). Check that it is writable, not locked, and MLflow's own file."
    status = _status_in(text)
    if status is None and "failed with exception" in text:
        return f"{where} cannot be reached. Start the server or correct MLFLOW_TRACKING_URI."
    if status is None:
        code = getattr(error, "get_http_status_code", None)
        # an answer that is not JSON, a sign-in page for instance, is an error without a status
        if code is None or "Response body" in text or "JSON" in type(error).__name__:
            return f"{where} does not answer like an MLflow server. Correct MLFLOW_TRACKING_URI."
        status = int(code())
    if status in (401, 403):
        return (
            f"{where} refused us ({status}). Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, "
            "or MLFLOW_TRACKING_TOKEN, to an account that may write."
        )
    if status >= 500:
        return f"{where} has a problem ({status}). Look at the server's log, then run this step again."
    return f"{where} refused ({status}: {text[:200]})."


def _status_in(text: str) -> int | None:
    """The HTTP status of an answer without MLflow's own JSON; it stands in the message only."""
    for status in (401, 403, 429, 500, 502, 503, 504):
        if f"error code {status}" in text or f"{status} error responses" in text:
            return status
    return None
