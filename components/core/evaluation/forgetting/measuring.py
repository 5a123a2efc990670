"""The likelihood of a probe under base and tuned model, and how much it fell."""

import hashlib
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from components.core.evaluation.bootstrap import resample_totals
from components.core.evaluation.candidates import Candidate
from components.core.evaluation.forgetting.probe import Probe, ProbeRow
from components.core.evaluation.likelihood import RowLoss, answer_losses
from components.core.evaluation.predictions import context_length, read_cached, write_cached
from components.core.evaluation.results import (
    PROBE_KINDS,
    Difference,
    Forgetting,
    ForgottenKind,
    ForgottenRow,
    Loss,
    ProbeKind,
)
from components.core.recipe import EvaluationConfig
from components.core.tasks import Encoded, Task, set_chat_template
from components.core.tasks.chat_encoding import encode_conversations
from components.core.tasks.chat_layout import chat_layout
from components.core.tasks.rendering import layout, text_encoder

logger = logging.getLogger(__name__)

ProbeLosses = dict[ProbeKind, list[RowLoss]]
"""By kind, the loss of each row in its order."""

_FORMAT = 1
"""Part of every cache key: raise it when the same probe would be measured otherwise."""
_SHOWN_ROWS = 8
_EXCERPT = 600
"""Characters of a row that the report shows."""


def kinds_of(task: Task) -> tuple[ProbeKind, ...]:
    """What a task is probed with: a model that answers from a context has no conversations to forget."""
    return PROBE_KINDS if task.loss_on else ("text",)


def probe_losses(
    candidate: Candidate,
    probe: Probe,
    kinds: Sequence[ProbeKind],
    open_model: Callable[[], tuple[Any, Any]],
    cache_dir: Path,
) -> tuple[ProbeLosses, int]:
    """Losses of a model on a probe, from the cache where they are known, and the size of its vocabulary.

    Args:
        candidate: The model.
        probe: The rows.
        kinds: Which of them.
        open_model: Loads model and tokenizer; not called where the cache knows the losses.
        cache_dir: Where they are kept.
    """
    path = cache_dir / "probe" / f"{_cache_key(candidate, probe, kinds)}.json"
    known = read_cached(path)
    if known is not None:
        try:
            found: ProbeLosses = {kind: [(float(x), int(n)) for x, n in known["losses"][kind]] for kind in kinds}
            if all(len(found[kind]) == len(probe.of(kind)) for kind in kinds):
                return found, int(known["vocabulary"])
        except (KeyError, TypeError, ValueError):
            logger.warning("%s is damaged; the probe is measured again", path)
    model, tokenizer = open_model()
    set_chat_template(tokenizer, candidate.prompt)
    config = model.config.get_text_config()
    limit = context_length(config, tokenizer)
    found = {kind: answer_losses(model, _encode(probe.of(kind), kind, tokenizer, limit)) for kind in kinds}
    logger.info("%s: measured %d probe rows", candidate.name, sum(map(len, found.values())))
    write_cached(path, {"losses": found, "vocabulary": config.vocab_size})
    return found, int(config.vocab_size)


def _encode(rows: Sequence[ProbeRow], kind: ProbeKind, tokenizer: Any, limit: int) -> Encoded:
    if kind == "conversation":
        conversations = [row.messages for row in rows]
        return encode_conversations(conversations, chat_layout(tokenizer), limit, False, True)
    encoder, first = text_encoder(tokenizer), list(layout(tokenizer, False).first_ids)
    # encoded as data: a text that spells a control token does not become one
    texts = [[*first, *encoder.token_ids(each)][:limit] for each in encoder.encode([row.text for row in rows])]
    return Encoded(texts, texts, [False] * len(texts))


def _cache_key(candidate: Candidate, probe: Probe, kinds: Sequence[ProbeKind]) -> str:
    import torch
    import transformers

    identity = {
        "format": _FORMAT,
        "weights": candidate.weights_sha256,
        "settings": candidate.settings_sha256,
        "prompt": asdict(candidate.prompt) if "conversation" in kinds else None,
        "probe": probe.fingerprint,
        "kinds": list(kinds),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "transformers": transformers.__version__,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def compare_losses(
    probe: Probe,
    base: Mapping[ProbeKind, Sequence[RowLoss]],
    tuned: Mapping[ProbeKind, Sequence[RowLoss]],
    vocabulary: int,
    config: EvaluationConfig,
) -> Forgetting:
    """How much less probable the tuned model finds a probe than the base.

    Args:
        probe: The rows.
        base: Losses of the base.
        tuned: Losses of the tuned model on the same rows.
        vocabulary: Tokens that the base chooses from.
        config: Resamples, coverage and seed.
    """
    guess = math.log(vocabulary)
    kinds: dict[ProbeKind, ForgottenKind] = {}
    rows: list[ForgottenRow] = []
    for kind in base:
        found = [
            ForgottenRow(row_id=row.row_id, kind=kind, text=_excerpt(row.text), base=b / n, tuned=t / m, tokens=n)
            for row, (b, n), (t, m) in zip(probe.of(kind), base[kind], tuned[kind], strict=True)
            if n and m
        ]
        # tokens of each model are its own, so that another tokenizer's losses are its own too
        totals = [(*b, *t) for b, t in zip(base[kind], tuned[kind], strict=True) if b[1] and t[1]]
        if totals:
            kinds[kind] = _compare(np.array(totals, dtype=np.float64), guess, config)
        rows += found
    worst = sorted(rows, key=lambda row: row.base - row.tuned)[:_SHOWN_ROWS]
    points = [(row.kind, row.base, row.tuned) for row in rows]
    return Forgetting(
        probe=probe.name, fingerprint=probe.fingerprint, guess=guess, kinds=kinds, worst=worst, points=points
    )


def _compare(totals: Any, guess: float, config: EvaluationConfig) -> ForgottenKind:
    """One kind, from sums of likelihood and tokens of both models by row, shape (n, 4)."""
    drawn = resample_totals(totals, config.bootstrap_samples, config.seed)
    tail = (1 - config.confidence) / 2

    def interval(values: Any) -> dict[str, float]:
        low, high = np.quantile(values, [tail, 1 - tail])
        return {"low": float(low), "high": float(high)}

    def losses(sums: Any, column: int) -> Any:
        return sums[..., column] / sums[..., column + 1]

    whole = totals.sum(axis=0)
    base, tuned = (Loss(value=float(losses(whole, n)), **interval(losses(drawn, n))) for n in (0, 2))
    rise = interval(losses(drawn, 2) - losses(drawn, 0))
    changed = int(np.count_nonzero(np.abs(totals[:, 0] - totals[:, 2]) > 1e-9))
    return ForgottenKind(
        rows=len(totals),
        tokens=int(whole[1]),
        base=base,
        tuned=tuned,
        increase=Difference(value=tuned.value - base.value, changed=changed, **rise),
        known=base.value < guess,
        same_tokens=bool((totals[:, 1] == totals[:, 3]).all()),
    )


def _excerpt(text: str) -> str:
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]} …"
