"""Runs the loop as a user does: the command, every step through kfp.local, a loopback server as the service LLM."""

import os
import re
import subprocess
import sys
from pathlib import Path

from support.service_llm_server import ServiceLLMServer

ROOT = Path(__file__).resolve().parents[2]
BRIEF = (
    "judge.rate_limit_per_minute=100000", "judge.eval_repeat=1", "judge.max_retries=0", "inference.repeat=1",
    "inference.max_new_tokens=24", "judge.sequential=false", "data_gen.gen_workers=1",
    "data_gen.rate_limit_per_minute=100000", "data_gen.max_retries=0",
    "data_gen.num_samples=40", "data_gen.samples_per_call=10", "training.method=full",
    "training.per_device_train_batch_size=8", "evaluation.bootstrap_samples=100", "gate.max_forgetting=ignore",
)  # fmt: skip
"""Few calls and rows, at no rate, with no waiting; one after the other, so that the rows are the same each time."""


def service(server: ServiceLLMServer) -> list[str]:
    """Makes the server the loop's judge and generator."""
    return ["judge.provider=openai", "judge.model=scripted", f"judge.base_url={server.url()}"]


def run_loop(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command's exit code and output; the environment holds no key and no address."""
    foreign = ("HF_", "MLFLOW_", "KFP_", "OPENAI_", "GEMINI_", "GOOGLE_", "ANTHROPIC_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return subprocess.run(
        [sys.executable, "-m", "llm-pipelines.llmops-loop-pipeline", *arguments],
        cwd=ROOT,
        env={**clean, "WHETSTONE_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=900,
    )


def steps_run(found: subprocess.CompletedProcess[str]) -> list[str]:
    """Steps that really ran, in their order."""
    return re.findall(r"^== round-([\w-]+)$", found.stdout, flags=re.MULTILINE)


def report_of(found: subprocess.CompletedProcess[str]) -> Path:
    """The loop's report, as the command prints it."""
    match = re.search(r"^Report +(\S+)$", found.stdout, flags=re.MULTILINE)
    assert match, found.stdout[-3000:] + found.stderr[-3000:]
    return Path(match[1])
