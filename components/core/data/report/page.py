"""The report as one self-contained HTML page: no script, no outside file, no text of the data but the labels."""

from collections.abc import Collection
from html import escape
from pathlib import Path

from components.core.data.contract.ledger import FindingCount
from components.core.data.naming import printable
from components.core.data.report.charts import bars, histogram
from components.core.data.report.dataset_report import PAGE_FILE, DatasetReport, LengthSummary
from components.core.data.report.style import STYLE

_SHOWN_LABELS = 300


def write_page(report: DatasetReport, output_dir: Path) -> None:
    """Write `report.html`."""
    sections = (_header, _tiles, _splits, _targets, _findings, _columns, _lengths, _origin)
    body = "\n".join(section(report) for section in sections)
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        "<title>Dataset report: "
        f"{escape(report.dataset_id)}</title><style>{STYLE}</style></head>\n<body>{body}</body></html>\n"
    )
    (output_dir / PAGE_FILE).write_text(page, encoding="utf-8", errors="backslashreplace")


def _header(report: DatasetReport) -> str:
    if report.ok:
        verdict = '<span class="good">The dataset is ready.</span>'
    else:
        verdict = '<span class="error">Errors stopped the run; no rows were written.</span>'
    return (
        f"<h1>{escape(report.dataset_id)}</h1><p>{verdict} <span class='soft'>Task {escape(report.task)}, "
        f"every row checked in {report.seconds:.1f} s.</span></p>"
    )


def _tiles(report: DatasetReport) -> str:
    numbers = {f"{split} rows": count for split, count in report.rows.items()}
    numbers |= {"rows read": sum(report.rows_read.values()), "bad or left out": sum(report.dropped.values())}
    numbers |= {"errors": report.errors, "warnings": report.warnings}
    return '<div class="tiles">' + "".join(
        f'<div class="tile"><b>{number:,}</b>{escape(name)}</div>' for name, number in numbers.items()
    ) + "</div>"  # fmt: skip


def _splits(report: DatasetReport) -> str:
    rows = [
        [split, f"{report.rows_read.get(split, 0):,}", f"{report.rows.get(split, 0):,}", note]
        for split, note in (report.splits or dict.fromkeys(report.rows_read, "read; the run stopped")).items()
    ]
    dropped = [[reason, f"{count:,}"] for reason, count in report.dropped.items() if count]
    text = "<h2>Splits</h2>" + _table(["split", "rows read", "rows kept", "how it was made"], rows, numeric={1, 2})
    if report.rows:
        text += bars(report.rows)
    if dropped:
        text += "<h3>Rows left out</h3>" + _table(["reason", "rows"], dropped, numeric={1})
    return text


def _targets(report: DatasetReport) -> str:
    """Labels, entities or scores by split; nothing for a task that learns text."""
    targets = report.targets
    if targets.scores:
        rows, charts = [], []
        for split, summary in targets.scores.items():
            values = (summary.minimum, summary.median, summary.mean, summary.std, summary.maximum)
            rows.append([split, *(f"{value:.4g}" for value in values)])
            charts.append(histogram(summary, f"{split}, score"))
        table = _table(["split", "min", "median", "mean", "std", "max"], rows, numeric={1, 2, 3, 4, 5})
        return f"<h2>Scores</h2>{table}<div class='charts'>{''.join(charts)}</div>"
    if not targets.unit:
        return ""
    splits, totals = list(targets.totals), targets.totals
    rows = [
        [printable(label), *(f"{counts[split]:,} ({counts[split] / max(1, totals[split]):.1%})" for split in splits)]
        for label, counts in list(targets.labels.items())[:_SHOWN_LABELS]
    ]
    if len(targets.labels) > _SHOWN_LABELS:
        rows.append([f"and {len(targets.labels) - _SHOWN_LABELS:,} more (report.json has all)", *("" for _ in splits)])
    none = "rows without an entity" if targets.unit == "entities" else "rows without a label"
    rows.append([none, *(f"{targets.unlabelled[split]:,}" for split in splits)])
    head = ["entity type" if targets.unit == "entities" else "label", *(f"{split} {targets.unit}" for split in splits)]
    note = f"<p class='soft'>{len(targets.labels):,} in all, in the order of their numbers in the model.</p>"
    title = "Entities" if targets.unit == "entities" else "Labels"
    return f"<h2>{title}</h2>{note}{_table(head, rows, numeric=set(range(1, len(splits) + 1)))}"


