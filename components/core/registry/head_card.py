"""The model card of a classification or regression head."""

from collections.abc import Sequence

from components.core.recipe import RegistryConfig
from components.core.registry.card import data_section, front_matter, license_section, origin_section, table_cell
from components.core.registry.facts import HeadFacts, RunFacts, Score, ScoredSlice
from components.core.registry.head_usage import usage_code
from components.core.registry.names import is_hub_id

_TASK_TEXT = {
    "single_label": "puts {what} into one of {count} classes",
    "multi_label": "says which of {count} labels hold for {what}; none may, or several",
    "regression": "gives a number for {what}, in the unit of its training data",
    "ner": "marks entities in text: {types}",
}
_PIPELINE_TAG = {"ner": "token-classification"}
_MODEL_TITLES = {
    "base": "Majority answer",
    "bag_of_words": "Bag of words",
    "champion": "Champion",
    "tuned": "This model",
}
_SLICE_TITLES = {"all": "all"}
_MOST_LABELS = 60


def write_head_card(facts: RunFacts, head: HeadFacts, registry: RegistryConfig, license_id: str, adapter: bool) -> str:
    """The card's text, front matter first.

    Args:
        facts: What is known of the run.
        head: What the model's outputs mean.
        registry: Description and language.
        license_id: Licence of the tuned model, or "" when nobody said.
        adapter: The folder holds an adapter, not a whole model.
    """
    tag = _PIPELINE_TAG.get(head.task, "text-classification")
    sections = [
        front_matter(facts, registry, license_id, adapter, tag, tag),
        f"# {facts.name}",
        registry.description.strip(),
        _what(facts, head, adapter),
        f"**{facts.judged.verdict.headline}**",
        "## How well it does",
        _results(facts),
        "## How to use it",
        _usage(facts, head, adapter),
        "## Data",
        data_section(facts),
        "## How it was trained",
        _recipe(facts),
        "## Limits",
        _limits(head),
        "## Licence",
        license_section(license_id, facts),
        "## Where it comes from",
        origin_section(facts),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _what(facts: RunFacts, head: HeadFacts, adapter: bool) -> str:
    kind = "a low-rank adapter with a head for" if adapter else "a fine-tuned copy with a head of"
    at = f" at revision `{facts.training.base_model_revision}`" if is_hub_id(facts.base_model_id) else ""
    types = sorted({label[2:] for label in head.labels if label[1:2] == "-"})
    does = _TASK_TEXT[head.task].format(
        what="a pair of texts" if head.pair else "a text", count=len(head.labels), types=_listed(types)
    )
    lines = [f"This is {kind} `{facts.base_model_id}`{at}. It {does}."]
    if head.task in ("single_label", "multi_label"):
        lines.append(f"Labels: {_listed(head.labels)}.")
    return "\n\n".join(lines)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:_MOST_LABELS])
    more = len(names) - _MOST_LABELS
    return f"{shown} and {more} more (all are in `head.json`)" if more > 0 else shown


def _results(facts: RunFacts) -> str:
    judged = facts.judged
    models = [name for name in _MODEL_TITLES if name in judged.everything.scores]
    models[-1:-1] = [name for name in judged.everything.scores if name not in _MODEL_TITLES]
    against = "bag_of_words" if "bag_of_words" in judged.everything.differences else "base"
    titles = [_MODEL_TITLES.get(name, name) for name in models]
    lines = [
        f"All were asked the same {judged.rows} held-out test rows. In brackets the {100 * judged.confidence:g} % "
        "interval from resampling. `Majority answer` always says what is most frequent in the training rows"
        + (", and `Bag of words` is a linear model of word counts" if "bag_of_words" in models else "")
        + ": floors that a model must beat to be worth its weights. The last column is the difference on the same "
        "rows; an interval that lies on the good side of 0 means that this model is better.",
        "",
        f"| Rows | Metric | {' | '.join(titles)} | This model - {_MODEL_TITLES[against].lower()} |",
        "|---|---|" + "---|" * (len(models) + 1),
    ]
    for name, part in judged.slices.items():
        title = f"{_SLICE_TITLES.get(name, name)} ({part.rows})"
        lines += [_row(title, metric, part, models, against) for metric in judged.metrics]
    if judged.notes:
        lines += ["", *[f"- {note}" for note in judged.notes]]
    return "\n".join(lines)


def _row(title: str, metric: str, part: ScoredSlice, models: Sequence[str], against: str) -> str:
    cells = [_number(part.scores.get(model, {}).get(metric)) for model in models]
    cells.append(_number(part.differences.get(against, {}).get(metric), "+"))
    return f"| {title} | {metric.replace('_', ' ')} | {' | '.join(cells)} |"


def _number(score: Score | None, sign: str = "") -> str:
    """One cell; a metric that is not defined on these rows has none."""
    if score is None:
        return "-"
    return f"{score.value:{sign}.3f} ({score.low:{sign}.3f} to {score.high:{sign}.3f})"


def _usage(facts: RunFacts, head: HeadFacts, adapter: bool) -> str:
    intro = "`head.json` says what the outputs mean and travels with the weights."
    if head.task == "multi_label":
        intro += " Each label has a threshold of its own, found on validation rows; 0.5 for all would do worse."
    if adapter and not is_hub_id(facts.base_model_id):
        intro += (
            f" The adapter loads on `{facts.base_model_id}`, which is not on the Hub: first write the folder where you "
            "keep that model into `base_model_name_or_path` of `adapter_config.json`."
        )
    return "\n".join([intro, "", "```python", usage_code(head, adapter), "```"])


def _recipe(facts: RunFacts) -> str:
    run = facts.training
    values = [(f"{part}.{key}", value) for part, keys in facts.recipe.items() for key, value in keys.items()]
    return "\n".join(
        [
            f"{run.steps} optimizer steps in {run.seconds:.0f} s on {run.device} in {run.precision}, "
            f"{run.trainable_parameters:,} of {run.total_parameters:,} weights trained. The parameters as they were "
            "used:",
            "",
            "| Key | Value |",
            "|---|---|",
            *[f"| `{key}` | `{table_cell(value)}` |" for key, value in values],
        ]
    )


def _limits(head: HeadFacts) -> str:
    long = (
        "are read in parts, which do not see each other"
        if head.task == "ner"
        else "lose their end (of a pair, the longer)"
    )
    lines = [
        "- It was judged on held-out rows of its own dataset only; other topics and languages are untested.",
        f"- It reads at most {head.max_seq_length} tokens at once; longer inputs {long}.",
    ]
    if head.task == "single_label":
        lines.append("- It always picks one of its classes, also for a text that belongs to none of them.")
    if head.task == "regression" and head.scale is not None:
        low, high = head.scale.get("minimum", 0.0), head.scale.get("maximum", 0.0)
        lines.append(f"- It learned from numbers between {low:g} and {high:g}; beyond them it is a guess.")
    if head.task != "regression":
        lines.append("- Its probabilities are estimates; the report of the evaluation shows how well they hold.")
    lines.append("- It inherits the biases of its base model and its data.")
    return "\n".join(lines)
