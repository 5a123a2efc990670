"""Putting the endpoint or its page into a cluster, and taking it out again.

Everything is looked at before anything is changed; what is applied is written to build/deploy; secrets go first.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml

from components.core.deployment.kinds import KINDS
from components.core.deployment.kubernetes_api import Cluster, ClusterError, Object
from components.core.deployment.manifest_check import check_documents
from components.core.deployment.model_access import check_usable
from components.core.deployment.model_size import model_bytes
from components.core.deployment.rendering import Release, find, render, stamp_settings
from components.core.deployment.rollout import MODE_ANNOTATION, Patience, wait_until_ready
from components.core.deployment.secrets import (
    API_SECRET,
    KEYS_SECRET,
    apply_secret,
    keep_api_keys,
)
from components.core.deployment.startup import size_startup
from components.core.errors import ConfigError, PlatformError
from components.core.settings import Settings

RENDERED_ANNOTATION = "whetstone.dev/overlay-model"
"""On the ConfigMap: the model that the overlay named last time, so that a change of the overlay is noticed."""
SECRETS = {"api": (API_SECRET, KEYS_SECRET), "ui": ()}
"""Secrets that belong to a part, and go with it."""
Say = Callable[[str], None]


def prepare(
    release: Release,
    root: Path,
    settings: Settings,
    wish: str | None = None,
    live: Object | None = None,
    say: Say = print,
) -> list[Object]:
    """Render a release and hold it against our own rules.

    Args:
        release: What is wanted.
        root: Of the checkout.
        settings: Address and token of the Hub, which is asked for the model's size; repository of the tuned model.
        wish: The model to serve, if it was named.
        live: ConfigMap `llm-api` as it is in the cluster, if there is one.
        say: Gets notes.

    Raises:
        ConfigError: If the overlay does not build, or a rule is broken; all findings are in the message.
        RegistryError: If the model is restricted to another namespace.
    """
    documents = render(release, root)
    findings = check_documents(documents)
    if findings:
        lines = "\n".join(f"  {finding}" for finding in findings)
        raise ConfigError(f"the overlay {release.overlay} breaks rules that no cluster checks:\n{lines}")
    service, served = find(documents, "InferenceService", "llm-api"), find(documents, "ConfigMap", "llm-api")
    if service and served:
        rendered = served["data"]["model_name"]
        model = choose_model(wish, rendered, live, settings.hf_repo)
        check_usable(model, settings, release.namespace)
        served["data"]["model_name"] = model
        served["metadata"].setdefault("annotations", {})[RENDERED_ANNOTATION] = rendered
        say(f"Model {model}")
        _size_probe(service, model, settings, say)
    return documents


def choose_model(wish: str | None, rendered: str, live: Object | None, repository: str | None) -> str:
    """What the endpoint serves: a wish, else what was changed last, in the overlay or by hand in the cluster.

    Args:
        wish: The model that was named.
        rendered: `model_name` of the overlay.
        live: ConfigMap `llm-api` of the cluster; none before the first deployment.
        repository: Hub repository of the tuned model, which is what a first deployment serves.
    """
    served = (live or {}).get("data", {}).get("model_name")
    if wish or not served:
        return wish or repository or rendered
    before = (live or {})["metadata"].get("annotations", {}).get(RENDERED_ANNOTATION, rendered)
    return str(served) if before == rendered else rendered


def _size_probe(service: Object, model: str, settings: Settings, say: Say) -> None:
    size = model_bytes(model, settings)
    if size is None:
        say(f"note: the size of {model} is not known here, so the startup probe stays as the overlay has it")
        return
    size_startup(service, size)


def deploy(
    cluster: Cluster,
    release: Release,
    documents: list[Object],
    root: Path,
    patience: Patience,
    secret: Mapping[str, str] | None = None,
    say: Say = print,
) -> None:
    """Apply a prepared release and wait until it is ready; run again, it changes what has changed.

    Args:
        cluster: Where to.
        release: What is wanted.
        documents: Of `prepare`.
        root: Of the checkout; what is applied is written below `build/deploy`.
        patience: How long to wait.
        secret: Values of the endpoint's secret by key; none keeps the one that is there.
        say: Gets the lines of progress.

    Raises:
        PlatformError: If the cluster refuses, or what was applied does not become ready.
    """
    _check_namespace(cluster, release)
    _check_mode(cluster, release, documents)
    try_documents(cluster, documents)
    _apply_secrets(cluster, release, secret, say)
    names = (API_SECRET, KEYS_SECRET) if release.part == "api" else (KEYS_SECRET,)
    stamp_settings(documents, [_version(cluster, name, release.namespace) for name in names])
    _write(documents, root / "build" / "deploy" / f"{release.part}.yaml")
    for document in documents:
        say(f"  {document['kind']} {document['metadata']['name']}: {cluster.apply(document)}")
    _remove(cluster, [found for found in _owned(cluster, release) if not _is_in(found, documents)], say)
    wait_until_ready(cluster, documents, patience, say)


def destroy(cluster: Cluster, release: Release, patience: Patience, say: Say = print) -> bool:
    """Take a part out of the cluster, whatever overlay it came from, and wait until its pods are gone.

    Volumes stay, with what was downloaded to them. Returns whether there was anything.
    """
    owned = sorted(_owned(cluster, release), key=lambda found: found["kind"] != "InferenceService")
    _remove(cluster, owned, say)
    secrets = [name for name in SECRETS[release.part] if cluster.delete("Secret", name, release.namespace)]
    for name in secrets:
        say(f"  Secret {name}: deleted")
    _wait_until_gone(cluster, release, owned, patience, say)
    for claim in cluster.list("PersistentVolumeClaim", release.namespace, release.label):
        name = claim["metadata"]["name"]
        say(f"  PersistentVolumeClaim {name} stays: kubectl delete pvc {name} -n {release.namespace}")
    return bool(owned or secrets)


def _check_namespace(cluster: Cluster, release: Release) -> None:
    try:
        found = cluster.get("Namespace", release.namespace)
    except ClusterError as error:
        # who may work in a namespace need not be allowed to look at it
        if error.status != 403:
            raise
        return
    if not found:
        raise ConfigError(f"namespace {release.namespace} does not exist. Create it, or set NAMESPACE to yours.")


def _check_mode(cluster: Cluster, release: Release, documents: Sequence[Object]) -> None:
    for document in documents:
        if document["kind"] != "InferenceService":
            continue
        name = document["metadata"]["name"]
        live = cluster.get("InferenceService", name, release.namespace)
        modes = [d["metadata"].get("annotations", {}).get(MODE_ANNOTATION, "?") for d in (live or document, document)]
        known = {"RawDeployment": "Standard", "Serverless": "Knative"}
        if known.get(modes[0], modes[0]) != modes[1]:
            raise ConfigError(
                f"InferenceService {name} runs in mode {modes[0]}, and the mode of a live service cannot be changed to "
                f"{modes[1]}. Run `make api-destroy` first, or choose an overlay of its mode."
            )


def try_documents(cluster: Cluster, documents: Sequence[Object]) -> None:
    """Let the API server look at everything before anything is changed.

    Raises:
        PlatformError: With everything that it refuses.
    """
    problems = []
    for document in documents:
        try:
            cluster.try_apply(document)
        except ClusterError as error:
            if error.status in (0, 401):
                raise
            missing = error.status == 404 and "does not exist" not in str(error)
            advice = f"; the cluster does not know {document['apiVersion']}: install it, or choose another OVERLAY"
            said = f"not installed{advice}" if missing else str(error)
            problems.append(f"  {document['kind']} {document['metadata']['name']}: {said}")
    if problems:
        raise PlatformError("the cluster does not take this release, and nothing was changed:\n" + "\n".join(problems))


def _apply_secrets(cluster: Cluster, release: Release, secret: Mapping[str, str] | None, say: Say) -> None:
    if release.part == "api":
        done = apply_secret(cluster, release.namespace, API_SECRET, secret) if secret else "unchanged"
        say(f"  Secret {API_SECRET}: {done}")
        say(f"  Secret {KEYS_SECRET}: {keep_api_keys(cluster, release.namespace)}")
    elif not cluster.get("Secret", KEYS_SECRET, release.namespace):
        say(
            f"note: there is no Secret {KEYS_SECRET}, so the page shows no key. Run `make api-deploy`, then this again."
        )


def _version(cluster: Cluster, secret: str, namespace: str) -> str:
    found = cluster.get("Secret", secret, namespace)
    return str(found["metadata"].get("resourceVersion", "")) if found else ""


def _write(documents: Sequence[Object], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump_all(documents, sort_keys=False), encoding="utf-8")


def _owned(cluster: Cluster, release: Release) -> list[Object]:
    """Everything of a part that this command has ever applied and that is still there, volumes apart."""
    found: list[Object] = []
    for name, kind in KINDS.items():
        if not kind.namespaced or name in ("Event", "Pod", "ReplicaSet", "PersistentVolumeClaim", "KnativeService"):
            continue
        try:
            listed = cluster.list(name, release.namespace, release.label)
        except ClusterError as error:
            if error.status != 403:
                raise
            continue
        # what a controller made carries its owner's labels, too, and goes with its owner; a list leaves the kind out
        found += [{**item, "kind": name} for item in listed if not item["metadata"].get("ownerReferences")]
    return found


def _is_in(found: Object, documents: Sequence[Object]) -> bool:
    return find(documents, found["kind"], found["metadata"]["name"]) is not None


def _remove(cluster: Cluster, objects: Sequence[Object], say: Say) -> None:
    for document in objects:
        metadata = document["metadata"]
        if cluster.delete(document["kind"], metadata["name"], metadata["namespace"]):
            say(f"  {document['kind']} {metadata['name']}: deleted")


def _wait_until_gone(cluster: Cluster, release: Release, owned: Sequence[Object], patience: Patience, say: Say) -> None:
    services = [document["metadata"]["name"] for document in owned if document["kind"] == "InferenceService"]
    selectors = [f"serving.kserve.io/inferenceservice={name}" for name in services]
    selectors += [f"app={d['metadata']['name']}" for d in owned if d["kind"] == "Deployment"]
    started, said = time.monotonic(), ""
    while True:
        pods = [pod for selector in selectors for pod in cluster.list("Pod", release.namespace, selector)]
        kept = [name for name in services if cluster.get("InferenceService", name, release.namespace)]
        if not pods and not kept:
            return
        line = f"  waiting for {len(pods)} pods to end"
        if line != said:
            say(line)
            said = line
        if time.monotonic() - started > patience.total:
            raise PlatformError(
                f"{len(pods)} pods and {len(kept)} InferenceServices are still there after {patience.total:.0f} s. "
                f"Look at: kubectl get pods -n {release.namespace}"
            )
        time.sleep(patience.poll)
