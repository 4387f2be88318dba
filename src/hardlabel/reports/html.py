"""The report: one HTML file that needs nothing else, not even a network. It reads without its script, too."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import yaml
from markupsafe import Markup

from hardlabel.attacks.shortfalls import shortfall
from hardlabel.records.base import Record
from hardlabel.records.canaries import KINDS, CanaryRecord
from hardlabel.records.defenses import NONE, DefendRecord
from hardlabel.records.effects import LEAST, effects
from hardlabel.records.exposure import CLASS, Standout, WorstCase
from hardlabel.records.model import AuditRecord, Results
from hardlabel.records.recipe import RecipeRecord, RecipeResults
from hardlabel.records.recommendation import picked, recommendation
from hardlabel.reports import attacker, canaries, comparison, figures, glossary, sentences, strips, svg, tables, wording
from hardlabel.reports.answers_audit import model_answers, recipe_answers
from hardlabel.reports.answers_canaries import canary_answers
from hardlabel.reports.answers_defenses import defense_answers
from hardlabel.reports.bars import bars
from hardlabel.reports.contents import Frame, sections
from hardlabel.reports.downloads import downloads
from hardlabel.reports.questions import QUESTIONS, Answers
from hardlabel.reports.recipe import RecipeParagraph, recipe_verdict, right
from hardlabel.reports.svg import Style
from hardlabel.reports.templates import filled
from hardlabel.reports.verdict import RULE, Paragraph, verdict
from hardlabel.signals.base import Access

MODEL = Frame(kind="Membership audit", kicker="membership inference audit of a model", terms=glossary.AUDIT)
RECIPE = Frame(kind="Recipe audit", kicker="membership inference audit of a training recipe", terms=glossary.RECIPE)
DEFENSES = Frame(
    kind="Defenses compared",
    kicker="defenses against membership inference, compared",
    badge="Recommendation",
    without=("risk",),
    terms=glossary.DEFENSES,
)
CANARIES = Frame(
    kind="Canary audit",
    kicker="audit of a training by canaries",
    without=("risk", "attacks"),
    terms=glossary.CANARIES,
)


def model_page(record: AuditRecord) -> str:
    """The report of the audit of a model."""
    results = record.results
    found = verdict(record)
    attacks = tables.in_order(results)
    named = {attack.name: attack for attack in attacks}
    histograms = [named[name] for name in (found.strongest, found.strongest_scores) if name]
    drawn: dict[str, Style] = {}
    plots: list[figures.Figure] = []
    if attacks:
        drawn = figures.styles(attacks, figures.curves(results, attacks, found.strongest))
        plots = [
            figures.roc_figure(results, attacks, found.strongest, drawn),
            figures.queries_figure(attacks, drawn),
            *(figures.histogram_figure(attack, results.members, results.nonmembers) for attack in histograms),
        ]
    return _page(
        "report.html.jinja",
        record,
        MODEL,
        model_answers(record, found),
        drawn,
        verdict=found,
        rule=RULE,
        **_picking(results, found, on="this target"),
        family=shortfall(results.target.family),
        groups=tables.by_access(results),
        attacks=attacks,
        footnotes=tables.footnotes(attacks),
        rates=tables.rates(results),
        comparisons=tables.comparisons(results),
        strongest=named.get(found.strongest or ""),
        exposed=tables.most_exposed(record, found.strongest),
        # Classes have a table of their own, with accuracies.
        slices=[group for group in tables.group_tables(results.groups, found.strongest) if group[0] != CLASS],
        images=_images(results.exposed),
        reference_models=attacker.reference_models(results.references) if results.references else [],
        worst_attack=_worst_attack(results.worst_case, found.strongest),
        extra=any(attack.overhead for attack in attacks),
        incomplete=any(attack.incomplete for attack in attacks),
        first_figure=strips.auc_figure(attacks, drawn) if attacks else None,
        figures=plots,
    )


def recipe_page(record: RecipeRecord) -> str:
    """The report of the audit of a recipe."""
    results = record.results
    found = recipe_verdict(record)
    attacks = tables.in_order(results)
    aucs = {attack.name: attack.aucs for attack in attacks}
    ends = figures.auc_range(attacks, *(auc for each in aucs.values() for auc in each))
    drawn = figures.styles(attacks)
    estimates = [
        estimate
        for attack in attacks
        for estimate in (attack.auc, *attack.tpr_at_fpr.values())
        if estimate.value is not None
    ]
    return _page(
        "recipe.html.jinja",
        record,
        RECIPE,
        recipe_answers(record, found),
        drawn,
        strip=lambda attack: strips.strip(attack.aucs, *ends, drawn[attack.name]),
        verdict=found,
        rule=RULE,
        **_picking(results, found, on="these models"),
        family=shortfall(results.family),
        groups=tables.by_access(results),
        attacks=attacks,
        ends=ends,
        right=right(results.targets),
        footnotes=list(dict.fromkeys(estimate.note for estimate in estimates if estimate.note)),
        rates=tables.rates(results),
        comparisons=tables.comparisons(results),
        slices=tables.group_tables(results.groups, found.strongest),
        why={standout.id: (tables.why(standout), standout.shown) for standout in results.exposed},
        images=_images(results.exposed),
        worst_attack=_worst_attack(results.worst_case, found.strongest),
        extra=any(attack.overhead for attack in attacks),
        figures=[strips.auc_figure(attacks, drawn, models=aucs)] if attacks else [],
    )


def defenses_page(record: DefendRecord) -> str:
    """The report of a comparison of defenses."""
    results = record.results
    return _page(
        "comparison.html.jinja",
        record,
        DEFENSES,
        defense_answers(record),
        plain=record.defense(NONE),
        best=picked(results)[0],
        recommendation=recommendation(results),
        effects=effects(results),
        margin=f"{wording.MINUS}{100 * results.margin:g}",
        least=LEAST,
        groups=comparison.by_kind(results),
        numbers=comparison.numbered(results),
        private=[result for result in results.defenses if result.privacy is not None],
        figures=[comparison.front_figure(results)],
    )


def canaries_page(record: CanaryRecord) -> str:
    """The report of an audit by canaries."""
    results = record.results
    return _page(
        "canaries.html.jinja",
        record,
        CANARIES,
        canary_answers(record),
        verdict=canaries.verdict(results),
        rule=canaries.RULE,
        planted=canaries.planted(results),
        kinds=KINDS,
        groups=tables.grouped(results.bounds),
        proved=canaries.proved,
        odds=canaries.odds,
        figures=[canaries.bounds_figure(results)],
    )


def _page(
    template: str,
    record: Record[Any],
    frame: Frame,
    answers: Answers,
    drawn: Mapping[str, Style] | None = None,
    **values: object,
) -> str:
    """A template filled with the first screen, the record's results and settings, and `values`.

    `drawn` says how each attack is drawn, by name.
    """
    script = _script()
    shared = {
        "results": record.results,
        "config": _plain(record.config),
        "held": attacker.classes_held(record.config),
        "frame": frame,
        "answers": answers,
        "bars": bars(answers.compared, drawn or {}) if answers.compared is not None else "",
        "questions": QUESTIONS,
        "sections": sections(frame.without),
        "glossary": glossary.entries(frame.terms),
        "swatch": lambda name: drawn[name].swatch() if drawn and name in drawn else "",
        "run": record.id,
        "files": downloads(record),
        "images": False,
        "styles": _styles(record.id),
        "script": Markup(script),
        # A browser runs this very text and no other.
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    return filled(template, **(shared | values))


def _picking(results: Results | RecipeResults, found: Paragraph | RecipeParagraph, *, on: str) -> dict[str, object]:
    """What the page says of how the attack quoted was picked: in a limit, and below names in tables."""
    labels = [attack for attack in results.attacks if attack.access == Access.LABEL]
    return {
        "tried": sentences.tried(labels, found.picked, found.strongest, on=on, confidence=results.confidence),
        "mark": lambda name: attacker.mark(name, found.strongest, results.attacks, results.choice),
    }


def _script() -> str:
    """The text of the page's script, whose lines end alike on every system."""
    text = files("hardlabel.reports").joinpath("page.js").read_text(encoding="utf-8")
    assert "</script" not in text, "the script would end there"
    return text


