"""Where the endpoint is and the key it asks for: read from the environment when the page is drawn."""

from typing import Annotated

from pydantic import AnyHttpUrl, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ui.problems import Problem, sentence


class Settings(BaseSettings):
    """Each field is an environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    api_url: AnyHttpUrl = AnyHttpUrl("http://127.0.0.1:8080")
    """Address of the endpoint, such as http://llm-api.my-namespace.svc.cluster.local."""
    api_key: SecretStr | None = None
    """Key that the endpoint asks for; none where it asks for none."""
    request_timeout_seconds: Annotated[float, Field(gt=0)] = 130.0
    """Longest silence of the endpoint; above its own limit of 120 s, so that its own message arrives."""

    @field_validator("api_key")
    @classmethod
    def _fits_a_header(cls, key: SecretStr | None) -> SecretStr | None:
        if key is None:
            return None
        # A key that comes from a file often ends with a newline, which no header may hold.
        text = key.get_secret_value().strip()
        if not text.isascii() or not text.isprintable():
            raise ValueError("only printable ASCII characters can be sent as a key")
        return SecretStr(text) if text else None

    @property
    def address(self) -> str:
        """API_URL for the eye: without user name, password and query."""
        port = f":{self.api_url.port}" if self.api_url.port not in (None, 80, 443) else ""
        return f"{self.api_url.scheme}://{self.api_url.host}{port}{(self.api_url.path or '').rstrip('/')}"


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        Problem: Naming each variable with an impossible value, never its content.
    """
    try:
        return Settings()
    except ValidationError as error:
        found = "; ".join(f"{str(p['loc'][0]).upper()}: {p['msg']}" for p in error.errors(include_input=False))
        raise Problem(
            "settings", "The page is not set up", said=sentence(found), advice="Set it right and restart."
        ) from error
