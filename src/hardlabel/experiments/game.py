"""The membership game: an attack learns on the attacker's own shadow model, then plays on the target.

Signals and calibrations see the membership of the shadow's samples only; the target's is for the metrics.
"""

import io
import time
from dataclasses import dataclass, field
from importlib import metadata

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardlabel import randomness
from hardlabel.attacks import Attack, LabelAttack
from hardlabel.calibrations.base import Fitted, References
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples, concatenate
from hardlabel.experiments.case import Oracles
from hardlabel.experiments.progress import Watch
from hardlabel.metrics import roc
from hardlabel.models.kept import content_hash
from hardlabel.oracles.budget import Account, ChargedLabels, ChargedScores
from hardlabel.signals.base import Knowledge, LabelSignal, Measurement, ScoreSignal
from hardlabel.signals.gap import Gap
from hardlabel.store import JSON, Store

FORMAT = 1  # Raised when the same signal comes to ask or find something else: old measurements are not found then.


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """A model and the samples asked about on it, members and non-members mixed.

    Attributes:
        model: The model.
        samples: Who is asked about, on the device where questions are made.
        inside: Who of them was in the model's training data, bool (n,), on the CPU.
    """

    model: Oracles
    samples: Samples
    inside: Tensor

    @classmethod
    def mixed(cls, model: Oracles, members: Samples, nonmembers: Samples, *, seed: int) -> "Side":
        """Mixes members and non-members in an order that says nothing."""
        everyone = concatenate(members, nonmembers)
        order = torch.randperm(len(everyone), generator=randomness.generator(seed, "order of samples"))
        inside = torch.arange(len(everyone)) < len(members)
        return cls(model=model, samples=everyone.take(order.to(everyone.device)), inside=inside[order])


