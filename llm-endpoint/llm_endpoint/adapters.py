"""Adapters on one base: loaded and dropped while the server answers, found by their names."""

import asyncio
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llm_endpoint.answering import Answering
from llm_endpoint.engines.local import LocalEngine
from llm_endpoint.engines.seam import Engine, EngineInfo
from llm_endpoint.engines.variant import Variant, VariantEngine
from llm_endpoint.errors import EndpointError, InvalidInput, ModelError, NotFound, SettingsError
from llm_endpoint.metrics import Metrics
from llm_endpoint.schema import AdapterBody
from llm_endpoint.served.adapter import AdapterModel, BaseModel, open_adapter
from llm_endpoint.settings import Settings

logger = logging.getLogger(__name__)

NO_ADAPTER = "base"
"""In the metrics, for answers of the model as it is."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)

MakeAnswering = Callable[[Engine, AdapterModel], Answering]


@dataclass(frozen=True)
class LoadedAdapter:
    """One that answers."""

    answering: Answering
    engine: VariantEngine
    seconds: float
    """From the request for it until it had answered once."""


@dataclass
class Listeners:
    """Told when a name appears and goes."""

    added: Callable[[str], None] = lambda name: None
    removed: Callable[[str], None] = lambda name: None


class Adapters:
    """The adapters of one base.

    Args:
        settings: Limits, and where folders may lie.
        base: The model that is served.
        engine: Runs it.
        make_answering: What answers with an engine of an adapter.
        reserved: Names that mean the base.
    """

    def __init__(
        self,
        settings: Settings,
        base: BaseModel,
        engine: LocalEngine,
        make_answering: MakeAnswering,
        reserved: set[str],
        metrics: Metrics,
        listeners: Listeners,
    ) -> None:
        self._settings, self._base, self._engine = settings, base, engine
        self._make_answering, self._reserved = make_answering, reserved | {NO_ADAPTER}
        self._metrics, self._listeners = metrics, listeners
        self._loaded: dict[str, LoadedAdapter] = {}
        self._changing = asyncio.Lock()
        """One load at a time, so that two cannot take one name or the last place."""

    def names(self) -> list[str]:
        """In the order in which they were loaded."""
        return list(self._loaded)

    def describe(self) -> list[AdapterBody]:
        """What /task says of them."""
        return [_body(name, loaded) for name, loaded in self._loaded.items()]

    def get(self, name: str) -> Answering | None:
        """What answers under a name."""
        found = self._loaded.get(name)
        return found.answering if found else None

    async def load(self, name: str, folder: Path) -> AdapterBody:
        """Read, check and warm an adapter, then list it; whatever fails before changes nothing.

        Raises:
            InvalidInput: If the name is taken or no name.
            ModelError: If the folder holds no adapter that can be served here.
        """
        started = time.monotonic()
        try:
            async with self._changing:
                self._check_name(name)
                model = await asyncio.to_thread(open_adapter, folder, self._base, self._settings)
                core = self._engine.adaptable()
                weights = await asyncio.to_thread(core.read_adapter, model.served.folder, self._settings.max_lora_rank)
                variant = Variant(model.variant.encoder, model.variant.one_line, weights)
                engine = VariantEngine(self._engine, variant, self._describe(name, model))
                answering = self._make_answering(engine, model)
                await engine.start()
                loaded = LoadedAdapter(answering, engine, time.monotonic() - started)
                self._loaded[name] = loaded
                self._listeners.added(name)
        except EndpointError:
            self._metrics.adapter_changes.labels("refused").inc()
            raise
        self._metrics.adapter_changes.labels("loaded").inc()
        logger.info(
            "Adapter %s: %s, revision %s, rank %d, answers after %.2f s",
            name, engine.info.model, engine.info.revision, weights.rank, loaded.seconds,
        )  # fmt: skip
        return _body(name, loaded)

    async def drop(self, name: str) -> None:
        """Take a name away; returns when the requests that it had are answered.

        Raises:
            NotFound: If there is no such adapter.
        """
        async with self._changing:
            found = self._loaded.pop(name, None)
            if found is None:
                known = f"There are {', '.join(self._loaded)}" if self._loaded else "There are none"
                raise NotFound(f"no adapter {name[:100]!r} is loaded. {known}.")
            self._listeners.removed(name)
        await found.engine.stop()
        self._metrics.adapter_changes.labels("dropped").inc()
        logger.info("Adapter %s was dropped", name)

    def _check_name(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise InvalidInput("an adapter's name has letters, digits, '.', '_' and '-', at most 100, and no other.")
        if name in self._loaded:
            raise InvalidInput(f"an adapter {name!r} is loaded. Drop it first, or take another name.")
        if name in self._reserved:
            raise InvalidInput(f"{name!r} means the base model here. Take another name.")
        if len(self._loaded) >= self._settings.max_adapters:
            raise InvalidInput(f"{len(self._loaded)} adapters are loaded, as many as MAX_ADAPTERS allows. Drop one.")

    def _describe(self, name: str, model: AdapterModel) -> EngineInfo:
        served, base = model.served, self._engine.info
        return EngineInfo(
            base.engine, served.name, served.revision, base.context_length, base.precision,
            content_sha256=served.content_sha256, adapter=name,
        )  # fmt: skip


def _body(name: str, loaded: LoadedAdapter) -> AdapterBody:
    info = loaded.engine.info
    return AdapterBody(name=name, model=info.model, revision=info.revision, seconds=round(loaded.seconds, 3))


def parse_adapters(text: str) -> dict[str, Path]:
    """Folders by name, of `name=folder,name=folder`.

    Raises:
        SettingsError: If it is anything else, or names one twice.
    """
    found: dict[str, Path] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, folder = part.partition("=")
        if not equals or not folder or not _NAME.fullmatch(name) or name in found:
            raise SettingsError(f"ADAPTERS holds {part!r}. Write name=folder,name=folder with each name once.")
        found[name] = Path(folder)
    return found


def check_adapter_settings(settings: Settings, keys_required: bool) -> None:
    """Raise if loading over HTTP would be open to everybody, or ADAPTERS cannot be read.

    Raises:
        SettingsError: With the remedy.
    """
    parse_adapters(settings.adapters)
    if settings.adapters_root is None:
        return
    if not keys_required:
        raise SettingsError(
            "ADAPTERS_ROOT lets callers load adapters, so they need a key. Set API_KEYS_DIR or API_KEY_PRIMARY."
        )
    if not settings.adapters_root.is_dir():
        raise SettingsError(f"ADAPTERS_ROOT is {settings.adapters_root}, which is no folder. Make it, or unset it.")


def folder_under_root(asked: str, settings: Settings) -> Path:
    """The folder that a caller names, if it lies under ADAPTERS_ROOT; links are followed first.

    Raises:
        InvalidInput: If it does not. The same words whether there is one or not, so that nothing is learnt of the rest.
    """
    assert settings.adapters_root is not None
    refused = InvalidInput(f"lora_path {asked[:200]!r} is no folder under the root of this server's adapters.")
    try:
        root = settings.adapters_root.resolve(strict=True)
        folder = (root / asked).resolve(strict=True)
        inside = folder.is_dir() and folder.is_relative_to(root) and folder != root
        files = [path.resolve(strict=True) for path in folder.iterdir()] if inside else []
    except (OSError, ValueError, RuntimeError) as error:
        raise refused from error
    if not inside or not all(path.is_relative_to(root) for path in files):
        raise refused
    return folder


def refuse_adapters(settings: Settings, reason: str) -> None:
    """Raise if the settings want adapters where there can be none.

    Raises:
        ModelError: With the reason.
    """
    if settings.wants_adapters:
        raise ModelError(f"ADAPTERS or ADAPTERS_ROOT is set, but {reason}")
