"""The answers on a page's first screen: pure functions of the record, for every kind of record."""

from typing import Any

from hardlabel.checks import InvalidInput, shown
from hardlabel.records.base import Record
from hardlabel.records.canaries import CanaryRecord
from hardlabel.records.defenses import DefendRecord
from hardlabel.records.model import AuditRecord
from hardlabel.records.recipe import RecipeRecord
from hardlabel.reports.answers_audit import model_answers, recipe_answers
from hardlabel.reports.answers_canaries import canary_answers
from hardlabel.reports.answers_defenses import defense_answers
from hardlabel.reports.questions import Answers
from hardlabel.reports.recipe import recipe_verdict
from hardlabel.reports.verdict import verdict


def answers(record: Record[Any]) -> Answers:
    """The answers to the five questions of the first screen.

    Raises:
        InvalidInput: It is no record.

    Example:
        >>> import hardlabel
        >>> from hardlabel.reports.answers import answers
        >>> answers(hardlabel.load("runs/digits")).leaking
        ('Yes.', '77 of 100 members found [73,...82] at 1 false alarm in 10; guessing finds 10.')
    """
    if isinstance(record, AuditRecord):
        return model_answers(record, verdict(record))
    if isinstance(record, RecipeRecord):
        return recipe_answers(record, recipe_verdict(record))
    if isinstance(record, DefendRecord):
        return defense_answers(record)
    if isinstance(record, CanaryRecord):
        return canary_answers(record)
    raise InvalidInput(f"record must be a record of an audit, got {shown(record)}")
