"""LangChain's chat models of the three providers, each without tries of its own.

A client that tried again by itself would spend calls that neither the rate nor the bill knows of.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from components.core.errors import ConfigError
from components.core.service_llm.config import Provider, ServiceLLMConfig
from components.core.settings import Settings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

DEFAULT_ADDRESSES: dict[Provider, str] = {
    "gemini": "https://generativelanguage.googleapis.com",
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
}
_VARIABLES: dict[Provider, str] = {
    "gemini": "GEMINI_API_KEY or GOOGLE_API_KEY",
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
}
_NO_KEY = "none"
"""What a server without keys gets; the client sends something in any case."""


@dataclass(frozen=True)
class Client:
    """A chat model and what closes its connections."""

    model: "BaseChatModel"
    close: Callable[[], Awaitable[Any]]


def find_key(config: ServiceLLMConfig, settings: Settings) -> SecretStr:
    """The provider's API key.

    Raises:
        ConfigError: If the environment has none; only an OpenAI-compatible server of one's own may do without.
    """
    keys = {
        "gemini": settings.gemini_api_key or settings.google_api_key,
        "openai": settings.openai_api_key,
        "anthropic": settings.anthropic_api_key,
    }
    key = keys[config.provider]
    if key is not None:
        return key
    if config.provider == "openai" and config.base_url:
        return SecretStr(_NO_KEY)
    raise ConfigError(
        f"{config.label} needs an API key and the environment has none. Set {_VARIABLES[config.provider]}"
        + (", or name a server of your own with base_url." if config.provider == "openai" else ".")
    )


def open_client(config: ServiceLLMConfig, key: SecretStr) -> Client:
    """Open the chat model in the running event loop; its connections belong to that loop."""
    return {"gemini": _gemini, "openai": _openai, "anthropic": _anthropic}[config.provider](config, key)


def _gemini(config: ServiceLLMConfig, key: SecretStr) -> Client:
    from langchain_google_genai import ChatGoogleGenerativeAI

    model = ChatGoogleGenerativeAI(
        model=config.model,
        google_api_key=key,
        base_url=config.base_url or DEFAULT_ADDRESSES["gemini"],
        vertexai=False,
        temperature=config.temperature,
        max_output_tokens=config.max_tokens,
        timeout=config.timeout_seconds,
        max_retries=1,  # tries in all; 0 would mean the library's own number
    )
    return Client(model, model.aclose)


def _openai(config: ServiceLLMConfig, key: SecretStr) -> Client:
    import httpx
    from langchain_openai import ChatOpenAI

    # the library's own is kept for later event loops, in which its connections are dead
    connections = httpx.AsyncClient(timeout=config.timeout_seconds)
    model = ChatOpenAI(
        model=config.model,
        api_key=key,
        base_url=config.base_url or DEFAULT_ADDRESSES["openai"],
        temperature=config.temperature,
        max_completion_tokens=config.max_tokens,
        timeout=config.timeout_seconds,
        max_retries=0,
        use_responses_api=False,
        http_async_client=connections,
    )
    return Client(model, connections.aclose)


def _anthropic(config: ServiceLLMConfig, key: SecretStr) -> Client:
    import anthropic
    from langchain_anthropic import ChatAnthropic

    class OwnConnections(ChatAnthropic):
        """The library's own are kept for later event loops, in which they are dead."""

        @cached_property
        def _async_client(self) -> anthropic.AsyncClient:
            return anthropic.AsyncClient(**self._client_params)

    model = OwnConnections(
        model_name=config.model,
        api_key=key,
        base_url=config.base_url or DEFAULT_ADDRESSES["anthropic"],
        temperature=config.temperature,
        max_tokens_to_sample=config.max_tokens,
        timeout=config.timeout_seconds,
        max_retries=0,
        stop=None,
    )
    return Client(model, model._async_client.close)
