"""The report: one HTML file that needs nothing else, not even a network or a script."""

import json
from pathlib import Path

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from hardlabel.checks import InvalidInput
from hardlabel.experiments.record import AuditRecord
from hardlabel.metrics.estimate import Estimate
from hardlabel.reports import figures, tables, wording
from hardlabel.reports.severity import RULE
from hardlabel.reports.verdict import verdict


def write_report(record: AuditRecord, path: str | Path) -> None:
    """Writes the report of an audit to `path`, UTF-8; folders on the way are made.

    Raises:
        InvalidInput: The file cannot be written.
    """
    text, path = render(record), Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        reason = error.strerror or error
        raise InvalidInput(f"path {str(path)!r} must be a file that can be written: {reason}") from error


def render(record: AuditRecord) -> str:
    """The report as HTML; the same record gives the same text."""
    results = record.results
    found = verdict(record)
    attacks = tables.in_order(results)
    named = {attack.name: attack for attack in attacks}
    histograms = [named[name] for name in (found.strongest, found.strongest_scores) if name]
    drawn = []
    if attacks:
        drawn = [
            figures.roc_figure(results, attacks, found.strongest),
            figures.auc_figure(attacks),
            figures.queries_figure(attacks),
            *(figures.histogram_figure(attack, results.members, results.nonmembers) for attack in histograms),
        ]
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(
            results=results,
            verdict=found,
            rule=RULE,
            groups=tables.by_access(results),
            attacks=attacks,
            footnotes=tables.footnotes(attacks),
            rates=tables.rates(results),
            comparisons=tables.comparisons(results),
            strongest=named.get(found.strongest or ""),
            exposed=tables.most_exposed(record, found.strongest),
            figures=drawn,
            config=_plain(record.config),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("hardlabel", "reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    writers = ("decimal", "percent", "interval", "figure", "number", "score", "odds", "duration", "listed", "date")
    environment.filters |= {name: getattr(wording, name) for name in (*writers, "counted", "finely")}
    environment.filters |= {"exact": _exact, "lowest": tables.lowest_rate}
    environment.globals |= {"decimal": wording.decimal, "percent": wording.percent}
    return environment


def _exact(figure: Estimate | float | None) -> str:
    """A figure as results.json has it, for machines that read the page; empty for none."""
    value = figure.value if isinstance(figure, Estimate) else figure
    return "" if value is None else repr(value)


def _plain(config: dict[str, object]) -> str:
    """The settings as YAML; what YAML does not know is written as text."""
    return yaml.safe_dump(json.loads(json.dumps(config, default=str)), sort_keys=False, allow_unicode=True)
