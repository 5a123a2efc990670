"""The cost meter: `python -m llm-pipelines.costs --address URL ...`: what 1,000 answers cost at the service and here.

Tokens per answer come from a running endpoint's /metrics (or from --tokens-in and --tokens-out); prices are yours. The
formulas stand in docs/fallback.md.
"""

import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Annotated

import typer

from components.core.errors import ConfigError, StorageError, user_errors

_HOURS_PER_MONTH = 730.0


@dataclass(frozen=True)
class Costs:
    """What goes into the meter.

    Args:
        tokens_in: Prompt tokens of an answer, on average.
        tokens_out: Completion tokens of an answer.
        input_price: USD per million prompt tokens at the service.
        output_price: USD per million completion tokens.
        machine_hour: USD per hour of the local machine, which runs whether it is asked or not.
        tokens_per_second: Completion tokens that it makes per second when it is busy, over all requests.
        utilisation: Share of the time in which it is busy.
    """

    tokens_in: float
    tokens_out: float
    input_price: float
    output_price: float
    machine_hour: float
    tokens_per_second: float
    utilisation: float

    @property
    def service(self) -> float:
        """USD per 1,000 answers of the service."""
        return (self.tokens_in * self.input_price + self.tokens_out * self.output_price) / 1000

    @property
    def capacity_per_hour(self) -> float:
        """Answers that the machine gives in an hour when it is always busy."""
        return 3600 * self.tokens_per_second / self.tokens_out

    @property
    def local(self) -> float:
        """USD per 1,000 answers of the machine at this utilisation."""
        return 1000 * self.machine_hour / (self.capacity_per_hour * self.utilisation)

    @property
    def break_even_per_hour(self) -> float:
        """Answers per hour from which the machine is cheaper; may be more than it can give."""
        return 1000 * self.machine_hour / self.service

    @property
    def possible(self) -> bool:
        """The machine can give as many as that."""
        return self.break_even_per_hour <= self.capacity_per_hour


def main(
    input_price: Annotated[float, typer.Option(min=0, help="USD per million prompt tokens at the service.")],
    output_price: Annotated[float, typer.Option(min=0, help="USD per million completion tokens.")],
    machine_hour: Annotated[float, typer.Option(min=0, help="USD per hour of the local machine.")],
    tokens_per_second: Annotated[float, typer.Option(min=0.001, help="Completion tokens of the local machine, busy.")],
    utilisation: Annotated[float, typer.Option(min=0.001, max=1, help="Share of the time in which it is busy.")] = 0.5,
    address: Annotated[str, typer.Option(help="Endpoint whose /metrics say how long answers are.")] = "",
    tokens_in: Annotated[float, typer.Option(min=0, help="Prompt tokens of an answer, instead of --address.")] = 0,
    tokens_out: Annotated[float, typer.Option(min=0, help="Completion tokens of an answer.")] = 0,
    html: Annotated[Path | None, typer.Option(help="Also write a page with the curve.")] = None,
) -> None:
    """Print what 1,000 answers cost at the service and here, and from how many answers on the machine pays."""
    with user_errors():
        lines = []
        if address:
            found = read_traffic(address)
            lines = found.lines
            tokens_in, tokens_out = found.tokens_in, found.tokens_out
        if tokens_out <= 0:
            raise ConfigError("give --address of an endpoint that has answered, or --tokens-in and --tokens-out.")
        if not input_price * tokens_in + output_price * tokens_out:
            raise ConfigError("the service costs nothing at these prices: nothing is to be compared.")
        costs = Costs(tokens_in, tokens_out, input_price, output_price, machine_hour, tokens_per_second, utilisation)
        print("\n".join([*lines, *say(costs)]))
        if html is not None:
            try:
                html.write_text(page(costs), encoding="utf-8")
            except OSError as error:
                raise StorageError(f"cannot write {html}: {error.strerror}. Name another file.") from error
            print(f"Page               {html}")


@dataclass(frozen=True)
class AnswerTraffic:
    """What an endpoint has answered."""

    tokens_in: float
    tokens_out: float
    lines: list[str]


