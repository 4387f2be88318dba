"""What a row of the table of attacks is: one or several signals, a calibration, and what both need."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar

from hardlabel.calibrations.base import Calibration
from hardlabel.calibrations.threshold import RandomThreshold
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Domain
from hardlabel.signals.base import Access, LabelSignal, ScoreSignal


class Need(StrEnum):
    """What an attack may need in addition to the target's labels. The value says it in words.

    Example:
        >>> from hardlabel.attacks import TABLE, Need
        >>> Need.SHADOW.value
        'a shadow model'
        >>> Need.REFERENCES in TABLE["path"].required
        True
    """

    SCORES = "the target's confidence vectors"
    SHADOW = "a shadow model"
    REFERENCES = "reference models trained with and without the samples asked about"
    REFERENCE_SCORES = "the reference models' confidence vectors"
    GRADIENTS = "reference models with gradients"
    CRAFTERS = "crafter networks"
    SURROGATE = "data of its own to train a surrogate on"
    SHOWING_REFERENCES = "reference models that show confidences"
    SHOWING_SHADOW = "a shadow model that shows confidences"
    ALIKE = "models trained as the target was"  # No attack needs them, but the ranking asks.


NOTHING: Mapping[Need, str] = MappingProxyType({})  # Nothing is missing.


@dataclass(frozen=True, kw_only=True)
class _Attack:
    """What every row of the table has.

    Attributes:
        name: How users ask for it.
        summary: What it does, in one line.
        calibration: How the signal becomes a score.
        needs: What the user must provide, in words.
        source: Paper and section.
        fewest: Fewest queries per sample it can work with.
        usual: Most queries per sample where no budget says otherwise.
        grows: Whether a budget above `usual` is used; if not, more queries would gain nothing.
        standard: Whether it runs where no attacks are named; the others are variants, or cost hours.
        brief: Most queries per sample where it runs with others and no attacks are named; None for `usual`.
        data: Which domains it suits: "any", "images", "continuous" ones, or "no tables" (all but mixed tables and
            tokens).
        uses: What it needs besides labels, and models to be fitted on. One that crafts its queries never learns from
            the shadow model, which may be one of the crafters, but from the reference models.
    """

    access: ClassVar[Access]

    name: str
    summary: str
    calibration: Calibration
    needs: str
    source: str
    fewest: int = 1
    usual: int = 1
    grows: bool = False
    standard: bool = True
    brief: int | None = None
    data: str = "any"
    uses: tuple[Need, ...] = ()

    @property
    def required(self) -> tuple[Need, ...]:
        """What it cannot do without."""
        needs = list(self.uses)
        if self.calibration.per_sample:
            needs.append(Need.REFERENCES)
        elif self.calibration.requires_references:
            needs.append(Need.REFERENCES if self.crafted else Need.SHADOW)
        return tuple(needs)

    @property
    def crafted(self) -> bool:
        """Whether its queries are made with models of the attacker's, of which the shadow model may be one."""
        return bool({Need.CRAFTERS, Need.GRADIENTS, Need.SURROGATE} & set(self.uses))

    @property
    def made_for_one(self) -> bool:
        """Whether it is made for one target, or with models whose members matter: it cannot be replayed on others."""
        return bool({Need.GRADIENTS, Need.SURROGATE} & set(self.uses))

    @property
    def learns_on_shadow(self) -> bool:
        """Whether a shadow model, where there is one, tells it anything: a threshold at the least."""
        alone = isinstance(self.calibration, RandomThreshold)
        return not (alone or self.crafted or self.calibration.per_sample)

    @property
    def must_show(self) -> tuple[Need, ...]:
        """Which of the attacker's own models, where it has them, must show confidences."""
        on_references = self.calibration.per_sample or self.crafted
        if Need.REFERENCE_SCORES in self.uses or (on_references and self.access == Access.SCORES):
            return (Need.SHOWING_REFERENCES,)
        return (Need.SHOWING_SHADOW,) if self.access == Access.SCORES else ()

    def unplayable(
        self, *, domain: Domain | None = None, budget: int | None = None, missing: Mapping[Need, str] = NOTHING
    ) -> str | None:
        """Why the attack cannot be played, or None: the one place that says so.

        Args:
            domain: Of the samples attacked; None where that is not yet known.
            budget: Most queries per sample; None for no limit.
            missing: What is not there, with the reason.
        """
        reason = None if domain is None else self.unsuited(domain)
        if reason is None and budget is not None and budget < self.fewest:
            reason = f"needs at least {self.fewest} queries per sample, the budget is {budget}"
        need = self.first_missing(missing)
        if reason is not None or need is None:
            return reason
        return missing[need] if need is Need.SCORES else f"it needs {need}: {missing[need]}"

    def first_missing(self, missing: Mapping[Need, str]) -> Need | None:
        """The first thing that it cannot do without and that is missing, or None."""
        return next((need for need in (*self.required, *self.must_show) if need in missing), None)

    def unsuited(self, domain: Domain) -> str | None:
        """Why the attack does not suit a domain, or None where it does."""
        if self.data == "images" and domain.kind != "image":
            return f"needs images, got a {domain.kind} domain: nothing else can be shifted, rotated or mirrored"
        if self.data == "continuous" and not domain.continuous:
            return (
                f"needs a continuous domain, got a {domain.kind} one: its search asks points between samples, "
                "which do not exist where values are discrete"
            )
        if self.data == "no tables" and domain.kind == "mixed table":
            return "needs a continuous or binary domain, got a mixed table one: its steps would leave the categories"
        if self.data == "no tables" and domain.kind == "tokens":
            return "needs a continuous or binary domain, got a tokens one: ids are names, which follow no gradient"
        return None

    def allowed(self, budget: int | None) -> int:
        """Queries per sample the attack will use at most under `budget`.

        Raises:
            InvalidInput: The budget is below `fewest`.
        """
        if budget is None:
            return self.usual
        if budget < self.fewest:
            raise InvalidInput(f"budget must be at least {self.fewest} for attack {self.name!r}, got {budget}")
        return budget if self.grows else min(budget, self.usual)