def _findings(report: DatasetReport) -> str:
    if not report.findings:
        return "<h2>Findings</h2><p class='good'>None.</p>"
    note = "<p class='soft'>Counts are exact; the first examples of each kind are listed, with line or row number.</p>"
    return f"<h2>Findings</h2>{note}" + "".join(_finding(finding) for finding in report.findings)


def _finding(finding: FindingCount) -> str:
    rows = [[example.file, str(example.row or ""), example.message] for example in finding.examples]
    opened = " open" if finding.severity == "error" else ""
    severity = f'<span class="{finding.severity}">{finding.severity}</span>'
    title = f"{severity} <code>{escape(finding.kind)}</code>: {finding.count:,}"
    return (
        f"<details{opened}><summary>{title}</summary>"
        + _table(["file", "row", "what"], rows, numeric={1})
        + "</details>"
    )


def _columns(report: DatasetReport) -> str:
    rows = []
    for column in report.columns:
        types = "; ".join(
            f"{split}: {', '.join(f'{kind} {count:,}' for kind, count in kinds.items())}"
            for split, kinds in column.types.items()
        )
        empty = "; ".join(f"{split}: {count:,}" for split, count in column.empty.items() if count) or "0"
        rows.append([column.name, "yes" if column.used else "ignored", types, empty])
    return "<h2>Columns</h2>" + _table(["column", "used", "types (rows)", "empty values"], rows)


def _lengths(report: DatasetReport) -> str:
    parts = [
        "<h2>Lengths</h2><p class='soft'>Of the rows that were kept. The last bar holds the longest hundredth, too.</p>"
    ]
    for split, columns in report.lengths.items():
        rows, charts = [], []
        for name, summaries in columns.items():
            for summary in summaries:
                rows.append([name, summary.unit, *_numbers(summary)])
            charts.append(histogram(summaries[-1], f"{name}, {summaries[-1].unit}"))
        head = ["column", "unit", "min", "median", "mean", "95 %", "max"]
        table = _table(head, rows, numeric={2, 3, 4, 5, 6})
        parts.append(f"<h3>{escape(split)}</h3>{table}<div class='charts'>{''.join(charts)}</div>")
    return "".join(parts) if report.lengths else ""


def _numbers(summary: LengthSummary) -> list[str]:
    values = (summary.minimum, summary.median, summary.mean, summary.p95, summary.maximum)
    return [f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}" for value in values]


def _origin(report: DatasetReport) -> str:
    files = [
        [split, ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")] for split, names in report.files.items()
    ]
    facts = {
        "revision": report.revision or "(files)",
        "source version": report.source_version,
        "licence": report.license or "not stated by the dataset",
        "fingerprint": report.fingerprint or "(nothing written)",
    }
    rows = [[name, value] for name, value in facts.items() if value]
    return "<h2>Origin</h2>" + _table(["what", "value"], rows) + _table(["split", "files"], files)


def _table(head: list[str], rows: list[list[str]], numeric: Collection[int] = ()) -> str:
    def line(tag: str, cells: list[str]) -> str:
        marks = [' class="n"' if number in numeric else "" for number in range(len(cells))]
        return "<tr>" + "".join(f"<{tag}{m}>{escape(c)}</{tag}>" for m, c in zip(marks, cells, strict=True)) + "</tr>"

    return f"<div class='scroll'><table>{line('th', head)}{''.join(line('td', row) for row in rows)}</table></div>"
