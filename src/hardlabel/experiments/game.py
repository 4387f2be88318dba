"""The membership game: an attack learns on the attacker's own models, then plays on the target.

Signals and calibrations see the membership of the attacker's own models only; the target's is for the metrics.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardlabel import randomness
from hardlabel.attacks import Attack
from hardlabel.attacks.base import Need
from hardlabel.calibrations.base import Calibration, Fitted, References, Teachable, wants_pool
from hardlabel.calibrations.normals import NormalBeliefs
from hardlabel.calibrations.standardized import Standardized
from hardlabel.calibrations.threshold import RandomThreshold
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples
from hardlabel.experiments.asking import Asking, LabelQuestion, Question, ScoreQuestion, Side, questions
from hardlabel.experiments.chunks import cut_knowledge, is_whole
from hardlabel.metrics import roc
from hardlabel.oracles.budget import Account, ChargedLabels
from hardlabel.signals.base import Beliefs, Measurement, SequentialPlan
from hardlabel.signals.confidence import Confidence, Statistic
from hardlabel.signals.gap import Gap

SCREENED = 500  # Shadow samples on which several candidates are compared; the one chosen is measured on all.
POOLED = 2  # Reference models an attack learns from that needs no calibration per sample.
RANDOM_INPUTS = "threshold from random inputs"
LOGITS = ScoreQuestion(Confidence(statistic=Statistic.LOGIT))


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceSides:
    """The attacker's reference models, each asked about the target's samples.

    Attributes:
        sides: One per model; all hold the target side's samples in their order.
        partner: (K,) int64, each model's partner in the pool, -1 where it has none.
        pool_sides: The same models asked about other samples of the pool, or none: the attacker's own, on which an
            offline calibration learns what members look like.
        alike: Whether they were trained as the target was; else each model's signals are standardised.
    """

    sides: tuple[Side, ...]
    partner: Tensor
    pool_sides: tuple[Side, ...] = ()
    alike: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class Played:
    """What one attack did, on the samples of the target's side in their order.

    Attributes:
        signal: The signal asked of the target, in words.
        calibration: How it became a score, in words.
        scores: (n,) float64; higher means likelier a member.
        measurement: Values, queries and completeness on the target.
        overhead: Queries to the target that belong to no sample, by purpose.
        threshold: From where on the attacker says "member"; None where no model of its own could tell.
        seconds: Spent asking the target, when it was asked.
        shadow_used: Whether the shadow model had a part in it.
        references: How many reference models had a part in it.
        reference_rows: Rows sent through the attacker's own models.
        reference_seconds: Spent on that, when it was done, and on fitting.
    """

    signal: str
    calibration: str
    scores: Tensor
    measurement: Measurement
    overhead: dict[str, int]
    threshold: float | None
    seconds: float
    shadow_used: bool
    references: int
    reference_rows: int
    reference_seconds: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Game:
    """A target, and the models the attacker owns.

    Attributes:
        target: Whom the attack is about.
        shadow: A model whose membership the attacker knows, trained on other samples; None where it has none.
        references: Models trained with and without the samples asked about; None where there are none.
        budget: Most queries per sample and attack; None for each attack's usual number.
        asking: Asks the questions.
        learned: What attacks have learned on the attacker's own models, by name: shared by games that differ in the
            target's model alone. None learns anew in every game.
    """

    target: Side
    shadow: Side | None
    references: ReferenceSides | None = None
    budget: int | None
    asking: Asking
    learned: dict[str, "Learned"] | None = None

    def right(self) -> Tensor:
        """Whom the target classifies rightly, bool (n,): what the gap attack asks, asked once for both."""
        asked = self.asking.answer(LabelQuestion(Gap()), self.target, "accuracy of the target", account=self._account())
        return asked.measured.values[:, 0] > 0

    def lacks(self, attack: Attack) -> str | None:
        """Why an attack cannot be played within the budget, or None.

        A sequential plan asks little once it knows what to expect. What to expect of members, an offline calibration
        learns from the rest of the pool; where there is none, exact values must be affordable.
        """
        offline = getattr(attack.calibration, "wants_pool", False)
        if not offline or self.references is None or self.references.pool_sides:
            return None
        candidates = questions(attack, self.target, self.budget)
        if any(self._affordable(attack, question) for question in candidates):
            return None
        return (
            f"nobody but the samples asked about is in the references' pool: it needs more queries than "
            f"{attack.allowed(self.budget)} there"
        )

    def _affordable(self, attack: Attack, question: Question) -> bool:
        """Whether the question can be asked without expecting anything."""
        plan = self.asking.prepared(question, self.target).plan
        return not isinstance(plan, SequentialPlan) or plan.queries[1] <= attack.allowed(self.budget)

    def play(self, attack: Attack) -> Played:
        """Chooses and fits on the attacker's own models, then asks the target.

        Raises:
            InvalidInput: The attack needs models that are not there, or more queries (see `lacks`).
        """
        if (why := self.lacks(attack)) is not None:
            raise InvalidInput(f"attack {attack.name!r} cannot be played: {why}")
        known = {} if self.learned is None else self.learned
        if attack.name not in known:
            known[attack.name] = self._learned(attack)
        learned = known[attack.name]
        asked = self.asking.answer(
            learned.question,
            self.target,
            f"{attack.name} on the target",
            account=self._account(attack.allowed(self.budget)),
            beliefs=learned.beliefs,
        )
        own = self.asking.prepared(learned.question, self.target) if attack.crafted else None
        threshold, overhead = learned.threshold, asked.overhead
        if isinstance(attack.calibration, RandomThreshold):
            threshold, more = self._random_threshold(attack.calibration, learned.question)
            overhead = {**overhead, **more}
        return Played(
            signal=str(learned.question.signal),
            calibration=str(learned.calibration),
            scores=learned.fitted.score(asked.measured.values, self.target.samples.labels.cpu()),
            measurement=asked.measured,
            overhead=overhead,
            threshold=threshold,
            seconds=asked.seconds,
            shadow_used=learned.shadow_used,
            references=self._used(attack, learned),
            reference_rows=learned.rows + (own.rows if own else 0),
            reference_seconds=learned.seconds + (own.seconds if own else 0.0),
        )

    def _used(self, attack: Attack, learned: "Learned") -> int:
        """How many references had a part in it: fitted on, or crafted on."""
        crafted = self.references is not None and Need.GRADIENTS in attack.uses
        return len(self.references.sides) if self.references is not None and crafted else learned.references

    def _random_threshold(self, calibration: RandomThreshold, question: Question) -> tuple[float, dict[str, int]]:
        """The threshold from random inputs, labelled by the target, and what they cost."""
        domain, device = self.target.samples.domain, self.target.samples.device
        inputs = domain.random(calibration.inputs, randomness.generator(self.asking.seed, RANDOM_INPUTS)).to(device)
        ids = torch.arange(len(inputs), device=device)
        account = Account(on_spent=self.asking.watch.advance)
        labels = ChargedLabels(self.target.model.labels, account, overhead=RANDOM_INPUTS).ask(inputs, ids)
        samples = Samples(ids=ids, inputs=inputs, labels=labels, domain=domain)
        side = Side(
            model=self.target.model,
            samples=samples,
            inside=torch.zeros(len(inputs), dtype=torch.bool),
            knowledge=self.target.knowledge,
        )
        answer = self.asking.answer(question, side, "random inputs on the target", account=account, aside=RANDOM_INPUTS)
        queries = len(inputs) + int(answer.measured.queries.sum())
        return calibration.threshold_of(answer.measured.values), {RANDOM_INPUTS: queries}

    def _account(self, per_sample: int | None = None) -> Account:
        return Account(per_sample=per_sample, on_spent=self.asking.watch.advance)

    def _learned(self, attack: Attack) -> "Learned":
        candidates = questions(attack, self.target, self.budget)
        if attack.calibration.per_sample:
            return self._on_references(attack, candidates)
        if not attack.calibration.requires_references:
            alone = attack.calibration.fit(None, seed=self.asking.seed)
            nobody = self.references is None if attack.crafted else self.shadow is None
            if (
                isinstance(attack.calibration, RandomThreshold)
                or nobody
                or (alone.threshold is not None and len(candidates) == 1)
            ):
                # Nobody can choose, or there is nothing to choose; candidates run from weak to strong.
                return Learned(candidates[len(candidates) // 2], attack.calibration, alone, alone.threshold)
        if attack.crafted:
            if self.references is None:
                raise InvalidInput(f"attack {attack.name!r} needs {Need.REFERENCES}, there are none")
            return self._on_sides(attack, candidates, self.references.sides[:POOLED], shadow=False)
        if self.shadow is None:
            raise InvalidInput(f"attack {attack.name!r} needs a shadow model, there is none")
        return self._on_sides(attack, candidates, (self.shadow,), shadow=True)

    def _on_sides(
        self, attack: Attack, candidates: Sequence[Question], sides: Sequence[Side], *, shadow: bool
    ) -> "Learned":
        """The candidate that tells the sides' members best, fitted on all of their samples alike."""
        rows, seconds = 0, 0.0

        def fitted(
            question: Question, *groups: Sequence[Side], known: int = 0
        ) -> tuple[float, float | None, Question, Fitted]:
            nonlocal rows, seconds
            references, cost = self._measured(attack, question, groups, known=known)
            started = time.perf_counter()
            made = attack.calibration.fit(references, seed=self.asking.seed)
            rows += cost[0]
            seconds += cost[1] + time.perf_counter() - started
            assert made.reference_scores is not None
            own = made.reference_scores
            threshold = made.threshold if made.threshold is not None else _threshold(own, references.inside)
            return _mean_auc(own, references.inside), threshold, question, made

        if len(candidates) == 1:
            fit = fitted(candidates[0], sides)
        else:
            more = len(sides[0].samples) > SCREENED
            part = _cut(sides, slice(0, SCREENED)) if more else sides
            self.asking.measured_ahead(candidates, part, _title(attack, sides))
            fit = max((fitted(question, part) for question in candidates), key=lambda fit: fit[0])
            # What measures all samples together cannot go on with others, and what is crafted for all is there already.
            if more and (attack.crafted or is_whole(fit[2].signal)):
                fit = fitted(fit[2], sides)
            elif more:
                fit = fitted(fit[2], part, _cut(sides, slice(SCREENED, None)), known=1)
        _, threshold, question, made = fit
        return Learned(
            question, attack.calibration, made, threshold, None, rows, seconds, shadow, 0 if shadow else len(sides)
        )

    def _on_references(self, attack: Attack, candidates: Sequence[Question]) -> "Learned":
        """The candidate that tells the references' members best, each scored by the others, fitted on all."""
        if self.references is None:
            raise InvalidInput(f"attack {attack.name!r} needs {Need.REFERENCES}, there are none")
        there = self.references
        rows, seconds = 0, 0.0
        best, strongest = None, -math.inf
        for question in candidates:
            plan = self.asking.prepared(question, self.target).plan
            # Only exact values can be standardised: where queries do not suffice for those, values stay as they are.
            affordable = self._affordable(attack, question)
            alike = there.alike or not affordable
            calibration = attack.calibration if alike else Standardized(inner=attack.calibration)
            learns_from_pool = there.pool_sides and wants_pool(attack.calibration, len(there.sides[0].samples))
            groups = (there.sides, there.pool_sides) if learns_from_pool else (there.sides,)
            references, cost = self._measured(attack, exact(question), groups, there)
            started = time.perf_counter()
            fitted = calibration.fit(references, seed=self.asking.seed)
            beliefs: Beliefs | None = getattr(fitted, "beliefs", None)
            if beliefs is None and not affordable:
                continue  # `lacks` made sure that there is another candidate.
            if beliefs is not None and isinstance(plan, SequentialPlan):
                # Choices are made once, on all references: made anew for each, they would cost hours and change little.
                settled = getattr(fitted, "settled", calibration)
                if isinstance(fitted, Teachable):
                    others = [] if references.scored is None else [there.pool_sides[0]]
                    plans = [plan, *(self.asking.prepared(question, side).plan for side in others)]
                    fitted = fitted.taught(_replayed(settled, references, plans, seed=self.asking.seed))  # type: ignore[arg-type]
                    own = fitted.reference_scores
                else:
                    own = _replayed_scores(settled, references, plan, seed=self.asking.seed)
            else:
                beliefs, own = None, fitted.reference_scores
            inside = references.inside[:, : references.scored]
            rows += cost[0]
            seconds += cost[1] + time.perf_counter() - started
            strength = -1.0 if own is None else _mean_auc(own, inside)
            threshold = None if own is None else _threshold(own, inside)
            if best is None or strength > strongest:
                strongest = strength
                best = Learned(question, calibration, fitted, threshold, beliefs, references=len(there.sides))
        assert best is not None
        return replace(best, rows=rows, seconds=seconds)

    def _measured(
        self,
        attack: Attack,
        question: Question,
        groups: Sequence[Sequence[Side]],
        there: ReferenceSides | None = None,
        *,
        known: int = 0,
    ) -> tuple[References, tuple[int, float]]:
        """The question's answers from several models, and the rows and seconds they took.

        Each group holds the same models, asked about other samples; what the first `known` groups took has been
        counted before.
        """
        rows, seconds = 0, 0.0

        def values(question: Question, number: int) -> Tensor:
            nonlocal rows, seconds
            sides = groups[number]
            answers = self.asking.answers(question, sides, _title(attack, sides), account=self._account)
            if number >= known:
                rows += sum(int(one.measured.queries.sum()) + sum(one.overhead.values()) for one in answers)
                seconds += sum(one.seconds for one in answers)
            return torch.stack([one.measured.values for one in answers])

        shown = all(side.model.scores is not None for side in groups[0])
        wants_logits = there is not None and shown and getattr(attack.calibration, "wants_logits", False)
        every = range(len(groups))
        references = References(
            values=torch.cat([values(question, number) for number in every], 1),
            inside=torch.cat([torch.stack([side.inside for side in group]) for group in groups], 1),
            labels=torch.cat([group[0].samples.labels.cpu() for group in groups]),
            partner=None if there is None else there.partner,
            censored=getattr(question.signal, "censored", False),
            logits=torch.cat([values(LOGITS, number)[..., 0] for number in every], 1) if wants_logits else None,
            scored=len(groups[0][0].samples) if there is not None and len(groups) > 1 else None,
        )
        return references, (rows, seconds)


