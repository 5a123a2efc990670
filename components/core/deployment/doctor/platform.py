"""What Kubeflow brings: Istio, Kubeflow Pipelines, Trainer, and the two optional ones."""

from collections.abc import Iterator

from components.core.deployment.doctor.finding import Finding, Status, Subject, dig, image_version
from components.core.deployment.kinds import find_kind
from components.core.deployment.kubernetes_api import ClusterError


def served_versions(subject: Subject, kind: str) -> list[str] | None:
    """API versions that the cluster serves of a kind; None if it has no such kind."""
    found = subject.cluster.get("CustomResourceDefinition", find_kind(kind).resource)
    if found is None:
        return None
    return [str(v.get("name")) for v in dig(found, "spec", "versions") or [] if v.get("served", True)]


def installed_version(subject: Subject, deployment: str, *namespaces: str) -> str:
    """Version of what is installed, by its image; `version unknown` where it cannot be seen."""
    for namespace in namespaces:
        try:
            found = subject.cluster.get("Deployment", deployment, namespace)
        except ClusterError as error:
            if error.status != 403:
                raise
            continue
        if found:
            return image_version(found) or "version unknown"
    return "version unknown"


def check_istio(subject: Subject) -> Iterator[Finding]:
    """Whether Istio's policies are known."""
    title, needed = "Istio", find_kind("AuthorizationPolicy").api_version.rpartition("/")[2]
    served = served_versions(subject, "AuthorizationPolicy")
    version = installed_version(subject, "istiod", "istio-system")
    if served is None:
        remedy = "Install Istio (Kubeflow brings it), or deploy with OVERLAY=standard and only API keys as guard."
        yield Finding("error" if subject.meshed else "warning", title, "not installed", remedy)
    elif needed not in served:
        remedy = "Upgrade to Istio 1.22 or newer."
        yield Finding("error", title, f"{version} serves security.istio.io {', '.join(served)} only", remedy)
    else:
        yield Finding("ok", title, f"{version}, security.istio.io {', '.join(served)}")


def check_pipelines(subject: Subject) -> Iterator[Finding]:
    """Whether Kubeflow Pipelines is there: its deployment, else its health page."""
    title, unseen = "Kubeflow Pipelines", False
    try:
        found = subject.cluster.get("Deployment", "ml-pipeline", "kubeflow")
    except ClusterError as error:
        if error.status != 403:
            raise
        found, unseen = None, True
    if found:
        yield Finding("ok", title, image_version(found) or "version unknown")
    elif subject.kfp_host:
        yield _ask_pipelines(subject)
    elif unseen:
        yield Finding("warning", title, "you have no right to look into namespace kubeflow", "Set KFP_HOST to ask it.")
    else:
        remedy = "Install Kubeflow Pipelines, or set KFP_HOST if it runs elsewhere."
        yield Finding("error", title, "no deployment ml-pipeline in namespace kubeflow", remedy)


def _ask_pipelines(subject: Subject) -> Finding:
    import httpx

    title, address = "Kubeflow Pipelines", f"{subject.kfp_host.rstrip('/')}/apis/v2beta1/healthz"
    token = subject.settings.kfp_token
    headers = {"authorization": f"Bearer {token.get_secret_value()}"} if token else {}
    try:
        answer = httpx.get(address, headers=headers, timeout=10)
        body = answer.json() if answer.status_code == 200 else {}
    except (httpx.HTTPError, ValueError) as error:
        reason = type(error).__name__
        return Finding("error", title, f"{address} does not answer ({reason})", "Check KFP_HOST and the network.")
    if answer.status_code != 200:
        return Finding("error", title, f"{address} answers {answer.status_code}", "Check KFP_HOST and KFP_TOKEN.")
    return Finding("ok", title, f"{dig(body, 'tag_name') or 'version unknown'} at {subject.kfp_host}")


def check_trainer(subject: Subject) -> Iterator[Finding]:
    """Whether several nodes can train together."""
    title, gpu = "Kubeflow Trainer", subject.recipe.gpu
    status: Status = "error" if gpu.num_nodes > 1 else "ok"
    only = "" if gpu.num_nodes > 1 else "; only gpu.num_nodes > 1 needs it"
    remedy = "Install Kubeflow Trainer 2, or set gpu.num_nodes=1." if gpu.num_nodes > 1 else ""
    served = served_versions(subject, "TrainJob")
    if served is None:
        yield Finding(status, title, f"not installed{only}", remedy)
    elif subject.cluster.get("ClusterTrainingRuntime", gpu.training_runtime) is None:
        yield Finding(status, title, f"no ClusterTrainingRuntime {gpu.training_runtime}{only}", remedy)
    else:
        version = installed_version(
            subject, "kubeflow-trainer-controller-manager", "kubeflow-system", "kubeflow", "kubeflow-trainer-system"
        )
        yield Finding("ok", title, f"{version}, runtime {gpu.training_runtime}")


def check_optional(subject: Subject) -> Iterator[Finding]:
    """What only some overlays use."""
    for title, kind, use in (
        ("KEDA", "ScaledObject", "manifests/components/keda"),
        ("Prometheus operator", "PodMonitor", "manifests/components/pod-monitor"),
    ):
        detail = "not installed" if served_versions(subject, kind) is None else "installed"
        yield Finding("ok", title, f"{detail}; only {use} needs it")
