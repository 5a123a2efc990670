"""What is in the cluster of endpoint and page: for people, and read from the cluster alone."""

from collections.abc import Iterator

from components.core.deployment.diagnosis import diagnose
from components.core.deployment.kubernetes_api import Cluster, ClusterError, Object
from components.core.deployment.rollout import MODE_ANNOTATION, read_state
from components.core.deployment.secrets import API_SECRET, API_VARIABLES, HUB_VARIABLES, KEYS_SECRET
from components.core.settings import HUB_SECRET

_SECRETS = {
    HUB_SECRET: (list(HUB_VARIABLES.values()), "make create-secret"),
    API_SECRET: (list(API_VARIABLES.values()), "make api-deploy"),
    KEYS_SECRET: (["primary", "secondary"], "make api-deploy"),
}
WORKLOADS = {"api": ("InferenceService", "llm-api"), "ui": ("Deployment", "llm-ui")}


def describe(cluster: Cluster, namespace: str) -> Iterator[str]:
    """Lines about secrets, workloads, their pods, what is wrong with them, and their addresses."""
    yield f"Namespace {namespace} on {cluster.address}"
    yield ""
    for name, (keys, remedy) in _SECRETS.items():
        yield f"Secret {name:<20} {_secret_state(cluster, namespace, name, keys, remedy)}"
    for part, (kind, name) in WORKLOADS.items():
        yield ""
        live = cluster.get(kind, name, namespace)
        if live is None:
            yield f"{kind} {name}: not deployed (make {part}-deploy)"
            continue
        yield from _describe_workload(cluster, namespace, {**live, "kind": kind})
        for line in (endpoint_address if part == "api" else page_addresses)(cluster, namespace):
            yield f"  {line}"


def _secret_state(cluster: Cluster, namespace: str, name: str, keys: list[str], remedy: str) -> str:
    try:
        found = cluster.get("Secret", name, namespace)
    except ClusterError as error:
        if error.status != 403:
            raise
        return "you may not look at it"
    if found is None:
        return f"missing ({remedy})"
    lacking = [key for key in keys if key not in (found.get("data") or {})]
    return f"lacks {', '.join(lacking)} ({remedy})" if lacking else f"present ({', '.join(keys)})"


def _describe_workload(cluster: Cluster, namespace: str, live: Object) -> Iterator[str]:
    name = live["metadata"]["name"]
    state = read_state(cluster, live)
    facts = [state.line if state.line == "ready" or not state.ready else f"ready, {state.line}"]
    if live["kind"] == "InferenceService":
        facts.append(f"mode {live['metadata'].get('annotations', {}).get(MODE_ANNOTATION, 'not set')}")
        served = cluster.get("ConfigMap", name, namespace) or {}
        facts.append(f"model {served.get('data', {}).get('model_name', 'unknown')}")
    yield f"{live['kind']} {name}: {', '.join(facts)}"
    for pod in state.pods:
        containers = pod.get("status", {}).get("containerStatuses", [])
        ready, restarts = (
            sum(c.get("ready", False) for c in containers),
            sum(c.get("restartCount", 0) for c in containers),
        )
        phase = pod.get("status", {}).get("phase", "?")
        yield f"  pod {pod['metadata']['name']}: {phase}, {ready} of {len(containers)} containers, {restarts} restarts"
    if not state.ready:
        owner = name + ("-predictor" if live["kind"] == "InferenceService" else "")
        for trouble in diagnose(cluster, namespace, state.pods, owner):
            yield f"  {trouble.what}"
            yield f"    -> {trouble.remedy}"


def endpoint_address(cluster: Cluster, namespace: str) -> list[str]:
    """Where the endpoint is reached from inside the cluster, and how from here."""
    live = cluster.get("InferenceService", "llm-api", namespace) or {}
    inside = f"http://llm-api-predictor.{namespace}.svc.cluster.local"
    lines = [f"inside the cluster  {inside} (POST /generate, key in Secret {KEYS_SECRET})"]
    url = live.get("status", {}).get("url")
    return [*lines, *([f"KServe's address    {url}"] if url and url != inside else [])]


def page_addresses(cluster: Cluster, namespace: str) -> list[str]:
    """Where a browser finds the page."""
    lines = []
    routes = cluster.get("VirtualService", "llm-ui", namespace) or {}
    for prefix in _prefixes(routes):
        lines.append(f"through the gateway https://<your Kubeflow address>{prefix}")
    service = cluster.get("Service", "llm-ui", namespace) or {}
    for entry in service.get("status", {}).get("loadBalancer", {}).get("ingress", []):
        lines.append(f"load balancer       http://{entry.get('hostname') or entry.get('ip')}/")
    if service.get("spec", {}).get("type") == "LoadBalancer" and len(lines) == 0:
        lines.append("load balancer       has no address yet (kubectl get service llm-ui shows it)")
    local = f"kubectl port-forward -n {namespace} deployment/llm-ui 8501:8501"
    # the gateway takes its prefix off, so the page itself lies at the root
    return [*lines, f"from this machine   {local}, then http://127.0.0.1:8501/"]


def _prefixes(routes: Object) -> list[str]:
    found = [
        match["uri"]["prefix"]
        for http in routes.get("spec", {}).get("http", [])
        for match in http.get("match", [])
        if "prefix" in match.get("uri", {})
    ]
    return list(dict.fromkeys(found))


def read_logs(cluster: Cluster, namespace: str, part: str, lines: int) -> Iterator[str]:
    """Last lines of every container of a part; of the try before, where the present one has said nothing yet."""
    kind, name = WORKLOADS[part]
    selector = f"serving.kserve.io/inferenceservice={name}" if kind == "InferenceService" else f"app={name}"
    pods = cluster.list("Pod", namespace, selector)
    if not pods:
        yield f"There are no pods of {name} in namespace {namespace} (make {part}-deploy, make status)."
    for pod in pods:
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            text, when = cluster.logs(pod["metadata"]["name"], namespace, container["name"], lines), ""
            if not text.strip():
                text = cluster.logs(pod["metadata"]["name"], namespace, container["name"], lines, previous=True)
                when = " (its try before)" if text else ""
            yield f"== {pod['metadata']['name']} / {container['name']}{when}"
            yield text.rstrip("\n") or "(no output yet)"
