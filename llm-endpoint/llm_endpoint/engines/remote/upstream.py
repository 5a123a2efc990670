"""An OpenAI-compatible server through the official client: its parameters, its models, its answers."""

import logging
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from llm_endpoint.engines.remote.failures import ParameterRefused, Passing, translate_error
from llm_endpoint.engines.remote.generation import RemoteGeneration
from llm_endpoint.engines.seam import GenerationRequest
from llm_endpoint.errors import ModelError, UpstreamError

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0


class Upstream:
    """The server, and what was learned about the parameters that it takes.

    Raises:
        ModelError: If the address is none.
    """

    def __init__(self, base_url: str, api_key: SecretStr | None, model: str | None, timeout_seconds: float) -> None:
        try:
            parts = urlsplit(base_url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ModelError("OPENAI_BASE_URL is not an address. Set it to the server's, such as http://vllm:8000/v1.")
        # only the host: an address may carry a password
        self.host = parts.hostname + (f":{port}" if port else "")
        self.model = model or ""
        self.context_length: int | None = None
        self._key = api_key.get_secret_value() if api_key is not None else ""
        self._base_url, self._timeout = base_url, timeout_seconds
        self._client: Any = None
        self._headers: dict[str, Any] = {}
        self._extras_refused = False
        """The server does not know repetition_penalty and top_k."""
        self._limit_name = "max_tokens"
        """Some hosted models only take max_completion_tokens."""

    async def open(self) -> None:
        """Connect, and find the model.

        Raises:
            EndpointError: If the server cannot be used.
        """
        from openai import AsyncOpenAI, Omit, Timeout

        # the client insists on a key, but lets each request leave it out
        self._headers = {} if self._key else {"Authorization": Omit()}
        self._client = AsyncOpenAI(
            base_url=self._base_url,
            api_key=self._key or "none",
            max_retries=0,
            timeout=Timeout(self._timeout, connect=min(CONNECT_SECONDS, self._timeout)),
        )
        await self._find_model()

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()

    async def answers(self, timeout_seconds: float) -> bool:
        """Whether the server lists its models."""
        import openai

        try:
            await self._client.models.list(timeout=timeout_seconds, extra_headers=self._headers)
        except openai.NotFoundError:
            return True
        except openai.OpenAIError as error:
            logger.info("The model server is still away: %s", type(error).__name__)
            return False
        return True

    async def ask(self, generation: RemoteGeneration) -> None:
        """Send a request and pass on what comes.

        Raises:
            ParameterRefused: If it can be sent again as it is now understood.
            Passing: If it can be sent again.
            EndpointError: Otherwise.
        """
        import openai

        options = self._options(generation.request)
        calls = self._client.completions if generation.request.text is not None else self._client.chat.completions
        try:
            async with await calls.create(**options) as stream:
                async for chunk in stream:
                    generation.take(chunk)
        except openai.APIError as error:
            if generation.started and isinstance(error, openai.APIConnectionError):
                raise self._cut() from error
            failure = translate_error(error, self.host, self._key, options)
            if isinstance(failure, ParameterRefused):
                self._learn(failure.names)
            raise failure from error
        except (ValueError, TypeError, AttributeError) as error:
            raise UpstreamError(f"the model server at {self.host} sent something that is no answer.") from error
        if generation.finish_reason is None:
            raise self._cut()

    def _cut(self) -> UpstreamError:
        return UpstreamError(f"the model server at {self.host} hung up before the answer was complete.")

    def _options(self, request: GenerationRequest) -> dict[str, Any]:
        sampling = request.sampling
        options: dict[str, Any] = {
            "model": self.model,
            "extra_headers": self._headers,
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": sampling.temperature if sampling.do_sample else 0,
        }
        if request.text is not None:
            options |= {"prompt": request.text, "max_tokens": sampling.max_new_tokens}
        else:
            messages = [{"role": message.role, "content": message.content} for message in request.messages]
            options |= {"messages": messages, self._limit_name: sampling.max_new_tokens}
        if sampling.do_sample:
            options["top_p"] = sampling.top_p
        if sampling.seed is not None:
            options["seed"] = sampling.seed
        if sampling.stop:
            options["stop"] = list(sampling.stop)
        extras = {"repetition_penalty": sampling.repetition_penalty} if sampling.repetition_penalty != 1 else {}
        if sampling.do_sample and sampling.top_k:
            extras["top_k"] = sampling.top_k
        if extras and not self._extras_refused:
            options["extra_body"] = extras
        return options

    def _learn(self, refused: frozenset[str]) -> None:
        logger.warning("The model server does not know %s: left out from now on", ", ".join(sorted(refused)))
        if "max_tokens" in refused:
            self._limit_name = "max_completion_tokens"
        if refused - {"max_tokens"}:
            self._extras_refused = True

    async def _find_model(self) -> None:
        import openai

        try:
            page = await self._client.models.list(timeout=CONNECT_SECONDS, extra_headers=self._headers)
            listed = page.data
            names = [str(model.id) for model in listed]
        except openai.NotFoundError:
            # some servers list nothing; a name that was set is tried as it is
            names, listed = [], []
        except openai.APIError as error:
            failure = translate_error(error, self.host, self._key, {"model": self.model})
            raise (failure.reason if isinstance(failure, Passing) else failure) from error
        except (TypeError, AttributeError) as error:
            raise UpstreamError(f"{self.host} does not list models as an OpenAI server does.") from error
        if not self.model and not names:
            raise ModelError(
                f"the model server at {self.host} lists no model. End its address in /v1, or set OPENAI_MODEL."
            )
        self.model = self.model or names[0]
        # of vLLM; others do not say
        length = next((getattr(model, "max_model_len", None) for model in listed if model.id == self.model), None)
        self.context_length = length if isinstance(length, int) else None
