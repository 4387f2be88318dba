"""The membership game: an attack learns on the attacker's own shadow model, then plays on the target.

Signals and calibrations see the membership of the shadow's samples only; the target's is for the metrics.
"""

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardlabel import randomness
from hardlabel.attacks import Attack, LabelAttack
from hardlabel.calibrations.base import Fitted, References
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples, concatenate
from hardlabel.experiments.progress import Watch
from hardlabel.metrics import roc
from hardlabel.oracles.base import LabelOracle, ScoreOracle
from hardlabel.oracles.budget import Account, ChargedLabels, ChargedScores
from hardlabel.signals.base import Knowledge, LabelSignal, Measurement, ScoreSignal
from hardlabel.store import JSON, Store


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """A model and the samples asked about on it, members and non-members mixed.

    Attributes:
        labels: The model's labels.
        scores: Its confidence vectors, or None where nobody sees them.
        samples: Who is asked about, on the device of the model.
        inside: Who of them was in the model's training data, bool (n,), on the CPU.
        identity: What made model and samples, where it is known: finished measurements are kept under it.
    """

    labels: LabelOracle
    scores: ScoreOracle | None
    samples: Samples
    inside: Tensor
    identity: Mapping[str, JSON] | None = None

    @classmethod
    def mixed(
        cls,
        labels: LabelOracle,
        scores: ScoreOracle | None,
        members: Samples,
        nonmembers: Samples,
        *,
        seed: int,
        identity: Mapping[str, JSON] | None = None,
    ) -> "Side":
        """Mixes members and non-members in an order that says nothing."""
        everyone = concatenate(members, nonmembers)
        order = torch.randperm(len(everyone), generator=randomness.generator(seed, "order of samples"))
        inside = torch.arange(len(everyone)) < len(members)
        return cls(
            labels=labels,
            scores=scores,
            samples=everyone.take(order.to(everyone.device)),
            inside=inside[order],
            identity=identity,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Played:
    """What one attack did, on the samples of the target's side in their order.

    Attributes:
        signal: The signal asked of the target, in words.
        scores: (n,) float64; higher means likelier a member.
        measurement: Values, queries and completeness on the target.
        threshold: From where on the attacker says "member"; None where no shadow model could tell.
        seconds: Spent asking the target.
        reference_rows: Rows sent through the attacker's own model.
        reference_seconds: Spent on that, and on fitting.
    """

    signal: str
    scores: Tensor
    measurement: Measurement
    threshold: float | None
    seconds: float
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
        store: Keeps finished measurements of sides with an identity; None keeps nothing.
    """

    target: Side
    shadow: Side | None
    knowledge: Knowledge
    budget: int | None
    seed: int
    watch: Watch
    store: Store | None = None

    def play(self, attack: Attack) -> Played:
        """Chooses and fits on the shadow model, then asks the target.

        Raises:
            InvalidInput: The attack's calibration requires a shadow model and there is none.
        """
        started = time.perf_counter()
        question, fitted, rows = self._prepared(attack)
        prepared = time.perf_counter()
        measured, seconds = self._measured(
            question,
            self.target,
            Account(per_sample=attack.allowed(self.budget), on_spent=self.watch.advance),
            f"{attack.name} on the target",
        )
        return Played(
            signal=str(question.signal),
            scores=fitted.score(measured.values, self.target.samples.labels.cpu()),
            measurement=measured,
            threshold=self._threshold(fitted),
            seconds=seconds,
            reference_rows=rows,
            reference_seconds=prepared - started,
        )

    def _prepared(self, attack: Attack) -> tuple["_Question", Fitted, int]:
        """The candidate that tells the shadow's members best, fitted there, and the rows that took."""
        questions = self._questions(attack)
        if self.shadow is None:
            # Nobody can choose, so the middle one is taken; candidates run from weak to strong.
            return questions[len(questions) // 2], attack.calibration.fit(None, seed=self.seed), 0
        fits: list[tuple[float, _Question, Fitted]] = []
        rows = 0
        for question in questions:
            account = Account(on_spent=self.watch.advance)
            measured, _ = self._measured(question, self.shadow, account, f"{attack.name} on the shadow model")
            references = References(
                values=measured.values[None], inside=self.shadow.inside[None], labels=self.shadow.samples.labels.cpu()
            )
            fitted = attack.calibration.fit(references, seed=self.seed)
            rows += int(measured.queries.sum())
            fits.append((roc.auc(*self._reference_scores(fitted)), question, fitted))
        _, question, fitted = max(fits, key=lambda fit: fit[0])
        return question, fitted, rows

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
        """Answers from one side, on the CPU, and the seconds they took; what the store keeps is not asked again."""
        spec: dict[str, JSON] | None = None
        if self.store is not None and side.identity is not None:
            spec = {"kind": "measurement", "signal": repr(question.signal), "seed": self.seed, **side.identity}
            if (kept := self.store.load(spec)) is not None:
                return _read(kept)
        started = time.perf_counter()
        found = question.ask(side, self, account, title)
        measured = Measurement(*(part.cpu() for part in found))
        seconds = time.perf_counter() - started
        assert torch.equal(measured.queries, account.spent(side.samples.ids)), "a plan must report what it asked"
        if spec is not None and self.store is not None:
            self.store.save(spec, _written(measured, seconds))
        return measured, seconds


@dataclass(frozen=True)
class _LabelQuestion:
    """A label-only signal: all it is handed is labels."""

    signal: LabelSignal

    def ask(self, side: Side, game: Game, account: Account, title: str) -> Measurement:
        plan = self.signal.prepare(side.samples, game.knowledge, game.seed)
        game.watch.stage(title, plan.queries[1] * len(side.samples), "queries")
        return plan.measure(ChargedLabels(side.labels, account))


@dataclass(frozen=True)
class _ScoreQuestion:
    """A baseline's signal."""

    signal: ScoreSignal

    def ask(self, side: Side, game: Game, account: Account, title: str) -> Measurement:
        if side.scores is None:
            raise InvalidInput("a score attack needs an oracle with ask_scores, this one answers with labels only")
        plan = self.signal.prepare(side.samples, game.knowledge, game.seed)
        game.watch.stage(title, plan.queries[1] * len(side.samples), "queries")
        return plan.measure(ChargedScores(side.scores, account))


_Question = _LabelQuestion | _ScoreQuestion


def _written(measured: Measurement, seconds: float) -> bytes:
    file = io.BytesIO()
    np.savez(file, seconds=seconds, **{name: part.numpy() for name, part in measured._asdict().items()})
    return file.getvalue()


def _read(kept: bytes) -> tuple[Measurement, float]:
    with np.load(io.BytesIO(kept), allow_pickle=False) as parts:
        measured = Measurement(*(torch.from_numpy(parts[name]) for name in Measurement._fields))
        return measured, float(parts["seconds"])
