"""Writes what was made: the rows, where each comes from, and a report to read (Markdown and HTML)."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from components.core.data.report.style import STYLE
from components.core.evaluation.charts import draw_bars, draw_curves
from components.core.settings import Settings
from components.core.synthesis.collecting import COLUMNS, REASONS, Collection, Example, Kept, Usage
from components.core.synthesis.config import DataGenConfig
from components.core.synthesis.places import tool_folder, write_text
from components.core.tables import write_rows

TEMPLATE = "report.html.j2"
_SHOWN_ROWS = 6
_SHOWN_CHARACTERS = 600
_BINS = (5, 10, 20, 40, 80, 160, 320, 10**9)
"""Upper ends, in words."""


@dataclass(frozen=True)
class GenerateResult:
    """What a run made."""

    where: str
    """The rows."""
    rows: int
    """New rows that were written."""
    wanted: int
    dropped: dict[str, int]
    """Rows that were left out, by reason."""
    failed_calls: int
    retries: int
    """Malformed answers that were asked for again."""
    usage: Usage
    provenance: str
    """File that says for each new row which seed and call it comes from."""
    report: str
    """The report in Markdown."""
    page: str
    """The report as a page."""

    @property
    def complete(self) -> bool:
        """Whether there are as many rows as were wanted."""
        return self.rows >= self.wanted


def write_results(
    config: DataGenConfig, settings: Settings, collection: Collection, usage: Usage, notes: Sequence[str]
) -> GenerateResult:
    """Write rows, provenance and reports."""
    folder, split = tool_folder(config.synth_ds_id, settings), config.synth_ds_split
    provenance = folder / f"{split}.provenance.jsonl"
    where = write_rows(
        [kept.as_row() for kept in collection.kept], config.synth_ds_id, split, settings,
        append=config.synth_ds_append, push_to_hub=config.push_synth_ds_to_hf_hub, columns=COLUMNS,
    )  # fmt: skip
    _write_provenance(provenance, collection.kept, config.synth_ds_append)
    result = GenerateResult(
        where=where, rows=len(collection.kept), wanted=config.num_samples,
        dropped={reason: collection.dropped[reason] for reason in REASONS if collection.dropped[reason]},
        failed_calls=collection.failed_calls, retries=collection.retries, usage=usage, provenance=str(provenance),
        report=str(folder / f"{split}.report.md"), page=str(folder / f"{split}.report.html"),
    )  # fmt: skip
    write_text(Path(result.report), _markdown(config, result, collection, notes))
    write_text(Path(result.page), _page(config, result, collection, notes))
    write_text(folder / f"{split}.report.json", json.dumps(asdict(result), indent=2) + "\n")
    return result


def say_end(config: DataGenConfig, result: GenerateResult) -> str:
    """How it ended, in one sentence."""
    if result.complete:
        return f"{result.rows:,} new rows, as many as were wanted, after {result.usage.calls:,} calls."
    return (
        f"{result.rows:,} of {result.wanted:,} rows: the limit of {config.call_limit:,} calls was reached. Raise "
        "max_calls and run it again to go on, or give it more seeds or a wider topic."
    )


def _write_provenance(file: Path, kept: Sequence[Kept], append: bool) -> None:
    lines = [json.dumps(each.facts, ensure_ascii=False) + "\n" for each in kept]
    before = file.read_text(encoding="utf-8") if append and file.is_file() else ""
    write_text(file, before + "".join(line for line in lines if line not in before))


def _facts(config: DataGenConfig, result: GenerateResult) -> dict[str, str]:
    usage = result.usage
    facts = {
        "service LLM": config.label,
        "topic": config.topic or "as in the reference rows",
        "calls": f"{usage.calls:,} of at most {config.call_limit:,}, {config.samples_per_call} rows each",
        "requests": f"{usage.requests:,}",
        "malformed answers asked for again": f"{result.retries:,}",
        "calls without a usable answer": f"{result.failed_calls:,}",
        "tokens": f"{usage.input_tokens:,} in, {usage.output_tokens:,} out",
        "near copies from": f"{config.near_duplicate_similarity:g}",
    }
    if usage.cost:
        facts["cost"] = f"{usage.cost:,.4f} USD, {1000 * usage.cost / result.rows:,.2f} USD for 1,000 rows"
    return facts


def _markdown(config: DataGenConfig, result: GenerateResult, collection: Collection, notes: Sequence[str]) -> str:
    lines = [f"# Synthetic rows: {config.synth_ds_id}, split {config.synth_ds_split}", "", say_end(config, result), ""]
    lines += [f"- {note}" for note in notes]
    lines += ["", "| what | value |", "|---|---|"]
    facts = _facts(config, result)
    lines += [f"| {name} | {' '.join(value.split()).replace('|', '/')} |" for name, value in facts.items()]
    lines += ["", "## Rows left out", "", "| why | rows |", "|---|---|"]
    lines += [f"| {words} | {result.dropped.get(reason, 0):,} |" for reason, words in REASONS.items()]
    lines += ["", *(f"- {_left_out(example)}" for example in collection.examples), "", "## Examples", ""]
    for kept in _chosen(collection.kept):
        seed = kept.facts["seed"]
        lines += [f"After {seed['dataset']}:{seed['split']}, row {seed['row']} ({seed['kind']}):", ""]
        lines += [f"- seed: {_inline(kept.row.seed_prompt)}"]
        lines += [f"- {each['role']}: {_inline(each['content'])}" for each in kept.row.messages]
        lines.append("")
    return "\n".join(lines) + f"\nRows: `{result.where}`. Where each comes from: `{result.provenance}`.\n"


def _left_out(example: Example) -> str:
    shown = f": {_inline(example.prompt)}" if example.prompt else ""
    return f"{REASONS[example.reason]}: {_inline(example.message)}{shown}"


def _inline(text: str) -> str:
    """A stranger's text on one line, which no mark of Markdown in it can leave."""
    short = " ".join(text.split())
    short = short if len(short) <= _SHOWN_CHARACTERS else f"{short[:_SHOWN_CHARACTERS]} ..."
    return f"`{short.replace('`', chr(39)).replace('|', '/')}`"


