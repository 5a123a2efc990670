"""The cost meter: its arithmetic, what it reads of an endpoint, and what it refuses."""

import importlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from typer.testing import CliRunner

costs = importlib.import_module("llm-pipelines.costs")

PRICES = ["--input-price", "0.5", "--output-price", "1.5", "--machine-hour", "0.36", "--tokens-per-second", "100"]
METRICS = """# HELP llm_source_answers_total x
llm_source_answers_total{fallback="none",source="service"} 3.0
llm_source_answers_total{fallback="away",source="local"} 1.0
llm_source_tokens_total{kind="prompt",source="service"} 300.0
llm_source_tokens_total{kind="prompt",source="local"} 100.0
llm_source_tokens_total{kind="completion",source="service"} 90.0
llm_source_tokens_total{kind="completion",source="local"} 10.0
llm_tokens_total{kind="completion"} 5000.0
"""


def meter(*more: str):
    return CliRunner().invoke(costs.app, [*PRICES, *more])


def test_the_formulas() -> None:
    found = costs.Costs(1000, 100, 0.5, 1.5, 0.36, 100, 0.5)
    assert found.service == pytest.approx(0.65)
    assert found.capacity_per_hour == pytest.approx(3600)
    assert found.local == pytest.approx(0.2)
    # at break-even, an hour of the service's answers costs what the machine costs
    assert found.break_even_per_hour * found.service / 1000 == pytest.approx(found.machine_hour)
    assert found.possible
    assert not costs.Costs(1000, 100, 0.05, 0.15, 3.6, 100, 0.5).possible


def test_the_lines_say_both_costs_and_the_break_even(tmp_path) -> None:
    result = meter("--tokens-in", "1000", "--tokens-out", "100", "--html", str(tmp_path / "c.html"))
    assert result.exit_code == 0
    assert "Service            0.6500 USD per 1,000 answers" in result.output
    assert "Local              0.2000 USD per 1,000 answers, busy 50 % of the time" in result.output
    assert "from 554 answers an hour" in result.output
    assert "<polyline" in (tmp_path / "c.html").read_text()


def test_tokens_come_from_the_endpoints_metrics() -> None:
    class Handler(BaseHTTPRequestHandler):
        """Stands in for the endpoint's /metrics."""

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(METRICS.encode())

        def log_message(self, format, *args) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        result = meter("--address", f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()
    assert "4: 3 by service, 1 by local" in result.output
    assert "100 prompt, 25 completion" in result.output


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "give --address of an endpoint"),
        (["--address", "http://127.0.0.1:9"], "cannot read http://127.0.0.1:9/metrics"),
        (["--tokens-out", "5", "--input-price", "0", "--output-price", "0"], "the service costs nothing"),
        (["--tokens-out", "5", "--html", "/nonexistent/c.html"], "cannot write /nonexistent/c.html"),
    ],
)
def test_what_cannot_be_metered_is_one_line_and_exit_2(more, message) -> None:
    result = meter(*more)
    assert result.exit_code == 2
    assert message in result.output
