"""Asks models what a signal wants to know, counts it, and keeps every finished measurement."""

import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata

import numpy as np
import torch
from torch import Tensor, nn

from hardlabel import randomness
from hardlabel.attacks import Attack, LabelAttack
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples, concatenate
from hardlabel.experiments.case import Oracles
from hardlabel.experiments.progress import Watch
from hardlabel.models.kept import content_hash, weights_hash
from hardlabel.oracles.budget import Account, ChargedLabels, ChargedScores
from hardlabel.signals.base import (
    Beliefs,
    Knowledge,
    LabelPlan,
    LabelSignal,
    Measurement,
    ScorePlan,
    ScoreSignal,
    SequentialPlan,
)
from hardlabel.store import JSON, Store

FORMAT = 2  # Raised when the same signal comes to ask or find something else: old measurements are not found then.


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """A model and the samples asked about on it, members and non-members mixed.

    Attributes:
        model: The model.
        samples: Who is asked about, on the device where questions are made.
        inside: Who of them was in the model's training data, bool (n,), on the CPU.
        knowledge: What signals may use besides.
    """

    model: Oracles
    samples: Samples
    inside: Tensor
    knowledge: Knowledge = field(default_factory=Knowledge)

    @classmethod
    def mixed(
        cls, model: Oracles, members: Samples, nonmembers: Samples, *, seed: int, knowledge: Knowledge | None = None
    ) -> "Side":
        """Mixes members and non-members in an order that says nothing."""
        everyone = concatenate(members, nonmembers)
        order = torch.randperm(len(everyone), generator=randomness.generator(seed, "order of samples"))
        inside = torch.arange(len(everyone)) < len(members)
        return cls(
            model=model,
            samples=everyone.take(order.to(everyone.device)),
            inside=inside[order],
            knowledge=knowledge or Knowledge(),
        )


@dataclass(frozen=True, eq=False)
class Answer:
    """What a signal found on one side.

    Attributes:
        measured: Values, queries and completeness, on the CPU.
        seconds: Spent asking, when it was asked.
        overhead: Queries that belong to no sample, by purpose.
    """

    measured: Measurement
    seconds: float
    overhead: dict[str, int]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A plan for given samples, and what it took the attacker's own models to make it.

    Attributes:
        plan: The plan.
        rows: Rows that went through the attacker's models.
        seconds: Spent on it.
    """

    plan: LabelPlan | ScorePlan
    rows: int
    seconds: float


@dataclass(frozen=True)
class LabelQuestion:
    """A label-only signal: all its plans are handed is labels."""

    signal: LabelSignal

    def ask(self, plan: LabelPlan, side: Side, account: Account, aside: str | None = None) -> Measurement:
        return plan.measure(ChargedLabels(side.model.labels, account, overhead=aside))


@dataclass(frozen=True)
class ScoreQuestion:
    """A baseline's signal."""

    signal: ScoreSignal

    def ask(self, plan: ScorePlan, side: Side, account: Account, aside: str | None = None) -> Measurement:
        assert aside is None, "no attack that sees scores asks about anything but its samples"
        if side.model.scores is None:
            raise InvalidInput("a score attack needs an oracle with ask_scores, this one answers with labels only")
        return plan.measure(ChargedScores(side.model.scores, account))


Question = LabelQuestion | ScoreQuestion


def questions(attack: Attack, side: Side, budget: int | None) -> tuple[Question, ...]:
    """The attack's candidates on this side's domain within the budget."""
    if isinstance(attack, LabelAttack):
        return tuple(LabelQuestion(one) for one in attack.signals(side.samples.domain, attack.allowed(budget)))
    return (ScoreQuestion(attack.signal),)


