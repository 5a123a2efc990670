"""The two keys of an endpoint: a Secret that its pods have as files, so that a new one needs no new pod."""

import base64
import binascii
import secrets
import time
from collections.abc import Callable

from components.core.deployment.cluster_endpoints.names import keys_secret, labels, selector
from components.core.deployment.endpoints.keys import NAMES, Which
from components.core.deployment.endpoints.promotion import Say
from components.core.deployment.kubernetes_api import Cluster, ClusterError
from components.core.deployment.local_servers import ServingError
from components.core.deployment.secrets import apply_secret
from components.core.errors import ConfigError

REFRESHED_ANNOTATION = "whetstone.dev/keys-refreshed"
"""On pods: a change of a pod makes its kubelet look at mounted Secrets at once, not within its minute."""
TAKEN_SECONDS = 180.0
"""Until every pod has a new key: the kubelet looks once a minute, and its cache may be a minute behind."""
_POLL_SECONDS = 0.5
_IN_A_ROW = 3
"""Answers by each instance on average before all of them count as asked."""


def make_keys(cluster: Cluster, namespace: str, endpoint: str) -> dict[Which, str]:
    """Make both keys of a new endpoint."""
    made = {name: secrets.token_urlsafe(32) for name in NAMES}
    _write(cluster, namespace, endpoint, made)
    return made


def read_keys(cluster: Cluster, namespace: str, endpoint: str) -> dict[Which, str]:
    """Both keys.

    Raises:
        ConfigError: If the Secret is gone or was damaged by hand.
    """
    name = keys_secret(endpoint)
    found = cluster.get("Secret", name, namespace)
    data = (found or {}).get("data") or {}
    try:
        return {which: base64.b64decode(data[which], validate=True).decode() for which in NAMES}
    except (KeyError, binascii.Error, UnicodeDecodeError):
        # from None: what could not be read may be a key
        raise ConfigError(
            f"Secret {name} in namespace {namespace} is missing or holds no primary and secondary key. "
            f"Delete the endpoint and create it again: python -m llm-pipelines.endpoint --cluster delete {endpoint}"
        ) from None


def replace_key(cluster: Cluster, namespace: str, endpoint: str, which: Which) -> tuple[str, str]:
    """Replace one key in the Secret, and have the kubelets look at it; the other one stays.

    Returns:
        The new key and the old one.
    """
    keys = read_keys(cluster, namespace, endpoint)
    old, new = keys[which], secrets.token_urlsafe(32)
    _write(cluster, namespace, endpoint, {**keys, which: new})
    moment = str(time.time())
    for pod in cluster.list("Pod", namespace, selector(endpoint)):
        try:
            cluster.annotate("Pod", pod["metadata"]["name"], namespace, {REFRESHED_ANNOTATION: moment})
        except ClusterError as error:
            # gone by now, or no right to: the kubelet looks by itself, only later
            if error.status not in (403, 404):
                raise
    return new, old


def wait_until_taken(
    deployments: dict[str, int],
    lets_in: Callable[[str, str], bool],
    new: str,
    old: str,
    say: Say,
    patience: float = TAKEN_SECONDS,
) -> None:
    """Ask every deployment until it takes the new key and refuses the old one.

    Args:
        deployments: Instances by name; they answer in turn, so each is asked several times.
        lets_in: Whether a deployment takes a key.
        new: Key.
        old: Key.
        say: Gets a line for each.
        patience: Seconds for all of them.

    Raises:
        ServingError: If one does not; the old key is good there for now.
    """
    started = time.monotonic()
    for name, instances in deployments.items():
        in_a_row = 0
        while in_a_row < (1 if instances == 1 else _IN_A_ROW * instances):
            in_a_row = in_a_row + 1 if lets_in(name, new) and not lets_in(name, old) else 0
            if in_a_row:
                continue
            if time.monotonic() - started > patience:
                raise ServingError(
                    f"the key is replaced (`keys show`), but {name} does not take it after {patience:.0f} s, or still "
                    "takes the old one. Look at `status` and at its pods."
                )
            time.sleep(_POLL_SECONDS)
        say(f"  {name} takes it ({time.monotonic() - started:.0f} s)")


def _write(cluster: Cluster, namespace: str, endpoint: str, keys: dict[Which, str]) -> None:
    values = {str(name): key for name, key in keys.items()}
    apply_secret(cluster, namespace, keys_secret(endpoint), values, labels(endpoint))
