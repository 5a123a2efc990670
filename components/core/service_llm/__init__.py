"""Service LLMs (Gemini, OpenAI-compatible, Anthropic): opened by configuration, held to a rate, counted."""

from components.core.errors import ServiceLLMError
from components.core.service_llm.asking import JsonReply, Messages, Reply, ServiceLLM, Usage, open_service_llm
from components.core.service_llm.config import Provider, ServiceLLMConfig
from components.core.service_llm.failures import MalformedReplies, ServiceRefused, ServiceUnavailable
from components.core.service_llm.journal import Journal
from components.core.service_llm.limiter import RateLimiter

__all__ = [
    "Journal",
    "JsonReply",
    "MalformedReplies",
    "Messages",
    "Provider",
    "RateLimiter",
    "Reply",
    "ServiceLLM",
    "ServiceLLMConfig",
    "ServiceLLMError",
    "ServiceRefused",
    "ServiceUnavailable",
    "Usage",
    "open_service_llm",
]
