"""Asks models what a signal wants to know, counts it, and keeps every finished measurement.

A measurement of one model on one chunk of samples is a piece. Those of the attacker's own networks are independent of
each other and go to an executor; the target is asked from here, where its account is.
"""

import hashlib
import io
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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
from hardlabel.executors import Executor, Local, sendable
from hardlabel.experiments import chunks
from hardlabel.experiments.case import Oracles
from hardlabel.experiments.chunks import CHUNK, Parts, SequentialParts
from hardlabel.experiments.progress import Watch
from hardlabel.models.kept import content_hash, weights_hash
from hardlabel.oracles.budget import Account, ChargedLabels, ChargedScores
from hardlabel.oracles.pytorch import TorchScores
from hardlabel.signals.base import (
    Beliefs,
    Knowledge,
    LabelPlan,
    LabelSignal,
    Measurement,
    ScorePlan,
    ScoreSignal,
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
        plan: The plan, made of one for each chunk of the samples.
        rows: Rows that went through the attacker's models.
        seconds: Spent on it.
    """

    plan: Parts
    rows: int
    seconds: float


@dataclass(frozen=True)
class LabelQuestion:
    """A label-only signal: all its plans are handed is labels."""

    signal: LabelSignal

    def ask(self, plan: LabelPlan, model: Oracles, account: Account, aside: str | None = None) -> Measurement:
        return plan.measure(ChargedLabels(model.labels, account, overhead=aside))


@dataclass(frozen=True)
class ScoreQuestion:
    """A baseline's signal."""

    signal: ScoreSignal

    def ask(self, plan: ScorePlan, model: Oracles, account: Account, aside: str | None = None) -> Measurement:
        assert aside is None, "no attack that sees scores asks about anything but its samples"
        if model.scores is None:
            raise InvalidInput("a score attack needs an oracle with ask_scores, this one answers with labels only")
        return plan.measure(ChargedScores(model.scores, account))


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
        executor: Measures the attacker's own networks.
        chunk: Samples of a piece.
    """

    seed: int
    watch: Watch
    store: Store | None = None
    executor: Executor = field(default_factory=Local)
    chunk: int = CHUNK
    _plans: dict[tuple[str, Samples, Knowledge], Prepared] = field(default_factory=dict)
    _answers: dict[tuple[Side, str, str], Answer] = field(default_factory=dict)
    _chunks: dict[Side, tuple[Side, ...]] = field(default_factory=dict)
    _cut: dict[tuple[Samples, Knowledge], tuple[tuple[Samples, Knowledge], ...]] = field(default_factory=dict)

    def prepared(self, question: Question, side: Side) -> Prepared:
        """The question's plan for the side's samples; one plan serves all models asked about them."""
        key = (repr(question.signal), side.samples, side.knowledge)
        if key not in self._plans:
            started = time.perf_counter()
            with _rows_counted(side.knowledge) as rows:
                plan = chunks.prepared(question.signal, side.samples, side.knowledge, self.seed, size=self.chunk)
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
        account = account or Account()
        parts = self._cuts(question, side)
        told = [None if beliefs is None else chunks.cut_beliefs(beliefs, part) for part in parts]
        sides = self._parts(side, parts)
        missing = [
            number
            for number, (part, expected) in enumerate(zip(sides, told, strict=True))
            if self._kept(question, part, expected) is None
        ]
        if missing:
            plan = self.prepared(question, side).plan
            if beliefs is not None and isinstance(plan, SequentialParts):
                plan = plan.believing(beliefs)
            rows = sum(len(sides[number].samples) for number in missing)
            self.watch.stage(title, plan.queries[1] * rows, "queries")
            for number in missing:
                model, ids = side.model, sides[number].samples.ids
                answer = _asked(question, plan.plans[number], model, ids, account, aside)
                self._keep(question, sides[number], told[number], answer)
        return _joined([self._kept(question, part, each) for part, each in zip(sides, told, strict=True)])

    def answers(
        self, question: Question, sides: Sequence[Side], title: str, *, account: Callable[[], Account]
    ) -> list[Answer]:
        """What the question finds on several of the attacker's own models, asked about the same samples.

        Networks are measured by the executor; all else is asked from here, each model on an account of its own.
        """
        self.measured_ahead([question], sides, title)
        named = [f"{title} {number + 1} of {len(sides)}" if len(sides) > 1 else title for number in range(len(sides))]
        return [self.answer(question, side, name, account=account()) for side, name in zip(sides, named, strict=True)]

    def measured_ahead(self, asked: Sequence[Question], sides: Sequence[Side], title: str) -> None:
        """Has the executor measure what is missing of networks, as far as it can be sent; `answers` finds it then.

        Several questions at once keep all workers busy where a single one has fewer pieces than there are workers.
        """
        able = [side for side in sides if side.model.network is not None and side.model.identity is not None]
        if not able or any(one.samples is not able[0].samples for one in able):
            return
        assert len({side.model.mixed for side in able}) == 1, "one trainer made them all"
        samples, first = able[0].samples, able[0].model.torch_model
        device = self.executor.device(samples.device)
        if device.type != "cpu" and not self.executor.elsewhere:
            return  # Processes that share one GPU gain nothing.
        if first is None or not len(samples):
            return
        networks = tuple(side.model.network for side in able if side.model.network is not None)
        parts = chunks.cuts(len(samples), self.chunk)
        pieces = []
        plans: dict[int, Parts] = {}
        most = 0
        for which, question in enumerate(asked):
            missing = [] if chunks.is_whole(question.signal) else self._missing(question, able, parts, device)
            if not missing:
                continue
            plan = self.prepared(question, able[0]).plan
            if not sendable((question, plan.plans[0], networks[0])):
                continue
            plans[which] = plan
            pieces += [(which, model, number, part) for model, number, part in missing]
            most += plan.queries[1] * sum(len(part.samples) for _, _, part in missing)
        if not pieces:
            return
        common = Measuring(
            networks=networks,
            questions={which: (asked[which], plan.plans) for which, plan in plans.items()},
            ids=tuple(samples.ids[part] for part in parts),
            device=device,
            batch=first.probe(samples.inputs[:1]),
            mixed=able[0].model.mixed,
        )
        self.watch.stage(f"{title}s" if len(sides) > 1 else title, most, "queries")
        for place, payload in self.executor.run(measure, common, [piece[:3] for piece in pieces]):
            which, _, _, part = pieces[place]
            answer = _read(payload)
            self._keep(asked[which], part, None, answer, device, payload)
            self.watch.advance(int(answer.measured.queries.sum()))

    def _missing(
        self, question: Question, sides: Sequence[Side], parts: tuple[slice, ...], device: torch.device
    ) -> list[tuple[int, int, Side]]:
        """Of which sides what is not known: the side's number, the chunk's, and the chunk."""
        return [
            (model, number, part)
            for model, side in enumerate(sides)
            for number, part in enumerate(self._parts(side, parts))
            if self._kept(question, part, None, device) is None
        ]

    def _cuts(self, question: Question, side: Side) -> tuple[slice, ...]:
        size = max(1, len(side.samples)) if chunks.is_whole(question.signal) else self.chunk
        return chunks.cuts(len(side.samples), size)

    def _parts(self, side: Side, parts: tuple[slice, ...]) -> tuple[Side, ...]:
        """The chunks of a side; of one chunk, the side itself."""
        if len(parts) == 1:
            return (side,)
        key = (side.samples, side.knowledge)
        if key not in self._cut:
            self._cut[key] = tuple(
                (side.samples.take(part), chunks.cut_knowledge(side.knowledge, part)) for part in parts
            )
        if side not in self._chunks:
            self._chunks[side] = tuple(
                Side(model=side.model, samples=samples, inside=side.inside[part], knowledge=knowledge)
                for part, (samples, knowledge) in zip(parts, self._cut[key], strict=True)
            )
        return self._chunks[side]

    def _kept(
        self, question: Question, side: Side, beliefs: Beliefs | None, device: torch.device | None = None
    ) -> Answer | None:
        """What is known already of one chunk."""
        told = "" if beliefs is None else _digest(beliefs)
        key = (side, repr(question.signal), told)
        if key not in self._answers:
            spec = self._spec(question, side, told, device)
            payload = None if spec is None or self.store is None else self.store.load(spec)
            if payload is None:
                return None
            self._answers[key] = _read(payload)
        return self._answers[key]

    def _keep(
        self,
        question: Question,
        side: Side,
        beliefs: Beliefs | None,
        answer: Answer,
        device: torch.device | None = None,
        payload: bytes | None = None,
    ) -> None:
        told = "" if beliefs is None else _digest(beliefs)
        self._answers[side, repr(question.signal), told] = answer
        spec = self._spec(question, side, told, device)
        if spec is not None and self.store is not None:
            self.store.save(spec, _written(answer) if payload is None else payload)

    def _spec(
        self, question: Question, side: Side, beliefs: str, device: torch.device | None
    ) -> dict[str, JSON] | None:
        """Everything a measurement depends on, or None where the model cannot be told from others.

        `device` is where the model runs if that is not where its side's is.
        """
        identity = side.model.identity
        if self.store is None or identity is None or ADDRESS in repr(question.signal):
            return None
        if device is not None:
            identity = {**identity, "device": str(device)}
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
            "samples": content_of(side.samples),
            "population": None if population is None else content_of(population),
            "crafters": [weights_of(one) for one in (*side.knowledge.crafters, *side.knowledge.second)],
            "shadows": None if shadows is None else [weights_of(one) for one in shadows.models],
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Measuring:
    """What the measurements of several networks share; see `measure`.

    Attributes:
        networks: Who is asked.
        questions: How, and the plans for each chunk of the samples, by the question's number.
        ids: The samples' ids, for each chunk.
        device: Where the networks run.
        batch: Rows of a forward pass.
        mixed: Whether labels are found in mixed precision.
    """

    networks: tuple[nn.Module, ...]
    questions: dict[int, tuple[Question, tuple[LabelPlan | ScorePlan, ...]]]
    ids: tuple[Tensor, ...]
    device: torch.device
    batch: int
    mixed: bool


def measure(common: Measuring, item: tuple[int, int, int]) -> bytes:
    """A piece: what question item[0] finds of network item[1] on chunk item[2], as `Asking` keeps it."""
    which, number, part = item
    question, plans = common.questions[which]
    network = common.networks[number]
    scores = TorchScores(network, device=common.device, batch_size=common.batch)
    model = Oracles(labels=scores, scores=scores, torch_model=scores, network=network)
    model = model.rough() if common.mixed else model
    return _written(_asked(question, plans[part], model, common.ids[part], Account(), None))


def _asked(
    question: Question, plan: LabelPlan | ScorePlan, model: Oracles, ids: Tensor, account: Account, aside: str | None
) -> Answer:
    before, started = Counter(account.overhead), time.perf_counter()
    # A signal's own plan suits its question.
    measured = question.ask(plan, model, account, aside)  # type: ignore[arg-type]
    measured = Measurement(*(part.cpu() for part in measured))
    if aside is None:
        assert torch.equal(measured.queries, account.spent(ids)), "a plan must report what it asked"
    return Answer(measured, time.perf_counter() - started, dict(Counter(account.overhead) - before))


def _joined(answers: Sequence[Answer | None]) -> Answer:
    """The answers about consecutive chunks as one."""
    found = [answer for answer in answers if answer is not None]
    assert len(found) == len(answers), "every chunk has been asked about"
    if len(found) == 1:
        return found[0]
    overhead = sum((Counter(answer.overhead) for answer in found), Counter[str]())
    measured = chunks.joined(answer.measured for answer in found)
    return Answer(measured, sum(answer.seconds for answer in found), dict(overhead))


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


ADDRESS = " at 0x"  # What a thing without a description of its own is described by: nothing another run could know.
_SEEN: dict[int, tuple[object, str]] = {}  # Hashes of large things, which live as long as a run and never change.


def content_of(samples: Samples) -> str:
    """`content_hash`, computed once a run."""
    return _once(samples, lambda: content_hash(samples))


def weights_of(model: nn.Module) -> str:
    """`weights_hash`, computed once a run."""
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
