"""How requests reach Kubeflow Pipelines: credentials, time limits, and pages that stand where an answer should."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kfp_server_api
import urllib3

from components.core.errors import ConfigError
from components.core.settings import Settings

TIMEOUT_SECONDS = (10, 60)
"""To connect, and between two pieces of an answer."""


class NoCredentials(ConfigError):
    """Credentials cannot be read or sent; a file that is being renewed may be empty for a moment."""


class LoginPage(Exception):
    """A page for people came instead of an answer; `location` is where a redirect led, empty for a page itself."""

    def __init__(self, location: str = "") -> None:
        super().__init__(location)
        self.location = location


@dataclass(frozen=True)
class Credentials:
    """One way to say who we are: a bearer token or a session's cookies, never both; neither sends nothing."""

    token: Callable[[], str] | None = None
    cookies: Callable[[], str] | None = None
    source: str = ""
    """Name of the variable or file that they come from."""
    renewable: bool = False
    """They are read again for every request, so that a refusal may pass."""


def find_credentials(settings: Settings) -> Credentials:
    """The credentials that the environment names; inside a pod the token that the cluster puts there.

    Raises:
        ConfigError: If two ways are named at once.
        NoCredentials: If they cannot be read or sent.
    """
    given = [
        name
        for name in ("kfp_token", "kfp_token_file", "kfp_cookies", "kfp_cookies_file")
        if getattr(settings, name) is not None
    ]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(name.upper() for name in given)} are set. Keep one and unset the other.")
    if settings.kfp_token:
        token = _checked(settings.kfp_token.get_secret_value(), "KFP_TOKEN")
        return Credentials(token=lambda: token, source="KFP_TOKEN")
    if settings.kfp_cookies:
        cookies = _checked(settings.kfp_cookies.get_secret_value(), "KFP_COOKIES")
        return Credentials(cookies=lambda: cookies, source="KFP_COOKIES")
    if settings.kfp_cookies_file:
        return Credentials(cookies=_file(settings.kfp_cookies_file), source="KFP_COOKIES_FILE", renewable=True)
    if settings.kfp_token_file:
        return Credentials(token=_file(settings.kfp_token_file), source="KFP_TOKEN_FILE", renewable=True)
    if settings.kf_pipelines_sa_token_path.exists():
        path = settings.kf_pipelines_sa_token_path
        return Credentials(token=_file(path), source=str(path), renewable=True)
    return Credentials()


def _file(path: Path) -> Callable[[], str]:
    def read() -> str:
        try:
            return _checked(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise NoCredentials(f"cannot read {path}, which should hold a token or cookies. Check its path.") from error

    read()
    return read


def _checked(secret: str, source: str) -> str:
    secret = secret.strip()
    # Python's HTTP client would put a value that it cannot send into its error message.
    if not secret or not (secret.isascii() and secret.isprintable()):
        raise NoCredentials(f"{source} is empty or more than one line of plain text. Copy it again.")
    return secret


class Api(kfp_server_api.ApiClient):  # type: ignore[misc]
    """The generated client of Kubeflow Pipelines with time limits, fresh credentials, and no redirects.

    `kfp.Client` builds its own, which waits forever on a dead connection, follows a redirect to a login page, takes
    that page for an empty answer, and reads a cookie from a file in the home folder.
    """

    def __init__(self, address: str, credentials: Credentials, ca_file: Path | None) -> None:
        configuration = kfp_server_api.Configuration(host=address)
        configuration.ssl_ca_cert = str(ca_file) if ca_file else None
        # Only what never reached the server is tried again, so that no run is started twice.
        configuration.retries = urllib3.Retry(connect=2, read=0, redirect=0, status=0, other=0, raise_on_redirect=False)
        if credentials.token:
            read = credentials.token
            configuration.api_key = {"authorization": ""}
            configuration.api_key_prefix = {"authorization": "Bearer"}
            configuration.refresh_api_key_hook = lambda current: current.api_key.update(authorization=read())
        self.credentials = credentials
        super().__init__(configuration)

    def request(self, method: str, url: str, headers: Any = None, **arguments: Any) -> Any:
        """Send one request.

        Raises:
            LoginPage: If a page or a redirect comes back.
        """
        headers = dict(headers or {})
        if self.credentials.cookies:
            headers["Cookie"] = self.credentials.cookies()
        arguments["_request_timeout"] = TIMEOUT_SECONDS
        try:
            response = super().request(method, url, headers=headers, **arguments)
        except kfp_server_api.ApiException as error:
            if error.status in range(300, 400) or (error.status in {401, 403} and _is_page(error.headers)):
                raise LoginPage(error.headers.get("location", "")) from error
            raise
        if _is_page(getattr(response, "urllib3_response", response).headers):
            raise LoginPage
        return response

    def text(self, path: str, **query: str) -> str:
        """GET something that is not part of the generated client, as text."""
        response = self.call_api(
            path, "GET", query_params=list(query.items()), auth_settings=["Bearer"], _preload_content=False
        )
        # The generated client answers with a triple here: (response, ...) only when it has read the content itself.
        return str(response.data.decode("utf-8", errors="replace"))


def _is_page(headers: Any) -> bool:
    return "text/html" in headers.get("content-type", "")
