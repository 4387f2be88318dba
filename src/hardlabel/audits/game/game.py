"""The membership game: an attack learns on the attacker's own models, then plays on the target.

Signals and calibrations see the membership of the attacker's own models only. Only metrics see the target's.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hardlabel import randomness
from hardlabel.attacks import Attack, ScoreAttack
from hardlabel.attacks.base import Need
from hardlabel.audits.game.asking import Asking, LabelQuestion, Question, ScoreQuestion, Side, questions
from hardlabel.audits.game.chunks import cut_knowledge, is_whole
from hardlabel.audits.game.lessons import POOLED, SCREENED, Lesson, lesson_of
from hardlabel.calibrations.base import Calibration, Fitted, References, Teachable, wants_pool
from hardlabel.calibrations.normals import NormalBeliefs
from hardlabel.calibrations.scaled import Scaled
from hardlabel.calibrations.standardized import Standardized
from hardlabel.calibrations.threshold import RandomThreshold
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples
from hardlabel.metrics import roc
from hardlabel.oracles.budget import Account, ChargedLabels
from hardlabel.oracles.purpose import Purpose
from hardlabel.signals.base import Access, Beliefs, Measurement, SequentialPlan
from hardlabel.signals.confidence import Confidence, Statistic
from hardlabel.signals.gap import Gap

RANDOM_INPUTS = "threshold from random inputs"
LOGITS = ScoreQuestion(Confidence(statistic=Statistic.LOGIT))
ACCURACY = LabelQuestion(Gap())


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceSides:
    """The attacker's reference models, each asked about the target's samples.

    Attributes:
        sides: One per model; all hold the target side's samples in the same order.
        partner: (K,) int64, each model's partner in the pool, -1 for a model without a partner.
        pool_sides: The same models asked about other samples of the pool, on which an offline calibration learns the
            values of members; may be empty.
        alike: Whether the models were trained like the target; else each model's signals are standardised.
    """

    sides: tuple[Side, ...]
    partner: Tensor
    pool_sides: tuple[Side, ...] = ()
    alike: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class Played:
    """The outcome of one attack, in the order of the samples of the target's side.

    Attributes:
        signal: The signal measured on the target, in words.
        calibration: How the signal became a score, in words.
        scores: (n,) float64; higher means likelier a member.
        measurement: Values, queries and completeness on the target.
        overhead: Queries to the target charged to no sample, by purpose.
        threshold: The lowest score that the attacker calls a member; None if no model of its own could fix it.
        seconds: Seconds spent asking the target, measured when it was asked.
        shadow_used: Whether the attack used the shadow model.
        references: Reference models that the attack used.
        reference_rows: Rows sent through the attacker's own models.
        reference_seconds: Seconds spent on these rows and on fitting, measured at the time.
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


