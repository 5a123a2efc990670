"""MLflow: one run per training, one registered version per published model, and who the champion is."""

import hashlib
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.core.recipe import RegistryConfig
from components.core.registry.access import Access
from components.core.registry.facts import EVALUATION_FILE, TRAINING_INFO_FILE, RunFacts, read_facts
from components.core.registry.head_facts import read_head_facts
from components.core.registry.loadable.packaging import LOADABLE_FOLDER, log_loadable
from components.core.registry.mlflow_store import clear_errors, experiment_id, open_client
from components.core.registry.model_folder import card_text
from components.core.registry.names import CANDIDATE, LABEL_TAG, PLACE_TAG, registered_source
from components.core.registry.owners import mark_folder, take_name
from components.core.registry.promotion import advance_champion
from components.core.registry.publishing import Published
from components.core.registry.run_record import write_record
from components.core.settings import Settings

logger = logging.getLogger(__name__)

KEY_TAG = "whetstone.key"


@dataclass(frozen=True)
class Registered:
    """What was recorded; plain values, so that it travels between steps as JSON."""

    run_id: str
    """MLflow run."""
    name: str
    """Registered model name, which also is the experiment's."""
    version: str | None
    """Version of the registered model; None for a model that the gate refused."""


def register(
    published: Published | None,
    model_dir: Path,
    evaluation_dir: Path,
    dataset_dir: Path,
    registry: RegistryConfig,
    recipe_sections: dict[str, Any],
    settings: Settings,
) -> Registered:
    """Record the run and, when the model was published, register it as a version.

    The newest version gets the alias `candidate`. When the gate found it better it gets `champion` too, and later
    models are compared with it; a model that passed only because the gate was off does not. Registering the same result
    again (a step that is tried again) finds the first record and adds nothing.

    Args:
        published: What `publish` returned; None for a refused model, whose run is recorded without a version.
        model_dir: What the training wrote.
        evaluation_dir: What the evaluation wrote.
        dataset_dir: The prepared dataset.
        registry: Name, description and licence.
        recipe_sections: All sections of the recipe, by name.
        settings: Tracking address and folders.

    Raises:
        StorageError: If a file of the run is missing or broken.
        RegistryError: If MLflow cannot be reached or refuses.
    """
    facts = read_facts(model_dir, evaluation_dir, dataset_dir, registry, recipe_sections, settings)
    return _register(facts, published, model_dir, evaluation_dir, dataset_dir, registry, settings)


def register_head(
    published: Published | None,
    model_dir: Path,
    evaluation_dir: Path,
    preprocess_dir: Path,
    registry: RegistryConfig,
    settings: Settings,
) -> Registered:
    """The same for a model of the task catalogue.

    Args:
        published: What `publish_head` returned; None for a refused model.
        model_dir: What finetune wrote.
        evaluation_dir: What the evaluation wrote.
        preprocess_dir: What preprocess wrote.
        registry: Name, description and licence.
        settings: Tracking address and folders.

    Raises:
        StorageError: If a file of the run is missing or broken.
        RegistryError: If MLflow cannot be reached or refuses.
    """
    facts = read_head_facts(model_dir, evaluation_dir, preprocess_dir, registry, settings)
    return _register(facts, published, model_dir, evaluation_dir, preprocess_dir, registry, settings)


def _register(
    facts: RunFacts,
    published: Published | None,
    model_dir: Path,
    evaluation_dir: Path,
    dataset_dir: Path,
    registry: RegistryConfig,
    settings: Settings,
) -> Registered:
    key = _result_key(published, model_dir, evaluation_dir)
    with clear_errors(settings, "record the run"):
        client = open_client(settings)
        run_id = _recorded(client, facts.name, key, settings)
        if run_id is None:
            card = card_text(facts, model_dir, registry, settings)
            run_id = _record(client, facts, key, card, published, model_dir, evaluation_dir, dataset_dir, settings)
    if published is None:
        logger.info("Recorded run %s of %s; it was refused and gets no version", run_id, facts.name)
        return Registered(run_id, facts.name, None)
    with clear_errors(settings, "register the model"):
        access = take_name(client, facts.name, facts.access, registry.description)
        version = _version(client, facts, published, access, run_id, registry.description)
        if access != facts.access:
            mark_folder(registered_source(published.uri, facts.name, published.version), access, settings)
        _advance_candidate(client, facts.name, version)
        if facts.judged.verdict.status == "passed" and facts.judged.verdict.outcome == "better":
            advance_champion(client, facts.name, version)
        else:
            logger.warning("%s version %s is no champion: %s", facts.name, version, facts.judged.verdict.headline)
    logger.info("Registered %s version %s (run %s)", facts.name, version, run_id)
    return Registered(run_id, facts.name, version)