@dataclass(frozen=True, eq=False)
class Learned:
    """The question chosen for the target, what was fitted for it, and what the choice cost on own models."""

    question: Question
    calibration: Calibration
    fitted: Fitted
    threshold: float | None
    beliefs: Beliefs | None = None
    rows: int = 0
    seconds: float = 0.0
    shadow_used: bool = False
    references: int = 0


def exact(question: Question) -> Question:
    """What own models are asked: a signal that would ask the target less, under beliefs, may name its exact form."""
    exact = getattr(question.signal, "exact", None)
    return question if exact is None else LabelQuestion(exact)


def _title(attack: Attack, sides: Sequence[Side]) -> str:
    """For the progress bar: what is asked of the attacker's own models."""
    return f"{attack.name} on {'reference model' if len(sides) > 1 else 'the shadow model'}"


def _cut(sides: Sequence[Side], rows: slice) -> list[Side]:
    """The sides of some of their samples; those that share samples and knowledge go on sharing them."""
    samples = {side.samples: side.samples.take(rows) for side in sides}
    knowledge = {side.knowledge: cut_knowledge(side.knowledge, rows) for side in sides}
    return [
        Side(
            model=side.model,
            samples=samples[side.samples],
            inside=side.inside[rows],
            knowledge=knowledge[side.knowledge],
        )
        for side in sides
    ]