@dataclass(frozen=True, eq=False)
class Learned:
    """The question chosen for the target, its fitted calibration, and the cost on the attacker's own models.

    `auc` is the question's AUC on these models, by which candidates are compared.
    """

    question: Question
    calibration: Calibration
    fitted: Fitted
    threshold: float | None
    beliefs: Beliefs | None = None
    rows: int = 0
    seconds: float = 0.0
    shadow_used: bool = False
    references: int = 0
    auc: float = -1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Game:
    """A target, and the models the attacker owns.

    Attributes:
        target: The model under attack and the samples asked about.
        shadow: A model trained on other samples, whose members the attacker knows, or None.
        references: Models trained with and without the samples asked about, or None.
        budget: Most queries per sample and attack; None for each attack's usual number.
        asking: Asks the questions.
        learned: Results of learning on the attacker's own models, by attack: shared by games that differ only in the
            target's model. None learns again in every game.
    """

    target: Side
    shadow: Side | None
    references: ReferenceSides | None = None
    budget: int | None
    asking: Asking
    learned: dict[str, Learned] | None = None

    def right(self) -> Tensor:
        """Which samples the target classifies correctly, bool (n,). The gap attack reuses these answers."""
        gap = self.asking.answer(
            ACCURACY,
            self.target,
            "accuracy of the target",
            account=self._account(None, Purpose("accuracy", limited=True)),
        )
        return gap.measured.values[:, 0] > 0

    def lacks(self, attack: Attack) -> str | None:
        """Why these models and this budget do not allow the attack, or None."""
        return attack.unplayable(missing=self.unshown()) or self._unaffordable(attack)

    def unshown(self) -> dict[Need, str]:
        """The needs that these models do not meet, each with the reason."""
        missing = {}
        if self.target.model.scores is None:
            missing[Need.SCORES] = "the target answers with labels only"
        if self.shadow is not None and self.shadow.model.scores is None:
            missing[Need.SHOWING_SHADOW] = "it answers with labels only"
        if self.references is not None:
            if any(side.model.scores is None for side in self.references.sides):
                missing[Need.SHOWING_REFERENCES] = "they answer with labels only"
            if self.target.knowledge.shadows is None:
                missing[Need.GRADIENTS] = "the reference models show none"
        return missing

    def _unaffordable(self, attack: Attack) -> str | None:
        """Why the budget does not suffice, or None.

        A sequential plan needs few queries once it has beliefs about members. An offline calibration learns these
        beliefs from the rest of the pool. If there is no rest, the budget must allow exact values.
        """
        offline = getattr(attack.calibration, "wants_pool", False)
        if not offline or self.references is None or self.references.pool_sides:
            return None
        if any(self._affordable(attack, question) for question in questions(attack, self.target, self.budget)):
            return None
        return (
            f"nobody but the samples asked about is in the references' pool: it needs more queries than "
            f"{attack.allowed(self.budget)} there"
        )

    def _affordable(self, attack: Attack, question: Question) -> bool:
        """Whether the budget allows exact values, without beliefs."""
        plan = self.asking.prepared(question, self.target).plan
        return not isinstance(plan, SequentialPlan) or plan.queries[1] <= attack.allowed(self.budget)

    def play(self, attack: Attack) -> Played:
        """Chooses a question and fits it on the attacker's own models, then asks the target.

        Raises:
            InvalidInput: The attack needs further models or a larger budget (see `lacks`).
        """
        if (why := self.lacks(attack)) is not None:
            raise InvalidInput(f"attack {attack.name!r} cannot be played: {why}")
        lessons = {} if self.learned is None else self.learned
        if attack.name not in lessons:
            lessons[attack.name] = self._learned(attack)
        learned = lessons[attack.name]
        answer = self.asking.answer(
            learned.question,
            self.target,
            f"{attack.name} on the target",
            account=self._account(attack.allowed(self.budget), Purpose(attack.name, limited=True)),
            beliefs=learned.beliefs,
        )
        crafted = self.asking.prepared(learned.question, self.target) if attack.crafted else None
        threshold, overhead = learned.threshold, answer.overhead
        if isinstance(attack.calibration, RandomThreshold):
            threshold, cost = self._random_threshold(attack.calibration, learned.question)
            overhead = {**overhead, **cost}
        return Played(
            signal=str(learned.question.signal),
            calibration=str(learned.calibration),
            scores=learned.fitted.score(answer.measured.values, self.target.samples.labels.cpu()),
            measurement=answer.measured,
            overhead=overhead,
            threshold=threshold,
            seconds=answer.seconds,
            shadow_used=learned.shadow_used,
            references=self._references_used(attack, learned),
            reference_rows=learned.rows + (crafted.rows if crafted else 0),
            reference_seconds=learned.seconds + (crafted.seconds if crafted else 0.0),
        )

    def _references_used(self, attack: Attack, learned: Learned) -> int:
        """Reference models that the attack crafted its queries on, or was fitted on."""
        if self.references is not None and Need.GRADIENTS in attack.uses:
            return len(self.references.sides)
        return learned.references

    def _random_threshold(self, calibration: RandomThreshold, question: Question) -> tuple[float, dict[str, int]]:
        """The threshold from random inputs that the target labels, and the overhead of its queries."""
        domain, device = self.target.samples.domain, self.target.samples.device
        inputs = domain.random(calibration.inputs, randomness.generator(self.asking.seed, RANDOM_INPUTS)).to(device)
        ids = torch.arange(len(inputs), device=device)
        account = Account(on_spent=self.asking.watch.advance)
        labels = ChargedLabels(self.target.model.labels, account, overhead=RANDOM_INPUTS).ask(inputs, ids)
        samples = Samples(ids=ids, inputs=inputs, labels=labels, domain=domain)
        side = replace(self.target, samples=samples, inside=torch.zeros(len(inputs), dtype=torch.bool))
        answer = self.asking.answer(question, side, "random inputs on the target", account=account, aside=RANDOM_INPUTS)
        queries = len(inputs) + int(answer.measured.queries.sum())
        return calibration.threshold_of(answer.measured.values), {RANDOM_INPUTS: queries}

    def _account(self, per_sample: int | None = None, purpose: Purpose | None = None) -> Account:
        return Account(per_sample=per_sample, on_spent=self.asking.watch.advance, purpose=purpose)

    def _learned(self, attack: Attack) -> Learned:
        candidates = questions(attack, self.target, self.budget)
        shadow, references = self.shadow, self.references
        lesson = lesson_of(
            attack, candidates=len(candidates), shadow=shadow is not None, references=references is not None
        )
        if lesson == Lesson.REFERENCES:
            return self._on_references(attack, candidates)
        if lesson == Lesson.POOLED and references is not None:
            sides = references.sides[:POOLED]
            return replace(self._on_sides(attack, candidates, sides), references=len(sides))
        if lesson == Lesson.SHADOW and shadow is not None:
            return replace(self._on_sides(attack, candidates, (shadow,)), shadow_used=True)
        # No model can choose, or there is nothing to choose. Candidates run from weak to strong: take the middle.
        fitted = attack.calibration.fit(None, seed=self.asking.seed)
        return Learned(candidates[len(candidates) // 2], attack.calibration, fitted, fitted.threshold)

    def _on_sides(self, attack: Attack, candidates: Sequence[Question], sides: Sequence[Side]) -> Learned:
        """The candidate that best separates the sides' members from non-members, fitted on all their samples."""
        if len(candidates) == 1:
            return self._fitted(attack, candidates[0], sides)
        screened = len(sides[0].samples) > SCREENED
        first = _cut(sides, slice(0, SCREENED)) if screened else sides
        self.asking.measured_ahead(candidates, first, _title(attack, sides))
        fits = [self._fitted(attack, question, first) for question in candidates]
        best = max(fits, key=lambda fit: fit.auc)
        if screened:
            # All samples again if the signal needs them together, or if its queries are crafted for all already.
            together = attack.crafted or is_whole(best.question.signal)
            groups = [sides] if together else [first, _cut(sides, slice(SCREENED, None))]
            best = self._fitted(attack, best.question, *groups, counted=len(groups) - 1)
            fits.append(best)
        return _with_cost(best, fits)

    def _fitted(self, attack: Attack, question: Question, *groups: Sequence[Side], counted: int = 0) -> Learned:
        """The question fitted on the groups' models; see `_measured`."""
        references, (rows, seconds) = self._measured(attack, question, groups, counted=counted)
        started = time.perf_counter()
        fitted = attack.calibration.fit(references, seed=self.asking.seed)
        seconds += time.perf_counter() - started
        scores, threshold = fitted.reference_scores, fitted.threshold
        assert scores is not None
        if threshold is None:
            threshold = _threshold(scores, references.inside)
        auc = _mean_auc(scores, references.inside)
        return Learned(question, attack.calibration, fitted, threshold, rows=rows, seconds=seconds, auc=auc)

    def _on_references(self, attack: Attack, candidates: Sequence[Question]) -> Learned:
        """The candidate that best separates the references' members from non-members, fitted on all references."""
        if self.references is None:
            raise InvalidInput(f"attack {attack.name!r} needs {Need.REFERENCES}, there are none")
        fits = [self._fitted_on_references(attack, question, self.references) for question in candidates]
        possible = [fit for fit in fits if fit is not None]  # `lacks` made sure that there is a fit.
        return _with_cost(max(possible, key=lambda fit: fit.auc), possible)

    def _fitted_on_references(self, attack: Attack, question: Question, models: ReferenceSides) -> Learned | None:
        """The question fitted on all references. For its AUC, a fit on the others scores each reference.

        None if the calibration gives no beliefs and the budget does not allow exact values.
        """
        plan = self.asking.prepared(question, self.target).plan
        affordable = self._affordable(attack, question)
        # Only exact values can be standardised.
        standardized = affordable and not models.alike and not getattr(attack.calibration, "takes_units", False)
        calibration = Standardized(inner=attack.calibration) if standardized else attack.calibration
        if isinstance(attack, ScoreAttack) and attack.scaled:
            calibration = Scaled(inner=calibration)
        learns_from_pool = models.pool_sides and wants_pool(attack.calibration, len(models.sides[0].samples))
        groups = (models.sides, models.pool_sides) if learns_from_pool else (models.sides,)
        references, (rows, seconds) = self._measured(attack, exact(question), groups, models)
        started = time.perf_counter()
        fitted = calibration.fit(references, seed=self.asking.seed)
        beliefs: Beliefs | None = getattr(fitted, "beliefs", None)
        if beliefs is None and not affordable:
            return None
        if beliefs is None or not isinstance(plan, SequentialPlan):
            beliefs, scores = None, fitted.reference_scores
        else:
            # Settings are chosen once, on all references: to choose again for each would take hours and change little.
            settled = getattr(fitted, "settled", calibration)
            if isinstance(fitted, Teachable):
                pool_sides = [] if references.scored is None else [models.pool_sides[0]]
                plans = [plan, *(self.asking.prepared(question, side).plan for side in pool_sides)]
                fitted = fitted.taught(_replayed(settled, references, plans, seed=self.asking.seed))  # type: ignore[arg-type]
                scores = fitted.reference_scores
            else:
                scores = _replayed_scores(settled, references, plan, seed=self.asking.seed)
        seconds += time.perf_counter() - started
        inside = references.inside[:, : references.scored]
        words = getattr(fitted, "chosen", calibration)
        learned = Learned(question, words, fitted, None, beliefs, rows, seconds, references=len(models.sides))
        if scores is None:
            return learned
        return replace(learned, threshold=_threshold(scores, inside), auc=_mean_auc(scores, inside))

    def _measured(
        self,
        attack: Attack,
        question: Question,
        groups: Sequence[Sequence[Side]],
        models: ReferenceSides | None = None,
        *,
        counted: int = 0,
    ) -> tuple[References, tuple[int, float]]:
        """The answers of several models to the question, and the rows and seconds spent on them.

        Each group holds the same models, asked about other samples. Rows and seconds leave out the first `counted`
        groups, whose cost was counted before.
        """
        rows, seconds = 0, 0.0

        def values(question: Question, number: int) -> Tensor:
            nonlocal rows, seconds
            sides = groups[number]
            answers = self.asking.answers(question, sides, _title(attack, sides), account=self._account)
            if number >= counted:
                rows += sum(int(answer.measured.queries.sum()) + sum(answer.overhead.values()) for answer in answers)
                seconds += sum(answer.seconds for answer in answers)
            return torch.stack([answer.measured.values for answer in answers])

        shown = all(side.model.scores is not None for side in groups[0])
        wants_logits = models is not None and shown and getattr(attack.calibration, "wants_logits", False)
        numbers = range(len(groups))
        references = References(
            values=torch.cat([values(question, number) for number in numbers], 1),
            inside=torch.cat([torch.stack([side.inside for side in group]) for group in groups], 1),
            labels=torch.cat([group[0].samples.labels.cpu() for group in groups]),
            partner=None if models is None else models.partner,
            censored=getattr(question.signal, "censored", False),
            logits=torch.cat([values(LOGITS, number)[..., 0] for number in numbers], 1) if wants_logits else None,
            scored=len(groups[0][0].samples) if models is not None and len(groups) > 1 else None,
        )
        return references, (rows, seconds)


def exact(question: Question) -> Question:
    """The question for the attacker's own models: the signal's exact form, if it would ask the target less."""
    signal = getattr(question.signal, "exact", None)
    if signal is None:
        return question
    return ScoreQuestion(signal) if signal.access == Access.SCORES else LabelQuestion(signal)


def _with_cost(learned: Learned, fits: Sequence[Learned]) -> Learned:
    """The same with the cost of all fits, since the choice took them all."""
    return replace(learned, rows=sum(fit.rows for fit in fits), seconds=sum(fit.seconds for fit in fits))


def _title(attack: Attack, sides: Sequence[Side]) -> str:
    """Words for the progress bar."""
    return f"{attack.name} on {'reference model' if len(sides) > 1 else 'the shadow model'}"


def _cut(sides: Sequence[Side], rows: slice) -> list[Side]:
    """The sides with some of their samples. Sides that shared samples or knowledge still share them."""
    samples = {side.samples: side.samples.take(rows) for side in sides}
    knowledge = {side.knowledge: cut_knowledge(side.knowledge, rows) for side in sides}
    return [
        replace(side, samples=samples[side.samples], inside=side.inside[rows], knowledge=knowledge[side.knowledge])
        for side in sides
    ]


def _replayed_scores(
    calibration: Calibration, references: References, plan: SequentialPlan, *, seed: int
) -> Tensor | None:
    """The score each reference would get if it were asked like the target, by beliefs fitted on the others.

    None if a reference leaves too few others.
    """
    scores = []
    labels = references.labels[: references.scored]
    for model, exact_values in enumerate(references.values):
        rest = references.without(model)
        if rest is None:
            return None
        fitted = calibration.fit(rest, seed=seed)
        values = plan.replay(fitted.beliefs, exact_values[: references.scored])  # type: ignore[attr-defined]
        scores.append(fitted.score(values, labels))
    return torch.stack(scores)


def _replayed(
    calibration: Calibration, references: References, plans: Sequence[SequentialPlan], *, seed: int
) -> Tensor:
    """The values (K, n, d) that references would give if they were asked like the target; a plan for each group."""
    slices = [slice(0, references.scored), slice(references.scored, None)][: len(plans)]
    replayed = []
    for model, values in enumerate(references.values):
        rest = references.without(model)
        assert rest is not None, "a calibration that can be taught makes sure that others are left"
        beliefs: NormalBeliefs = calibration.fit(replace(rest, scored=None), seed=seed).beliefs  # type: ignore[attr-defined]
        groups = [plan.replay(beliefs.of(rows), values[rows]) for plan, rows in zip(plans, slices, strict=True)]
        replayed.append(torch.cat(groups))
    return torch.stack(replayed)


def _mean_auc(scores: Tensor, inside: Tensor) -> float:
    """Mean AUC over the models that have both members and non-members; 0.5 if no model has both."""
    aucs = [
        roc.auc(model_scores.numpy(), members.numpy())
        for model_scores, members in zip(scores, inside, strict=True)
        if bool(members.any()) and not bool(members.all())
    ]
    return float(np.mean(aucs)) if aucs else 0.5


def _threshold(scores: Tensor, inside: Tensor) -> float | None:
    """The best threshold for all models together; None without members or without non-members."""
    members = inside.flatten().numpy()
    if members.all() or not members.any():
        return None
    return roc.best_threshold(scores.flatten().numpy(), members)
