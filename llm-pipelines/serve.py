"""Serve a model and its page on this machine: `python -m llm-pipelines.serve start --model FOLDER_OR_ID`, or `stop`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from components.core.catalogue.task_names import CORE_TASKS
from components.core.errors import ConfigError, user_errors
from components.core.settings import STARTER_DIR, Settings, load_settings

# mypy cannot follow a folder whose name has a hyphen.
from .predicting import ask_endpoint, describe_endpoint, in_short  # type: ignore[import-not-found]
from .serving import ask, converse, start_servers, stop_servers  # type: ignore[import-not-found]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)

Sample = dict[str, Any]
"""`context` and `question`, or `messages`."""
_SAMPLE: Sample = {
    "context": "The lighthouse on Tern Island was built in 1881. Its keeper for thirty years was Ada Morrow, who "
    "painted the tower white and red.",
    "question": "Who kept the lighthouse for thirty years?",
}
"""Asked of a model that was not trained here on data of its own."""


@app.command()
def start(
    model: Annotated[
        str | None, typer.Option(help="Model folder, Hub id, or NAME@VERSION of the registry; none takes its newest.")
    ] = None,
    api_port: Annotated[int, typer.Option(envvar="API_PORT", help="Where the endpoint listens.")] = 8080,
    ui_port: Annotated[int, typer.Option(envvar="UI_PORT", help="Where the page listens.")] = 8501,
) -> None:
    """Start the endpoint and the page, ask one question, and say where they are."""
    with user_errors():
        from components.core.registry import served_model

        settings = load_settings()
        chosen = served_model(model, settings) if model else _newest(settings)
        serve_and_ask(chosen, settings, None, _sample_for(chosen), api_port, ui_port)


@app.command()
def stop() -> None:
    """End what `start` or `make run` left running."""
    with user_errors():
        ended = stop_servers(load_settings().whetstone_home)
        print(f"Stopped: {', '.join(server.name for server in ended)}" if ended else "Nothing was running.")


def serve_and_ask(
    model: str,
    settings: Settings,
    revision: str | None,
    sample: Sample,
    api_port: int = 8080,
    ui_port: int = 8501,
) -> None:
    """Start both servers, ask the sample question through the API, and print the answer and both addresses."""
    print(f"\nServing {model}", flush=True)
    api, page = start_servers(model, settings.whetstone_home, revision, api_port, ui_port)
    served = describe_endpoint(api.address)
    if served["task"] in CORE_TASKS.values():
        route = _predict(api.address, served["pair"])
    elif "messages" in sample:
        route = _converse(api.address, sample)
    else:
        route = _ask_question(api.address, sample)
    print(f"\nPage               {page.address}")
    print(f"API                {api.address} (POST {route}; {api.address}/docs)")
    print(f"Logs               {settings.whetstone_home / 'serving'}")
    print("Stop both with     make stop")


def _predict(address: str, pair: bool) -> str:
    row = {"text": _SAMPLE["context"]} | ({"text_pair": _SAMPLE["question"]} if pair else {})
    answer = ask_endpoint(address, row)
    print(f"\nText               {row['text']}")
    if pair:
        print(f"Second text        {row['text_pair']}")
    print(f"Answer             {in_short(answer)}")
    return "/v1/models/llm-api:predict"


def _converse(address: str, sample: Sample) -> str:
    answer = converse(address, sample["messages"])
    print("\n" + "\n".join(f"{each['role'].capitalize():<18} {each['content']}" for each in sample["messages"]))
    print(f"{'Assistant':<18} {answer}")
    return "/openai/v1/chat/completions"


def _ask_question(address: str, sample: Sample) -> str:
    answer = ask(address, sample["question"], sample["context"])
    print(f"\nContext            {sample['context']}")
    print(f"Question           {sample['question']}")
    print(f"Answer             {answer['response']}   ({_evidence(answer, sample['context'])})")
    return "/generate"


def first_answerable(rows: Path) -> Sample:
    """The first row of a prepared split that has an answer, as a sample question or conversation."""
    with rows.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if "messages" in row:
                return {"messages": row["messages"][:-1]}
            if row["answers"]["text"]:
                return {"context": row["context"], "question": row["question"]}
    return _SAMPLE


def _evidence(answer: dict[str, Any], context: str) -> str:
    if not answer["supported"]:
        return "not in the context"
    passages = ", ".join(f"“{context[span['start'] : span['end']]}” at {span['start']}" for span in answer["spans"])
    return f"evidence: {passages}"


def _newest(settings: Settings) -> str:
    found = sorted(settings.local_registry.glob("*/*/manifest.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise ConfigError("there is no model to serve yet. `make run` trains one, or name one: make serve MODEL=...")
    return str(found[-1].parent)


def _sample_for(model: str) -> Sample:
    """A question of the kind that a model was trained on, where that is known."""
    path = Path(model) / "model_info.json"
    info = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if info.get("task") == "chat_completion":
        return {"messages": [{"role": "user", "content": "What can you help me with?"}]}
    if info.get("dataset", {}).get("id") == "starter":
        return first_answerable(STARTER_DIR / "data" / "test.jsonl")
    return _SAMPLE


if __name__ == "__main__":
    app(prog_name="python -m llm-pipelines.serve")