def _replayed_scores(
    calibration: Calibration, references: References, plan: SequentialPlan, *, seed: int
) -> Tensor | None:
    """Each reference's score had it been asked like the target: few questions, beliefs fitted on the others."""
    scores = []
    labels = references.labels[: references.scored]
    for model, values in enumerate(references.values):
        rest = references.without(model)
        if rest is None:
            return None
        fitted = calibration.fit(rest, seed=seed)
        found = plan.replay(fitted.beliefs, values[: references.scored])  # type: ignore[attr-defined]  # Others have them.
        scores.append(fitted.score(found, labels))
    return torch.stack(scores)


def _replayed(
    calibration: Calibration, references: References, plans: Sequence[SequentialPlan], *, seed: int
) -> Tensor:
    """Each reference's values (K, n, d) had it been asked like the target; one plan per group of samples."""
    found = []
    for model, values in enumerate(references.values):
        rest = references.without(model)
        assert rest is not None, "a calibration that can be taught makes sure that others are left"
        beliefs: NormalBeliefs = calibration.fit(replace(rest, scored=None), seed=seed).beliefs  # type: ignore[attr-defined]
        parts = [slice(0, references.scored), slice(references.scored, None)][: len(plans)]
        found.append(
            torch.cat([plan.replay(beliefs.of(part), values[part]) for plan, part in zip(plans, parts, strict=True)])
        )
    return torch.stack(found)


def _mean_auc(scores: Tensor, inside: Tensor) -> float:
    """Mean over models of the AUC on each; a model with one kind only says nothing."""
    told = [
        roc.auc(own.numpy(), mine.numpy())
        for own, mine in zip(scores, inside, strict=True)
        if bool(mine.any()) and not bool(mine.all())
    ]
    return float(np.mean(told)) if told else 0.5


def _threshold(scores: Tensor, inside: Tensor) -> float | None:
    every: NDArray[np.float64] = scores.flatten().numpy()
    member = inside.flatten().numpy()
    if member.all() or not member.any():
        return None
    return roc.best_threshold(every, member)