def _styles(run: str) -> Markup:
    """The page's CSS: colours of attacks, and the run's id at the foot of every printed page."""
    css = files("hardlabel.reports").joinpath("report.css").read_text(encoding="utf-8")
    light, dark = (
        ":root { " + " ".join(f"--c{place}: {colour};" for place, colour in enumerate(colours, start=1)) + " }"
        for colours in (svg.LIGHT, svg.DARK)
    )
    uses = " ".join(f".c{place} {{ color: var(--c{place}); }}" for place in range(1, svg.COLOURS + 1))
    foot = f'@page {{ @bottom-left {{ content: "hardlabel, run {run}"; }} }}'
    palette = [light, f"@media screen and (prefers-color-scheme: dark) {{ {dark} }}", uses, foot]
    return Markup("\n".join([css, *palette]))


def _worst_attack(worst: WorstCase | None, strongest: str | None) -> str | None:
    """The attack of the verdict, or the first one that was played on the few most at risk."""
    if worst is None:
        return None
    played = [row.attack for few in worst.selections for row in few.attacks]
    return strongest if strongest in played else next(iter(played), None)


def _images(exposed: Sequence[Standout]) -> bool:
    """Whether the page shows images of records: only then may it load any, and from itself alone."""
    return any((standout.shown or "").startswith("data:image/") for standout in exposed)


def _plain(config: dict[str, object]) -> str:
    """The settings as YAML; what YAML does not know is written as text."""
    return yaml.safe_dump(json.loads(json.dumps(config, default=str)), sort_keys=False, allow_unicode=True)
