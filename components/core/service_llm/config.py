"""How a service LLM is asked: whose it is, how often, and what its tokens cost."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, field_validator, model_validator

from components.core.recipe import Section

Provider = Literal["gemini", "openai", "anthropic"]


class ServiceLLMConfig(Section):
    """A service LLM, or a local model behind an OpenAI-compatible address."""

    provider: Provider = "gemini"
    """Whose protocol it speaks; `openai` with a `base_url` is any OpenAI-compatible server, our own endpoint too."""
    model: Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)] = "gemini-2.5-flash"
    """The model's name there."""
    base_url: str | None = None
    """Address of the service; none takes the provider's own. It gets the API key of the environment."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """Of the sampling; none leaves it to the service (some models take no other)."""
    max_tokens: Annotated[int, Field(ge=1)] = 1024
    """Longest answer, in tokens."""
    timeout_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Longest wait for a whole answer; then the call is tried again."""
    price_per_million_input: Annotated[float, Field(ge=0)] = 0.0
    """USD for a million tokens of prompts."""
    price_per_million_output: Annotated[float, Field(ge=0)] = 0.0
    """USD for a million tokens of answers."""
    rate_limit_per_minute: Annotated[int, Field(ge=1)] = 60
    """Calls in any 60 s, further tries included; the rate is reached and never exceeded."""
    max_retries: Annotated[int, Field(ge=0)] = 8
    """Further tries of a call that met a 429, a 5xx, a timeout or a broken connection."""

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, address: str | None) -> str | None:
        if not address:
            return None
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an http(s) address, such as http://127.0.0.1:8080/openai/v1")
        if "@" in parts.netloc:
            raise ValueError("must not carry a password; the API key comes from the environment")
        return address.rstrip("/")

    @model_validator(mode="after")
    def _names_a_model_of_its_provider(self) -> Self:
        if self.provider != "gemini" and "model" not in self.model_fields_set:
            raise ValueError(f"model is not set; name one of {self.provider}")
        return self

    @property
    def label(self) -> str:
        """The model as results name it."""
        return f"{self.provider}/{self.model}"
