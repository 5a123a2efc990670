"""The model card: README.md, written for a person who finds the model and wants to know whether to use it."""

import json
from collections.abc import Sequence
from typing import Any

from components.core.recipe import RegistryConfig
from components.core.registry.facts import RunFacts, ScoredSlice
from components.core.registry.names import is_hub_id

_METRIC_TITLES = {"f1": "F1", "exact_match": "Exact match", "loss": "Loss", "perplexity": "Perplexity"}
_NUMBERS = ("loss", "perplexity")
"""Metrics that are no shares."""
_SLICE_TITLES = {"all": "all", "has_answer": "with an answer in the context", "no_answer": "without one"}
_TASK_TEXT = {
    "context_qa": "answers a question from a context that is given with it, and says `{no_answer}` when the context "
    "does not hold the answer",
    "chat_completion": "continues conversations in its own chat template",
}
_TASK_TYPES = {"context_qa": "question-answering", "chat_completion": "text-generation"}
"""Of the Hub's list."""


def write_card(
    facts: RunFacts, registry: RegistryConfig, prompt: dict[str, Any], license_id: str, adapter: bool
) -> str:
    """The card's text, front matter first.

    Args:
        facts: What is known of the run.
        registry: Description and language.
        prompt: The content of prompt.json.
        license_id: Licence of the tuned model, or "" when nobody said.
        adapter: The folder holds an adapter, not a whole model.
    """
    sections = [
        front_matter(facts, registry, license_id, adapter, "text-generation", _TASK_TYPES[facts.task]),
        f"# {facts.name}",
        registry.description.strip(),
        _what(facts, prompt, adapter),
        f"**{facts.judged.verdict.headline}**",
        "## How well it does",
        _results(facts),
        _forgetting(facts),
        "## How to use it",
        _usage(facts, prompt, adapter),
        "## Data",
        data_section(facts),
        "## How it was trained",
        _recipe(facts),
        "## Limits",
        _limits(facts),
        "## Licence",
        license_section(license_id, facts),
        "## Where it comes from",
        origin_section(facts),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def front_matter(
    facts: RunFacts, registry: RegistryConfig, license_id: str, adapter: bool, pipeline_tag: str, task_type: str
) -> str:
    """What the Hub reads of the card.

    Args:
        facts: What is known of the run.
        registry: Language.
        license_id: Licence of the tuned model, or "".
        adapter: The folder holds an adapter.
        pipeline_tag: Of the Hub's list: how the model is asked.
        task_type: Of the same list: what it was judged on.
    """
    from huggingface_hub import EvalResult, ModelCardData

    hub_data = is_hub_id(facts.dataset_id)
    results = [
        EvalResult(
            task_type=task_type,
            dataset_type=facts.dataset_id if hub_data else "custom",
            dataset_name=facts.dataset_id,
            dataset_split="test",
            dataset_revision=facts.dataset.revision or None,
            metric_type=metric,
            metric_name=_METRIC_TITLES.get(metric, metric),
            metric_value=round(score.value, 4),
        )
        for metric, score in facts.judged.everything.scores["tuned"].items()
    ]
    data = ModelCardData(
        base_model=facts.base_model_id if is_hub_id(facts.base_model_id) else None,
        datasets=[facts.dataset_id] if hub_data else None,
        eval_results=results,
        language=registry.language,
        license=license_id or None,
        library_name="peft" if adapter else "transformers",
        model_name=facts.name,
        pipeline_tag=pipeline_tag,
        tags=["whetstone", facts.task.replace("_", "-"), task_type],
    )
    return f"---\n{data.to_yaml()}\n---"


def _what(facts: RunFacts, prompt: dict[str, Any], adapter: bool) -> str:
    kind = "a low-rank adapter for" if adapter else "a fine-tuned copy of"
    at = f" at revision `{facts.training.base_model_revision}`" if is_hub_id(facts.base_model_id) else ""
    does = _TASK_TEXT[facts.task].format(no_answer=prompt.get("no_answer_text"))
    return f"This is {kind} `{facts.base_model_id}`{at}. It {does}."


def _results(facts: RunFacts) -> str:
    judged = facts.judged
    share = f"{100 * judged.confidence:g} %"
    lines = [
        f"Base and tuned model answered the same {judged.rows} held-out test rows ({judged.contexts} contexts). Scores "
        f"run from 0 to 100; in brackets the {share} interval from resampling. The last column is the difference on "
        "the same rows; an interval that lies above 0 means that the tuned model is better.",
        "",
        "| Rows | Metric | Base | Tuned | Tuned - base |",
        "|---|---|---|---|---|",
    ]
    for name, part in judged.slices.items():
        title = f"{_SLICE_TITLES.get(name, name)} ({part.rows})"
        lines += [_row(title, metric, part) for metric in judged.metrics]
    if judged.notes:
        lines += ["", *[f"- {note}" for note in judged.notes]]
    return "\n".join(lines)


def _forgetting(facts: RunFacts) -> str:
    found = facts.judged.forgetting
    if found is None:
        return ""
    lines = [
        f"What it kept of the base's general knowledge: loss in nats per token on a fixed probe ({found.probe}, "
        f"`{found.fingerprint}`); a rise means forgetting.",
        "",
        "| Probe rows | Base | Tuned | Rise |",
        "|---|---|---|---|",
    ]
    for kind, each in found.kinds.items():
        rise = f"{each.increase.value:+.3f} ({each.increase.low:+.3f} to {each.increase.high:+.3f})"
        unknown = "" if each.known else ", which the base does not know"
        lines.append(f"| {kind} ({each.rows}){unknown} | {each.base.value:.3f} | {each.tuned.value:.3f} | {rise} |")
    return "\n".join(lines)


def _row(title: str, metric: str, part: ScoredSlice) -> str:
    base, tuned, gap = part.scores["base"][metric], part.scores["tuned"][metric], part.differences["base"][metric]
    by, places = (1, 3) if metric in _NUMBERS else (100, 1)
    cells = [f"{by * s.value:.{places}f} ({by * s.low:.{places}f} to {by * s.high:.{places}f})" for s in (base, tuned)]
    cells.append(f"{by * gap.value:+.{places}f} ({by * gap.low:+.{places}f} to {by * gap.high:+.{places}f})")
    return f"| {title} | {_METRIC_TITLES.get(metric, metric)} | {' | '.join(cells)} |"


def _usage(facts: RunFacts, prompt: dict[str, Any], adapter: bool) -> str:
    in_messages = prompt.get("format") == "messages"
    lines = [] if in_messages else ["import re", ""]
    if adapter:
        lines.append("from peft import AutoPeftModelForCausalLM as AutoModel")
        lines.append("from transformers import AutoTokenizer")
    else:
        lines.append("from transformers import AutoModelForCausalLM as AutoModel, AutoTokenizer")
    lines += [
        "",
        'source = "."  # this repository\'s id on the Hub, or the folder that holds this file',
        "tokenizer = AutoTokenizer.from_pretrained(source)",
        "model = AutoModel.from_pretrained(source)",
        "",
    ]
    if in_messages:
        lines.append('messages = [{"role": "user", "content": "When was the bridge opened?"}]')
    else:
        lines += _question_lines(prompt)
    if prompt["chat_template"]:
        lines += [
            "inputs = tokenizer.apply_chat_template(",
            '    messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"',
            ")",
        ]
    else:
        lines.append('inputs = tokenizer(text, return_tensors="pt", return_token_type_ids=False)')
    lines += [
        f"output = model.generate(**inputs, max_new_tokens={facts.max_new_tokens}, do_sample=False, "
        f"repetition_penalty={facts.judged.repetition_penalty})",
        'print(tokenizer.decode(output[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True).strip())',
    ]
    intro = "The prompt is part of the model: it was trained with this one (`prompt.json`) and does worse with another."
    if in_messages:
        intro = "The chat template is part of the model: it was trained with this one and does worse with another."
    if adapter and not is_hub_id(facts.base_model_id):
        intro += (
            f" The adapter loads on `{facts.base_model_id}`, which is not on the Hub: first write the folder where you "
            "keep that model into `base_model_name_or_path` of `adapter_config.json`."
        )
    return "\n".join([intro, "", "```python", *lines, "```"])


def _question_lines(prompt: dict[str, Any]) -> list[str]:
    lines = [
        f"template = {json.dumps(prompt['template'], ensure_ascii=False)}",
        'values = {"context": "The bridge was opened in 1932.", "question": "When was the bridge opened?"}',
        r'text = re.sub(r"\{(context|question)\}", lambda match: values[match[1]], template)',
    ]
    return [*lines, 'messages = [{"role": "user", "content": text}]'] if prompt["chat_template"] else lines


def data_section(facts: RunFacts) -> str:
    """Which data, and which of its rows."""
    at = f" at revision `{facts.dataset.revision}`" if facts.dataset.revision else ""
    rows = ", ".join(f"{split} {count}" for split, count in facts.dataset.rows.items())
    return (
        f"Dataset `{facts.dataset_id}`{at}, fingerprint `{facts.dataset.fingerprint}`"
        + (f"; rows: {rows}" if rows else "")
        + ". Every row passed the data contract; the test rows were not trained on."
    )


def _recipe(facts: RunFacts) -> str:
    values = [
        (f"{section}.{key}", value)
        for section in ("task", "tokens", "training", "lora")
        for key, value in facts.recipe.get(section, {}).items()
        if section != "lora" or facts.method == "lora"
    ]
    rows = [f"| `{key}` | `{table_cell(value)}` |" for key, value in values]
    run = facts.training
    head = [
        f"{run.steps} optimizer steps in {run.seconds:.0f} s on {run.device} in {run.precision}, "
        f"{run.trainable_parameters:,} of {run.total_parameters:,} weights trained. The recipe as it was used (all of "
        "it is in `model_info.json`):",
        "",
        "| Key | Value |",
        "|---|---|",
    ]
    return "\n".join([*head, *rows])


def table_cell(value: Any) -> str:
    """A JSON value inside a table."""
    return json.dumps(value, ensure_ascii=False).replace("|", "\\|").replace("`", "'")


def _limits(facts: RunFacts) -> str:
    return "\n".join(
        [
            "- It was judged on held-out rows of its own dataset only; other topics and languages are untested.",
            "- It can answer wrongly and with confidence. Check answers that matter"
            + (" against the context." if facts.task == "context_qa" else "."),
            f"- It was trained on sequences of at most {facts.max_length} tokens, prompt and answer together.",
            "- It inherits the biases and the knowledge of its base model and its data.",
        ]
    )


def license_section(license_id: str, facts: RunFacts) -> str:
    """Under which terms."""
    data = f"; the data's is `{facts.dataset.license}`" if facts.dataset.license else ""
    if license_id:
        return f"`{license_id}`. The licences of the base model and of the data apply as well{data}."
    return (
        f"Nobody has stated a licence (`registry.license` in the recipe). The licence of `{facts.base_model_id}` and "
        f"that of the data apply{data}."
    )


def origin_section(facts: RunFacts) -> str:
    """Everything that it was made from, by name."""
    hub_base = is_hub_id(facts.base_model_id)
    pairs: Sequence[tuple[str, str]] = [
        ("Base model", f"{facts.base_model_id} {facts.training.base_model_revision if hub_base else ''}".strip()),
        ("Dataset", f"{facts.dataset_id} {facts.dataset.revision}".strip()),
        ("Dataset fingerprint", facts.dataset.fingerprint),
        ("Run", facts.training.run_id),
        ("Code", facts.training.git_commit),
        ("Finished", facts.training.finished),
    ]
    return "\n".join(["| | |", "|---|---|", *[f"| {key} | `{value}` |" for key, value in pairs if value]])