def _advance_candidate(client: Any, name: str, version: str) -> None:
    """Move the alias to a newer version; an old result that is registered again must not take it back."""
    current = client.get_registered_model(name).aliases.get(CANDIDATE)
    if current is None or int(current) < int(version):
        client.set_registered_model_alias(name, CANDIDATE, version)


def _result_key(published: Published | None, model_dir: Path, evaluation_dir: Path) -> str:
    """The same for the same result, whoever registers it."""
    digest = hashlib.sha256((published.uri if published else "").encode())
    for file in (model_dir / TRAINING_INFO_FILE, evaluation_dir / EVALUATION_FILE):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _recorded(client: Any, name: str, key: str, settings: Settings) -> str | None:
    """The run of an earlier try that was recorded to its end."""
    runs = client.search_runs(
        [experiment_id(client, name, settings)],
        filter_string=f"tags.`{KEY_TAG}` = '{key}' and attributes.status = 'FINISHED'",
        max_results=1,
    )
    return str(runs[0].info.run_id) if runs else None


def _record(
    client: Any,
    facts: RunFacts,
    key: str,
    card: str,
    published: Published | None,
    model_dir: Path,
    evaluation_dir: Path,
    dataset_dir: Path,
    settings: Settings,
) -> str:
    tags = _tags(facts, published) | {KEY_TAG: key}
    run = client.create_run(experiment_id(client, facts.name, settings), tags=tags, run_name=facts.training.run_id)
    run_id = str(run.info.run_id)
    try:
        write_record(client, run_id, facts, card, model_dir, evaluation_dir, dataset_dir)
        if published is not None and facts.head is None:
            log_loadable(client, run_id, tags[PLACE_TAG], published.content_sha256)
    except Exception:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")
    return run_id


def _tags(facts: RunFacts, published: Published | None) -> dict[str, str]:
    verdict = facts.judged.verdict
    tags = {
        "verdict": verdict.status,
        "outcome": verdict.outcome,
        "headline": verdict.headline,
        "task": facts.task,
        "method": facts.method,
        "base_model": facts.base_model_id,
        "base_model_revision": facts.training.base_model_revision,
        "dataset": facts.dataset_id,
        "dataset_revision": facts.dataset.revision,
        "dataset_fingerprint": facts.dataset.fingerprint,
        "git_commit": facts.training.git_commit,
        "training_run": facts.training.run_id,
    }
    if published is not None:
        tags |= {PLACE_TAG: registered_source(published.uri, facts.name, published.version)}
        tags |= {"content_sha256": published.content_sha256, "weights": published.weights}
    return {name: value for name, value in tags.items() if value}


def _version(client: Any, facts: RunFacts, published: Published, access: Access, run_id: str, description: str) -> str:
    known = [v for v in client.search_model_versions(f"name = '{facts.name}'") if v.run_id == run_id]
    if known:
        return str(known[0].version)
    place = registered_source(published.uri, facts.name, published.version)
    # what MLflow's own loader reads; a model with a head has nothing there
    source = place if facts.head is not None else f"runs:/{run_id}/{LOADABLE_FOLDER}"
    made = client.create_model_version(
        facts.name,
        source,
        run_id=run_id,
        tags=_tags(facts, published) | access.tags() | {LABEL_TAG: f"{datetime.now(UTC):%Y%m%d%H%M%S}"},
        description=f"{description}\n\n{facts.judged.verdict.headline}".strip(),
        await_creation_for=0,
    )
    return str(made.version)
