"""Where judgements are kept, and what makes two judges the same."""

import hashlib
import re
from pathlib import Path

from components.core.judging.config import JudgeConfig
from components.core.judging.prompt import PROMPT_FINGERPRINT
from components.core.settings import Settings


def journal_file(config: JudgeConfig, settings: Settings, purpose: str = "") -> Path:
    """Where the judgements of these answers by this judge are kept; another judge or wording has another file."""
    name = "-".join(filter(None, (config.lm_response_ds_id, config.lm_response_ds_split, purpose)))
    return settings.whetstone_home.resolve() / "judgements" / f"{slug(name)}-{judge_fingerprint(config, name)}.jsonl"


def judge_fingerprint(config: JudgeConfig, name: str = "") -> str:
    """Of everything that decides what a judge says."""
    facts = (config.provider, config.model, config.base_url, config.temperature, PROMPT_FINGERPRINT, name)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]


def slug(name: str) -> str:
    """A name as part of a file's name."""
    return re.sub(r"[^a-zA-Z0-9]+", "-", name).strip("-")[-60:]
