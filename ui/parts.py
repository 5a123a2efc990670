"""The HTML of the page. Everything that comes from outside is escaped here."""

from collections.abc import Iterable

from ui.contract import Answer, Health, Predictions
from ui.marking import escaped, marked
from ui.problems import Problem

LONGEST_REVISION = 12


def notice(problem: Problem, kind: str = "error") -> str:
    """A message that is read out at once by a screen reader."""
    said = f"<p>{escaped(problem.said)}</p>" if problem.said else ""
    advice = f"<p>{escaped(problem.advice)}</p>" if problem.advice else ""
    return (
        f'<div class="notice {kind}" role="alert" data-kind="{escaped(problem.kind)}">'
        f'<p class="what">{escaped(problem.title)}</p>{said}{advice}</div>'
    )


def status(health: Health) -> str:
    """How the endpoint is, in a line."""
    name = " · ".join(part for part in (escaped(health.model), revision(health.revision)) if part)
    words = {
        "ready": f"Ready · {name}" if name else "Ready",
        "warming": "The model is warming up. You can write meanwhile; this line says when it is ready.",
        "stopping": "The endpoint is shutting down.",
        "failed": "The model could not be loaded.",
        "unreachable": escaped(health.detail),
    }[health.status]
    detail = escaped(health.detail) if health.status in ("warming", "failed") else ""
    detail = f'<span class="detail">{detail}</span>' if detail else ""
    light = '<i aria-hidden="true"></i>'
    return f'<div class="status {health.status}" role="status">{light}<span>{words}{detail}</span></div>'


def revision(full: str) -> str:
    """A revision in short; the whole of it is shown on hovering."""
    if not full:
        return ""
    short = full if len(full) <= LONGEST_REVISION else f"{full[:LONGEST_REVISION]}…"
    return f'<span class="revision" title="revision {escaped(full)}">revision {escaped(short)}</span>'


def arriving(text: str, seconds: float) -> str:
    """An answer that is not complete yet."""
    body = f'<p class="answer" dir="auto">{escaped(text)}<span class="caret" aria-hidden="true"></span></p>'
    return f'<p class="label">Answering… {seconds:.0f} s</p>{body}'


def stopped(text: str) -> str:
    """What had arrived when an answer was stopped or broke off."""
    return f'<p class="label">Incomplete answer</p><p class="answer" dir="auto">{escaped(text)}</p>' if text else ""


def answered(answer: Answer) -> str:
    """A complete answer; or the plain word that the context does not hold it."""
    response = answer.response.strip()
    if answer.supported:
        return f'<p class="label">Answer</p><p class="answer" dir="auto">{escaped(response)}</p>'
    wrote = f'<p class="wrote" dir="auto">The model wrote: “{escaped(response)}”</p>' if response else ""
    return f'<p class="label">Answer</p><p class="answer absent">The context does not hold the answer.</p>{wrote}'


def evidence(context: str, answer: Answer) -> str:
    """The context with the supporting parts marked."""
    if not (answer.supported and answer.spans):
        return ""
    count = len(answer.spans)
    label = "Evidence in the context" if count == 1 else f"Evidence in the context ({count} places)"
    text = marked(context, answer.spans)
    # Focusable, so that a long text can be scrolled by keyboard.
    return (
        f'<p class="label">{label}</p><div class="context" tabindex="0" role="region" aria-label="{label}">{text}</div>'
    )


def facts(answer: Answer) -> str:
    """Time, tokens, model and revision."""
    usage = answer.usage
    reused = f" ({usage.cached_tokens:,} reused)" if usage.cached_tokens else ""
    rows = (
        ("Latency", _seconds(answer.latency_seconds)),
        ("First token", _seconds(answer.time_to_first_token_seconds)),
        ("Tokens", f"{usage.prompt_tokens:,} in{reused}, {usage.completion_tokens:,} out"),
        ("Model", _model(answer.model, answer.revision)),
        ("Answered by", _who(answer)),
    )
    return _facts(rows)


def served(found: Predictions, seconds: float) -> str:
    """Time and model of predictions; the time is the page's own, from the click to the result."""
    return _facts((("Time", _seconds(seconds)), ("Model", _model(found.model, found.revision))))


def _who(answer: Answer) -> str:
    """Only where there are two who could have answered it."""
    names = {"service": "the service", "local": "the local model"}
    who = " and ".join(names.get(one, escaped(one)) for one in answer.answered_by.split(",") if one)
    if answer.fallback:
        return f"{who}, standing in ({escaped(answer.fallback)})"
    return who if answer.answered_by == "service" else ""


def _model(name: str, full_revision: str) -> str:
    return ", ".join(part for part in (escaped(name), revision(full_revision)) if part)


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in rows if value)
    return f'<dl class="facts">{cells}</dl>'


def welcome() -> str:
    """What the page is for, where the answer will be."""
    return (
        '<div class="welcome"><p>The answer appears here.</p><p>It is taken from your context, and the words that '
        "support it are marked. If the context does not hold the answer, the page says so.</p></div>"
    )


def in_label(text: str, longest: int = 90) -> str:
    """Show text as it is in a Streamlit label, which would read it as Markdown."""
    line = " ".join(text.split())
    line = line if len(line) <= longest else f"{line[: longest - 1]}…"
    # The joiner has no width; it keeps ":name:" from becoming an icon, which a backslash does not.
    return "".join(
        f"\\{c}" if c.isascii() and c.isprintable() and not c.isalnum() and c != " " else c for c in line
    ).replace(":", ":\u2060")


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f} s"
