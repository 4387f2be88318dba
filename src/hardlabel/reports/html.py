"""The report: one HTML file that needs nothing else, not even a network or a script."""

import json
from collections.abc import Sequence
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from hardlabel.metrics.estimate import Estimate
from hardlabel.records.base import Record
from hardlabel.records.canaries import KINDS, CanaryRecord
from hardlabel.records.defenses import NONE, DefendRecord
from hardlabel.records.effects import LEAST, effects
from hardlabel.records.exposure import CLASS, Standout
from hardlabel.records.model import AttackResult, AuditRecord
from hardlabel.records.recipe import RecipeAttack, RecipeRecord
from hardlabel.records.recommendation import picked, recommendation
from hardlabel.reports import attacker, canaries, comparison, figures, strips, tables, wording
from hardlabel.reports.recipe import recipe_verdict, right
from hardlabel.reports.verdict import RULE, verdict


def model_page(record: AuditRecord) -> str:
    """The report of the audit of a model."""
    results = record.results
    found = verdict(record)
    attacks = tables.in_order(results)
    named = {attack.name: attack for attack in attacks}
    histograms = [named[name] for name in (found.strongest, found.strongest_scores) if name]
    drawn = []
    if attacks:
        styles = figures.styles(attacks, figures.curves(results, attacks, found.strongest))
        drawn = [
            figures.roc_figure(results, attacks, found.strongest),
            strips.auc_figure(attacks, styles),
            figures.queries_figure(attacks, styles),
            *(figures.histogram_figure(attack, results.members, results.nonmembers) for attack in histograms),
        ]
    return _page(
        "report.html.jinja",
        record,
        verdict=found,
        rule=RULE,
        groups=tables.by_access(results),
        attacks=attacks,
        footnotes=tables.footnotes(attacks),
        rates=tables.rates(results),
        comparisons=tables.comparisons(results),
        strongest=named.get(found.strongest or ""),
        exposed=tables.most_exposed(record, found.strongest),
        # Classes have a table of their own, with accuracies.
        slices=[one for one in tables.group_tables(results.groups, found.strongest) if one[0] != CLASS],
        images=_images(results.exposed),
        reference_models=attacker.reference_models(results.references) if results.references else [],
        figures=drawn,
    )


def recipe_page(record: RecipeRecord) -> str:
    """The report of the audit of a recipe."""
    results = record.results
    attacks = tables.in_order(results)
    aucs = {attack.name: attack.aucs for attack in attacks}
    ends = figures.auc_range(attacks, *(auc for each in aucs.values() for auc in each))
    estimates = [
        one for attack in attacks for one in (attack.auc, *attack.tpr_at_fpr.values()) if one.value is not None
    ]
    return _page(
        "recipe.html.jinja",
        record,
        strip=lambda attack: strips.strip(attack.aucs, *ends),
        verdict=recipe_verdict(record),
        rule=RULE,
        groups=tables.by_access(results),
        attacks=attacks,
        ends=ends,
        right=right(results.targets),
        footnotes=list(dict.fromkeys(one.note for one in estimates if one.note)),
        rates=tables.rates(results),
        comparisons=tables.comparisons(results),
        slices=tables.group_tables(results.groups, recipe_verdict(record).strongest),
        why={one.id: (tables.why(one), one.shown) for one in results.exposed},
        images=_images(results.exposed),
        figures=[strips.auc_figure(attacks, models=aucs)] if attacks else [],
    )


def defenses_page(record: DefendRecord) -> str:
    """The report of a comparison of defenses."""
    results = record.results
    grade, title = comparison.verdict(results)
    return _page(
        "comparison.html.jinja",
        record,
        grade=grade,
        title=title,
        plain=record.defense(NONE),
        best=picked(results)[0],
        recommendation=recommendation(results),
        effects=effects(results),
        margin=f"{wording.MINUS}{100 * results.margin:g}",
        least=LEAST,
        groups=comparison.by_kind(results),
        numbers=comparison.numbered(results),
        private=[one for one in results.defenses if one.privacy is not None],
        figures=[comparison.front_figure(results)],
    )


def canaries_page(record: CanaryRecord) -> str:
    """The report of an audit by canaries."""
    results = record.results
    return _page(
        "canaries.html.jinja",
        record,
        verdict=canaries.verdict(results),
        rule=canaries.RULE,
        planted=canaries.planted(results),
        kinds=KINDS,
        groups=tables.grouped(results.bounds),
        proved=canaries.proved,
        odds=canaries.odds,
        figures=[canaries.bounds_figure(results)],
    )


def _page(template: str, record: Record[Any], **values: object) -> str:
    """A template filled with the record's results and settings, and `values`."""
    page = _environment().get_template(template)
    held = attacker.classes_held(record.config)
    return page.render(results=record.results, config=_plain(record.config), held=held, **values)


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
    environment.filters |= {"exact": _exact, "lowest": tables.lowest_rate, "signal": _signal}
    environment.filters["own_models"] = attacker.own_models
    environment.globals |= {"decimal": wording.decimal, "percent": wording.percent}
    return environment


def _images(exposed: Sequence[Standout]) -> bool:
    """Whether the page shows images of records: only then may it load any, and from itself alone."""
    return any((one.shown or "").startswith("data:image/") for one in exposed)


def _exact(figure: Estimate | float | None) -> str:
    """A figure as results.json has it, for machines that read the page; empty for none."""
    value = figure.value if isinstance(figure, Estimate) else figure
    return "" if value is None else repr(value)


def _signal(attack: AttackResult | RecipeAttack) -> str:
    """What was measured; each model of a recipe may have been asked with another setting."""
    return "; ".join(attack.signals) if isinstance(attack, RecipeAttack) else attack.signal


def _plain(config: dict[str, object]) -> str:
    """The settings as YAML; what YAML does not know is written as text."""
    return yaml.safe_dump(json.loads(json.dumps(config, default=str)), sort_keys=False, allow_unicode=True)
