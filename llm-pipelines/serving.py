"""The endpoint and the page as two processes of this machine: started, asked, stopped."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.core.deployment.local_servers import (
    HERE,
    Server,
    ServingError,
    end_recorded,
    end_server,
    endpoint_environment,
    start_api,
    start_server,
    write_record,
)

__all__ = [
    "QuestionRefused",
    "Server",
    "ServingError",
    "ask",
    "converse",
    "end_server",
    "endpoint_environment",
    "start_api",
]

ANSWER_SECONDS = 600.0
"""Longest time for one answer."""
SAMPLE_TOKENS = 200
"""Longest answer to a sample message."""
_RECORD = "servers.json"


class QuestionRefused(ServingError):
    """The endpoint takes no such question: it is too long, most of the time."""


def start_servers(
    model: str, home: Path, revision: str | None = None, api_port: int = 8080, ui_port: int = 8501
) -> list[Server]:
    """Start the endpoint for a model and, when it is warm, the page; those that it started before are replaced.

    Args:
        model: Model folder or Hub id.
        home: Where the logs and the record of the processes go.
        revision: Commit of a Hub id.
        api_port: Where the endpoint listens; the next free port if it is taken.
        ui_port: The same for the page.

    Raises:
        ServingError: With the endpoint's own last words.
    """
    folder = home / "serving"
    end_recorded(folder / _RECORD)
    environment = endpoint_environment(model, home, revision)
    servers: list[Server] = []
    try:
        servers.append(start_api(environment, folder, api_port))
        command = [sys.executable, "-m", "streamlit", "run", "ui/app.py", "--server.address", HERE]
        command += ["--server.headless", "true", "--browser.gatherUsageStats", "false", "--server.port"]
        # the page knows only the endpoint's address
        page_environment = _without_secrets(environment) | {"API_URL": servers[0].address}
        doing = "the page is starting"
        servers.append(start_server("ui", command, page_environment, ui_port, folder, "/_stcore/health", doing))
        write_record(folder / _RECORD, servers)
    except BaseException:
        for server in servers:
            end_server(server)
        raise
    return servers


def stop_servers(home: Path) -> list[Server]:
    """End what `start_servers` left running, and deployed endpoints; gives back those that it ended."""
    folder = home / "serving"
    records = [folder / _RECORD, *sorted((folder / "endpoints").glob("*.json"))]
    return [server for record in records for server in end_recorded(record)]


def ask(address: str, question: str, context: str, client: Any = None, **fields: Any) -> dict[str, Any]:
    """Ask the endpoint a question.

    Args:
        address: Of the endpoint.
        question: Asked.
        context: Should hold the answer.
        client: An httpx.Client, where many questions share its connections.
        fields: More of the request, such as `max_new_tokens`.

    Raises:
        QuestionRefused: If it takes no such question.
        ServingError: If it does not answer.
    """
    import httpx

    try:
        body = {"question": question, "context": context, **fields}
        response = (client or httpx).post(f"{address}/generate", json=body, timeout=ANSWER_SECONDS)
        content = response.json()
    except (httpx.HTTPError, ValueError) as error:
        raise ServingError(f"the endpoint at {address} does not answer: {error}. Look at its log.") from error
    if response.status_code in (400, 413):
        raise QuestionRefused(f"the endpoint refused the question: {content.get('error')}")
    if response.status_code != 200:
        raise ServingError(f"the endpoint answered {response.status_code}: {content.get('error')}")
    return dict(content)


def converse(address: str, messages: list[dict[str, str]]) -> str:
    """Let the endpoint continue a conversation.

    Raises:
        ServingError: If it does not answer.
    """
    import httpx

    try:
        response = httpx.post(
            f"{address}/openai/v1/chat/completions",
            json={"model": "", "messages": messages, "max_tokens": SAMPLE_TOKENS},
            timeout=ANSWER_SECONDS,
        )
        content = response.json()
        if response.status_code == 200:
            return str(content["choices"][0]["message"]["content"])
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
        raise ServingError(f"the endpoint at {address} does not answer: {error}. Look at its log.") from error
    raise ServingError(f"the endpoint answered {response.status_code}: {content.get('error')}")


def _without_secrets(environment: dict[str, str]) -> dict[str, str]:
    """The page needs no key but API_KEY, its own."""
    secret: Callable[[str], bool] = lambda name: name.endswith(("_TOKEN", "_API_KEY", "_SECRET", "_PASSWORD"))  # noqa: E731
    return {name: value for name, value in environment.items() if not secret(name)}