@dataclass(frozen=True, kw_only=True)
class LabelAttack(_Attack):
    """An attack that sees labels only.

    Attributes:
        signals: `signals(domain, queries)` lists the candidates that cost at most `queries` queries per sample. With
            several, the shadow model chooses.

    Example:
        >>> from hardlabel import Box
        >>> from hardlabel.attacks.table import TABLE
        >>> noise = TABLE["noise"]
        >>> str(noise.signals(Box((8,)), 11)[0])
        '10 noisy copies, sigma 0.02'
        >>> noise.source
        'Choquette-Choo et al. 2021, section 3.4'
        >>> noise.allowed(budget=1)
        Traceback (most recent call last):
        hardlabel.checks.InvalidInput: budget must be at least 2 for attack 'noise', got 1
    """

    signals: Callable[[Domain, int], tuple[LabelSignal, ...]]
    access = Access.LABEL


@dataclass(frozen=True, kw_only=True)
class ScoreAttack(_Attack):
    """A baseline that sees confidence vectors; always one query.

    Attributes:
        signal: What is read from the confidence vector.
        scaled: Whether the references choose the scale of the values, which are logit confidences (`Scaled`).

    Example:
        >>> from hardlabel.attacks.table import TABLE
        >>> str(TABLE["loss"].signal), TABLE["loss"].allowed(budget=None)
        ('log loss', 1)
        >>> [need.value for need in TABLE["lira"].must_show]
        ['reference models that show confidences']
    """

    signal: ScoreSignal
    scaled: bool = False
    uses: tuple[Need, ...] = (Need.SCORES,)
    access = Access.SCORES


Attack = LabelAttack | ScoreAttack
"""A row of the table, or an attack of your own."""
