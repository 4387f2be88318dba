"""The templates of pages, filled with values: each value is escaped, and a name that is missing is an error."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from hardlabel.metrics.estimate import Estimate
from hardlabel.records.model import AttackResult
from hardlabel.records.recipe import RecipeAttack
from hardlabel.reports import attacker, glossary, tables, wording

WRITERS = (
    *("decimal", "percent", "interval", "figure", "number", "score", "odds", "duration", "listed", "date"),
    *("counted", "finely"),
)


def filled(template: str, **values: object) -> str:
    """A template of this room filled with `values`, which are escaped."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("hardlabel", "reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(wording, name) for name in WRITERS}
    environment.filters |= {"exact": _exact, "lowest": tables.lowest_rate, "signal": _signal, "term": glossary.term}
    environment.filters["own_models"] = attacker.own_models
    environment.globals |= {"decimal": wording.decimal, "percent": wording.percent}
    return environment


def _exact(figure: Estimate | float | None) -> str:
    """A figure as results.json has it, for machines that read the page; empty for none."""
    value = figure.value if isinstance(figure, Estimate) else figure
    return "" if value is None else repr(value)


def _signal(attack: AttackResult | RecipeAttack) -> str:
    """What was measured; each model of a recipe may have been asked with another setting."""
    return "; ".join(attack.signals) if isinstance(attack, RecipeAttack) else attack.signal