@dataclass(frozen=True, kw_only=True, eq=False)
class Played:
    """What one attack did, on the samples of the target's side in their order.

    Attributes:
        signal: The signal asked of the target, in words.
        scores: (n,) float64; higher means likelier a member.
        measurement: Values, queries and completeness on the target.
        threshold: From where on the attacker says "member"; None where no shadow model could tell.
        seconds: Spent asking the target, when it was asked.
        shadow_used: Whether the shadow model had a part in it.
        reference_rows: Rows sent through the attacker's own model.
        reference_seconds: Spent on that, when it was done, and on fitting.
    """

    signal: str
    scores: Tensor
    measurement: Measurement
    threshold: float | None
    seconds: float
    shadow_used: bool
    reference_rows: int
    reference_seconds: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Game:
    """A target, perhaps a shadow model, and what else the attacker owns.

    Attributes:
        target: Whom the attack is about.
        shadow: The attacker's own model, whose membership it knows; None where it has none.
        knowledge: What signals may use.
        budget: Most queries per sample and attack; None for each attack's usual number.
        seed: Fixes every draw.
        watch: Is told of progress.
        store: Keeps finished measurements of models with an identity; None keeps nothing.
    """

    target: Side
    shadow: Side | None
    knowledge: Knowledge
    budget: int | None
    seed: int
    watch: Watch
    store: Store | None = None
    _done: dict[tuple[Side, str], tuple[Measurement, float]] = field(default_factory=dict)

    def right(self) -> Tensor:
        """Whom the target classifies rightly, bool (n,): what the gap attack asks, asked once for both."""
        account = Account(on_spent=self.watch.advance)
        return self._measured(_LabelQuestion(Gap()), self.target, account, "accuracy of the target")[0].values[:, 0] > 0

    def play(self, attack: Attack) -> Played:
        """Chooses and fits on the shadow model, then asks the target.

        Raises:
            InvalidInput: The attack's calibration requires a shadow model and there is none.
        """
        prepared = self._prepared(attack)
        measured, seconds = self._measured(
            prepared.question,
            self.target,
            Account(per_sample=attack.allowed(self.budget), on_spent=self.watch.advance),
            f"{attack.name} on the target",
        )
        return Played(
            signal=str(prepared.question.signal),
            scores=prepared.fitted.score(measured.values, self.target.samples.labels.cpu()),
            measurement=measured,
            threshold=self._threshold(prepared.fitted),
            seconds=seconds,
            shadow_used=prepared.fitted.reference_scores is not None,
            reference_rows=prepared.rows,
            reference_seconds=prepared.seconds,
        )

    def _prepared(self, attack: Attack) -> "_Prepared":
        """The candidate that tells the shadow's members best, fitted there."""
        questions = self._questions(attack)
        if not attack.calibration.requires_references:
            alone = attack.calibration.fit(None, seed=self.seed)
            if self.shadow is None or (alone.threshold is not None and len(questions) == 1):
                # Nobody can choose, or there is nothing to choose; candidates run from weak to strong.
                return _Prepared(questions[len(questions) // 2], alone, 0, 0.0)
        if self.shadow is None:
            raise InvalidInput(f"attack {attack.name!r} needs a shadow model, there is none")
        fits: list[tuple[float, _Question, Fitted]] = []
        rows, seconds = 0, 0.0
        for question in questions:
            account = Account(on_spent=self.watch.advance)
            measured, asking = self._measured(question, self.shadow, account, f"{attack.name} on the shadow model")
            references = References(
                values=measured.values[None], inside=self.shadow.inside[None], labels=self.shadow.samples.labels.cpu()
            )
            started = time.perf_counter()
            fitted = attack.calibration.fit(references, seed=self.seed)
            rows += int(measured.queries.sum())
            seconds += asking + time.perf_counter() - started
            fits.append((roc.auc(*self._reference_scores(fitted)), question, fitted))
        _, question, fitted = max(fits, key=lambda fit: fit[0])
        return _Prepared(question, fitted, rows, seconds)

    def _questions(self, attack: Attack) -> "tuple[_Question, ...]":
        if isinstance(attack, LabelAttack):
            signals = attack.signals(self.target.samples.domain, attack.allowed(self.budget))
            return tuple(_LabelQuestion(signal) for signal in signals)
        return (_ScoreQuestion(attack.signal),)

    def _threshold(self, fitted: Fitted) -> float | None:
        if fitted.threshold is not None or fitted.reference_scores is None:
            return fitted.threshold
        return roc.best_threshold(*self._reference_scores(fitted))

    def _reference_scores(self, fitted: Fitted) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        assert self.shadow is not None
        assert fitted.reference_scores is not None
        return fitted.reference_scores[0].numpy(), self.shadow.inside.numpy()

    def _measured(self, question: "_Question", side: Side, account: Account, title: str) -> tuple[Measurement, float]:
        """Answers from one side, on the CPU, and the seconds they took; what is kept is not asked again."""
        key = (side, repr(question.signal))
        if key not in self._done:
            spec = self._spec(question, side)
            kept = None if spec is None or self.store is None else self.store.load(spec)
            self._done[key] = _read(kept) if kept is not None else self._asked(question, side, account, title)
            if kept is None and spec is not None and self.store is not None:
                self.store.save(spec, _written(*self._done[key]))
        return self._done[key]

    def _asked(self, question: "_Question", side: Side, account: Account, title: str) -> tuple[Measurement, float]:
        started = time.perf_counter()
        found = question.ask(side, self, account, title)
        measured = Measurement(*(part.cpu() for part in found))
        assert torch.equal(measured.queries, account.spent(side.samples.ids)), "a plan must report what it asked"
        return measured, time.perf_counter() - started

    def _spec(self, question: "_Question", side: Side) -> dict[str, JSON] | None:
        """Everything a measurement depends on, or None where the model cannot be told from others."""
        identity = side.model.identity
        if self.store is None or identity is None:
            return None
        population = self.knowledge.population
        return {
            "kind": "measurement",
            "format": FORMAT,
            "versions": [metadata.version("hardlabel"), torch.__version__],
            "model": identity,
            "signal": repr(question.signal),
            "seed": self.seed,
            "domain": repr(side.samples.domain),
            "samples": content_hash(side.samples),
            "population": None if population is None else content_hash(population),
        }


@dataclass(frozen=True, eq=False)
class _Prepared:
    """The question chosen for the target, its fitted calibration, and what the choice cost on the shadow model."""

    question: "_Question"
    fitted: Fitted
    rows: int
    seconds: float


@dataclass(frozen=True)
class _LabelQuestion:
    """A label-only signal: all it is handed is labels."""

    signal: LabelSignal

    def ask(self, side: Side, game: Game, account: Account, title: str) -> Measurement:
        plan = self.signal.prepare(side.samples, game.knowledge, game.seed)
        game.watch.stage(title, plan.queries[1] * len(side.samples), "queries")
        return plan.measure(ChargedLabels(side.model.labels, account))


@dataclass(frozen=True)
class _ScoreQuestion:
    """A baseline's signal."""

    signal: ScoreSignal

    def ask(self, side: Side, game: Game, account: Account, title: str) -> Measurement:
        if side.model.scores is None:
            raise InvalidInput("a score attack needs an oracle with ask_scores, this one answers with labels only")
        plan = self.signal.prepare(side.samples, game.knowledge, game.seed)
        game.watch.stage(title, plan.queries[1] * len(side.samples), "queries")
        return plan.measure(ChargedScores(side.model.scores, account))


_Question = _LabelQuestion | _ScoreQuestion


def _written(measured: Measurement, seconds: float) -> bytes:
    file = io.BytesIO()
    np.savez(file, seconds=seconds, **{name: part.numpy() for name, part in measured._asdict().items()})
    return file.getvalue()


def _read(kept: bytes) -> tuple[Measurement, float]:
    with np.load(io.BytesIO(kept), allow_pickle=False) as parts:
        measured = Measurement(*(torch.from_numpy(parts[name]) for name in Measurement._fields))
        return measured, float(parts["seconds"])