def read_traffic(address: str) -> AnswerTraffic:
    """Mean tokens of the answers that an endpoint has given, and who gave them.

    Raises:
        ConfigError: If it cannot be read, or has answered nothing.
    """
    import httpx

    try:
        response = httpx.get(f"{address.rstrip('/')}/metrics", timeout=10)
        response.raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ConfigError(f"cannot read {address}/metrics: {error}. Give the endpoint's address.") from error
    values: dict[str, float] = {}
    for line in response.text.splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith(("llm_source_answers_total{", "llm_source_tokens_total{")):
            values[name] = float(value)

    def total(metric: str, *labels: str) -> float:
        return sum(v for n, v in values.items() if n.startswith(metric) and all(label in n for label in labels))

    by = {who: total("llm_source_answers_total", f'source="{who}"') for who in ("service", "local", "service,local")}
    answers = sum(by.values())
    if not answers:
        raise ConfigError(f"{address} has answered nothing yet. Ask it, or give --tokens-in and --tokens-out.")
    prompt, said = (total("llm_source_tokens_total", f'kind="{kind}"') for kind in ("prompt", "completion"))
    shares = ", ".join(f"{int(number)} by {who}" for who, number in by.items() if number)
    return AnswerTraffic(prompt / answers, said / answers, [f"Answers            {int(answers)}: {shares}"])


def say(costs: Costs) -> list[str]:
    """The meter in lines."""
    point, most = costs.break_even_per_hour, costs.capacity_per_hour
    monthly, share = point * _HOURS_PER_MONTH, 100 * point / most
    pays = (
        f"from {point:,.0f} answers an hour ({monthly:,.0f} a month, {share:.0f} % of what it can give)"
        if costs.possible
        else f"never: it would take {point:,.0f} answers an hour, and it can give {most:,.0f}"
    )
    return [
        f"Tokens per answer  {costs.tokens_in:.0f} prompt, {costs.tokens_out:.0f} completion",
        f"Service            {costs.service:.4f} USD per 1,000 answers",
        f"Local              {costs.local:.4f} USD per 1,000 answers, busy {100 * costs.utilisation:.0f} % of the time",
        f"Service over local {costs.service / costs.local:.2f}x" if costs.local else "Local costs nothing",
        f"Break-even         {pays}",
    ]


def page(costs: Costs) -> str:
    """The meter and a curve of cost per 1,000 answers against answers per hour, as one HTML page."""
    width, height, left, bottom = 640, 260, 60, 40
    most = costs.capacity_per_hour
    top = 3 * max(costs.service, 1000 * costs.machine_hour / most)

    def place(answers: float, usd: float) -> str:
        x = left + (width - left - 10) * answers / most
        return f"{x:.1f},{height - bottom - (height - bottom - 10) * min(usd, top) / top:.1f}"

    steps = [most * number / 100 for number in range(1, 101)]
    local = " ".join(place(n, 1000 * costs.machine_hour / n) for n in steps)
    service = f"{place(0, costs.service)} {place(most, costs.service)}"
    mark = ""
    if costs.possible:
        x, y = place(costs.break_even_per_hour, costs.service).split(",")
        mark = f'<circle cx="{x}" cy="{y}" r="5" fill="#222"/>'
    rows = "".join(f"<li>{escape(line)}</li>" for line in say(costs))
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Cost of answers</title>
<style>body{{font:16px system-ui;max-width:720px;margin:2em auto}}
li{{font-family:monospace;white-space:pre-wrap}}</style>
<h1>Cost of answers</h1><ul>{rows}</ul>
<svg viewBox="0 0 {width} {height}" role="img" aria-label="USD per 1,000 answers against answers per hour">
<line x1="{left}" y1="{height - bottom}" x2="{width - 10}" y2="{height - bottom}" stroke="#888"/>
<line x1="{left}" y1="10" x2="{left}" y2="{height - bottom}" stroke="#888"/>
<polyline points="{local}" fill="none" stroke="#0a6" stroke-width="2"/>
<polyline points="{service}" fill="none" stroke="#c40" stroke-width="2"/>{mark}
<text x="{left}" y="{height - 12}" font-size="13">0 to {most:,.0f} answers an hour</text>
<text x="{left + 8}" y="22" font-size="13">up to {top:.3g} USD per 1,000 answers</text>
<text x="{left + 8}" y="40" font-size="13">red the service, green this machine, the dot break-even</text>
</svg></html>
"""


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    sys.exit(app(prog_name="python -m llm-pipelines.costs"))
