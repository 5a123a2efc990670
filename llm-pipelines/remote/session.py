"""A session with Kubeflow Pipelines: where it is, its services, and what its refusals mean."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ssl import SSLCertVerificationError
from typing import Any
from urllib.parse import urlsplit

import kfp_server_api
from urllib3.exceptions import HTTPError, MaxRetryError, SSLError

from components.core.errors import ConfigError, PlatformError
from components.core.settings import Settings

# mypy cannot follow a folder whose name has a hyphen.
from .access import Api, Credentials, LoginPage, find_credentials  # type: ignore[import-not-found]


class Refused(PlatformError):
    """The server does not know who we are, or no longer."""


class Unreachable(PlatformError):
    """No answer, or one that a second try may change."""


class NotFound(PlatformError):
    """The server answers, but has no such thing."""


class Session:
    """The services of one Kubeflow Pipelines server, for one namespace."""

    def __init__(self, host: str, address: str, api: Api, namespace: str) -> None:
        self.host = host
        self.address = address
        """Where the API and the page of Kubeflow Pipelines are, without a slash at the end."""
        self.api = api
        self.asked_namespace = namespace
        self.namespace: str | None = namespace
        """Namespace of experiments and runs; none on a server without users, which refuses to hear of one."""
        self.renewable: bool = api.credentials.renewable
        self.health = kfp_server_api.HealthzServiceApi(api)
        self.runs = kfp_server_api.RunServiceApi(api)
        self.experiments = kfp_server_api.ExperimentServiceApi(api)
        self.schedules = kfp_server_api.RecurringRunServiceApi(api)
        self.pipelines = kfp_server_api.PipelineServiceApi(api)

    def call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call one of the services.

        Raises:
            Refused: If the credentials are not accepted.
            Unreachable: If no answer comes, or one that a second try may change.
            NotFound: If there is no such thing.
            PlatformError: If the server refuses for another reason.
        """
        with self._explained():
            return function(*arguments, **named)

    @property
    def pod_namespace(self) -> str:
        """Where the pods of the runs are: in the namespace of Kubeflow itself on a server without users."""
        return self.namespace or "kubeflow"

    def page(self, run_id: str) -> str:
        """Where a browser finds a run."""
        details = f"#/runs/details/{run_id}"
        name = urlsplit(self.address).hostname or ""
        if name.endswith((".kubeflow", ".svc", ".svc.cluster.local")):
            return f"/_/pipeline/?ns={self.asked_namespace}{details} of the Kubeflow dashboard"
        return f"{self.address}/{details}"

    @contextmanager
    def _explained(self) -> Iterator[None]:
        where = f"Kubeflow Pipelines at {self.host}"
        try:
            yield
        except LoginPage as error:
            raise self._page_instead(where, error.location) from error
        except kfp_server_api.ApiException as error:
            raise self._answer(where, error) from error
        except MaxRetryError as error:
            if isinstance(error.reason, SSLError):
                raise self._not_secure(error.reason.args[0]) from error
            raise self._silence(where) from error
        except (HTTPError, OSError) as error:
            raise self._silence(where) from error

    def _not_secure(self, error: Any) -> PlatformError:
        if isinstance(error, SSLCertVerificationError):
            return PlatformError(
                f"the certificate of {self.host} is not trusted ({error.verify_message}). Set KFP_CA_FILE to the file "
                "(PEM) of the authority that signed it."
            )
        return PlatformError(f"no secure connection with {self.host}: {error}. Check KFP_HOST and KFP_CA_FILE.")

    def _silence(self, where: str) -> PlatformError:
        return Unreachable(f"cannot reach {where}. Check KFP_HOST and the network, or leave it empty to run here.")

    def _page_instead(self, where: str, location: str) -> PlatformError:
        target = urlsplit(location)
        if (
            target.scheme == "https"
            and target.hostname == urlsplit(self.host).hostname
            and self.host.startswith("http:")
        ):
            return ConfigError(f"{where} answers by https only. Set KFP_HOST to https://{target.netloc}.")
        return Refused(f"{where} answered with a login page. {self._remedy()}")

    def _answer(self, where: str, error: Any) -> PlatformError:
        said = _message(error.body)
        if error.status == 401:
            return Refused(f"{where} answered 401 {error.reason}: it does not accept who you are. {self._remedy()}")
        if error.status == 403:
            return PlatformError(
                f"{where} answered 403 {error.reason} for namespace {self.asked_namespace}{said}. "
                "Set KFP_NAMESPACE to yours, or take a token of a ServiceAccount there."
            )
        if error.status == 404:
            return NotFound(f"{where} answered 404 {error.reason}{said}. Check KFP_HOST, and the name if you gave one.")
        if error.status == 429 or error.status >= 500:
            return Unreachable(f"{where} answered {error.status} {error.reason}. Look at the ml-pipeline pod's log.")
        return PlatformError(
            f"{where} answered {error.status} {error.reason}{said}. Look at the ml-pipeline pod's log."
        )

    def _remedy(self) -> str:
        # A token of this audience can do nothing but use pipelines, through the gateway and inside the cluster.
        command = (
            f"kubectl create token default-editor -n {self.asked_namespace} --audience pipelines.kubeflow.org "
            "--duration 8h"
        )
        source = self.api.credentials.source
        if self.api.credentials.cookies:
            return (
                f"Sign in with the browser and copy the cookies into {source} again, or use a token instead: {command}"
            )
        if self.renewable:
            return f"Write a new token into the file of {source}: {command}"
        start = "Its token is wrong or has expired; make a new one" if source else "Set KFP_TOKEN"
        return f'{start}: export KFP_TOKEN="$({command})"'


def _message(body: str | None) -> str:
    """What the server says about a refusal, ready to stand behind the status."""
    try:
        answer = json.loads(body or "")
        text = str(answer.get("message") or answer.get("error") or "")
    except (ValueError, AttributeError):
        text = "" if (body or "").lstrip().startswith("<") else body or ""
    line = " ".join(text.split())
    return f": {line[:300]}" if line else ""


def connect(host: str, namespace: str, settings: Settings) -> Session:
    """Find the API below a host and make sure that it answers.

    Args:
        host: Address of Kubeflow (`https://kubeflow.example`), of its pipelines (`.../pipeline`), or of ml-pipeline-ui.
        namespace: Where experiments and runs are; a server without users does without.
        settings: Names credentials and certificates.

    Raises:
        ConfigError: If the host, the credentials or the certificate file cannot be used.
        PlatformError: If the server cannot be reached or refuses.
    """
    credentials = find_credentials(settings)
    host = host.rstrip("/")
    if urlsplit(host).scheme not in {"http", "https"} or not urlsplit(host).hostname:
        raise ConfigError(f"KFP_HOST {host} is not an address. Write it as https://kubeflow.example.")
    if settings.kfp_ca_file and not settings.kfp_ca_file.is_file():
        raise ConfigError(f"cannot read {settings.kfp_ca_file}. Set KFP_CA_FILE to a file of certificates (PEM).")
    # The gateway of Kubeflow keeps pipelines under a path of their own and answers with the dashboard elsewhere.
    if not host.endswith("/pipeline"):
        with suppress(Refused, NotFound):
            return _open(host, host, namespace, credentials, settings)
    return _open(host, f"{host.removesuffix('/pipeline')}/pipeline", namespace, credentials, settings)


def _open(host: str, address: str, namespace: str, credentials: Credentials, settings: Settings) -> Session:
    session = Session(host, address, Api(address, credentials, settings.kfp_ca_file), namespace)
    health = session.call(session.health.healthz_service_get_healthz)
    session.namespace = namespace if health.multi_user else None
    return session