@dataclass(frozen=True, kw_only=True, eq=False)
class Asking:
    """Prepares plans and measures them; what is finished is never done again.

    Attributes:
        seed: Fixes every draw.
        watch: Is told of progress.
        store: Keeps finished measurements of models with an identity; None keeps nothing.
    """

    seed: int
    watch: Watch
    store: Store | None = None
    _plans: dict[tuple[str, Samples, Knowledge], Prepared] = field(default_factory=dict)
    _answers: dict[tuple[Side, str, str], Answer] = field(default_factory=dict)

    def prepared(self, question: Question, side: Side) -> Prepared:
        """The question's plan for the side's samples; one plan serves all models asked about them."""
        key = (repr(question.signal), side.samples, side.knowledge)
        if key not in self._plans:
            started = time.perf_counter()
            with _rows_counted(side.knowledge) as rows:
                plan = question.signal.prepare(side.samples, side.knowledge, self.seed)
            self._plans[key] = Prepared(plan, rows(), time.perf_counter() - started)
        return self._plans[key]

    def answer(
        self,
        question: Question,
        side: Side,
        title: str,
        *,
        account: Account | None = None,
        beliefs: Beliefs | None = None,
        aside: str | None = None,
    ) -> Answer:
        """What the question finds on a side.

        Args:
            question: What is asked.
            side: Of whom, about whom.
            title: For the progress bar.
            account: Pays for it; None for the attacker's own models.
            beliefs: Make a sequential plan ask less; other plans do without.
            aside: The overhead that pays where the side's samples are nobody's; None where they are asked about.
        """
        told = "" if beliefs is None else _digest(beliefs)
        key = (side, repr(question.signal), told)
        if key in self._answers:
            return self._answers[key]
        spec = self._spec(question, side, told)
        kept = None if spec is None or self.store is None else self.store.load(spec)
        if kept is not None:
            self._answers[key] = _read(kept)
        else:
            self._answers[key] = self._asked(question, side, title, account or Account(), beliefs, aside)
            if spec is not None and self.store is not None:
                self.store.save(spec, _written(self._answers[key]))
        return self._answers[key]

    def _asked(
        self,
        question: Question,
        side: Side,
        title: str,
        account: Account,
        beliefs: Beliefs | None,
        aside: str | None,
    ) -> Answer:
        plan = self.prepared(question, side).plan
        if beliefs is not None and isinstance(plan, SequentialPlan):
            plan = plan.believing(beliefs)
        self.watch.stage(title, plan.queries[1] * len(side.samples), "queries")
        started = time.perf_counter()
        # A signal's own plan suits its question.
        found = question.ask(plan, side, account, aside)  # type: ignore[arg-type]
        measured = Measurement(*(part.cpu() for part in found))
        if aside is None:
            assert torch.equal(measured.queries, account.spent(side.samples.ids)), "a plan must report what it asked"
        return Answer(measured, time.perf_counter() - started, dict(account.overhead))

    def _spec(self, question: Question, side: Side, beliefs: str) -> dict[str, JSON] | None:
        """Everything a measurement depends on, or None where the model cannot be told from others."""
        identity = side.model.identity
        if self.store is None or identity is None:
            return None
        population, shadows = side.knowledge.population, side.knowledge.shadows
        return {
            "kind": "measurement",
            "format": FORMAT,
            "versions": [metadata.version("hardlabel"), torch.__version__],
            "model": identity,
            "signal": repr(question.signal),
            "beliefs": beliefs,
            "seed": self.seed,
            "domain": repr(side.samples.domain),
            "samples": _content(side.samples),
            "population": None if population is None else _content(population),
            "crafters": [_weights(one) for one in (*side.knowledge.crafters, *side.knowledge.second)],
            "shadows": None if shadows is None else [_weights(one) for one in shadows.models],
        }


@contextmanager
def _rows_counted(knowledge: Knowledge) -> Iterator[Callable[[], int]]:
    """Counts the rows that go through the attacker's networks meanwhile."""
    count = 0

    def tell(module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        nonlocal count
        count += len(inputs[0])

    models = (*knowledge.crafters, *knowledge.second, *(knowledge.shadows.models if knowledge.shadows else ()))
    hooks = [model.register_forward_hook(tell) for model in models]
    try:
        yield lambda: count
    finally:
        for hook in hooks:
            hook.remove()


_SEEN: dict[int, tuple[object, str]] = {}  # Hashes of large things, which live as long as a run and never change.


def _content(samples: Samples) -> str:
    return _once(samples, lambda: content_hash(samples))


def _weights(model: nn.Module) -> str:
    return _once(model, lambda: weights_hash(model))


def _once(thing: object, make: Callable[[], str]) -> str:
    known = _SEEN.get(id(thing))
    if known is None or known[0] is not thing:
        known = _SEEN[id(thing)] = (thing, make())
    return known[1]


def _digest(beliefs: Beliefs) -> str:
    told = hashlib.sha256()
    for part in (beliefs.mean_in, beliefs.deviation_in, beliefs.mean_out, beliefs.deviation_out):
        told.update(part.double().cpu().contiguous().numpy().tobytes())
    return told.hexdigest()


def _written(answer: Answer) -> bytes:
    file = io.BytesIO()
    arrays = {name: part.numpy() for name, part in answer.measured._asdict().items()}
    np.savez(file, seconds=answer.seconds, overhead=json.dumps(answer.overhead), **arrays)
    return file.getvalue()


def _read(kept: bytes) -> Answer:
    with np.load(io.BytesIO(kept), allow_pickle=False) as parts:
        measured = Measurement(*(torch.from_numpy(parts[name]) for name in Measurement._fields))
        return Answer(measured, float(parts["seconds"]), json.loads(str(parts["overhead"])))