def _chosen(kept: Sequence[Kept]) -> list[Kept]:
    """Rows spread over the whole run."""
    step = max(1, len(kept) // _SHOWN_ROWS)
    return list(kept[::step][:_SHOWN_ROWS])


def _page(config: DataGenConfig, result: GenerateResult, collection: Collection, notes: Sequence[str]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    # every text is a stranger's: autoescape turns it into text, whatever it holds
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    outcomes = {"kept": result.rows, **{reason.replace("_", " "): count for reason, count in result.dropped.items()}}
    lengths = {"prompts": _lengths(collection.kept, -2), "answers": _lengths(collection.kept, -1)}
    return environment.get_template(TEMPLATE).render(
        style=Markup(STYLE),
        config=config,
        result=result,
        end=say_end(config, result),
        notes=notes,
        facts=_facts(config, result),
        outcomes=draw_bars({"rows": list(outcomes.values())}, list(outcomes), "rows by outcome"),
        curve=draw_curves({"rows kept": collection.curve}, "rows kept by calls", "calls"),
        lengths=draw_bars(lengths, [f"to {high}" for high in _BINS[:-1]] + ["more"], "rows by words"),
        reasons=REASONS,
        examples=collection.examples,
        rows=_chosen(collection.kept),
        cut=_SHOWN_CHARACTERS,
    )


def _lengths(kept: Sequence[Kept], place: int) -> list[int]:
    """Rows by the words of one message."""
    words = [len(each.row.messages[place]["content"].split()) for each in kept]
    return [sum(low < count <= high for count in words) for low, high in zip((-1, *_BINS), _BINS, strict=False)]
