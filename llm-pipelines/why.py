"""Where an answer came from: `python -m llm-pipelines.why TRACE_ID`.

From the trace in MLflow to the version that answered, and on to its weights, data, evaluation, run and code.
"""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from components.core.errors import user_errors
from components.core.settings import load_settings

if TYPE_CHECKING:
    from components.core.registry.answers import Why

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def why(
    trace_id: Annotated[str, typer.Argument(metavar="TRACE_ID", help="`trace_id` of the answer.")],
    namespace: Annotated[
        str | None, typer.Option(envvar="KFP_NAMESPACE", help="Namespace that asks; none takes that of this pod.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, with every parameter.")] = False,
) -> None:
    """Print which model gave an answer and what that model was made from."""
    with user_errors():
        from components.core.registry.answers import explain_answer

        settings = load_settings()
        found = explain_answer(
            trace_id, settings.model_copy(update={"kfp_namespace": namespace}) if namespace else settings
        )
        print(json.dumps(asdict(found), ensure_ascii=False, indent=2) if as_json else "\n".join(_lines(found)))


def _lines(found: "Why") -> list[str]:
    answer, made = found.answer, found.lineage
    base, data, run = made["base_model"], made["dataset"], made["run"]
    aliases = f" ({', '.join(made['aliases'])})" if made["aliases"] else ""
    adapter = f" as adapter {answer.adapter}" if answer.adapter else ""
    failed = ", and failed" if answer.failed else ""
    return [
        f"{title:<13} {value.strip() or 'not recorded'}"
        for title, value in {
            "Answer": f"{answer.trace_id}, {_day(answer.asked)} by {answer.protocol}{failed}",
            "Served": f"{answer.model} revision {answer.revision} on {answer.engine}{adapter}",
            "Model": f"{made['name']} version {made['version']}{aliases}, found by its {found.found_by}",
            "Place": made["uri"],
            "Content": made["content_sha256"],
            "Weights": made["weights"],
            "Base model": f"{base['id']} {base['revision']}",
            "Dataset": f"{data['id']} {data['revision']}",
            "Fingerprint": data["fingerprint"],
            "Verdict": made["verdict"],
            "Training run": run["training_run"],
            "MLflow run": f"{run['id']}, {_day(run['recorded'])}",
            "Code": made["git_commit"],
        }.items()
    ]


def _day(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S}"


if __name__ == "__main__":
    app(prog_name="python -m llm-pipelines.why")
