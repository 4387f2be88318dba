"""Asks models the questions of signals, counts the queries and keeps every finished measurement.

A piece is the measurement of one model on one chunk of samples. An executor measures the pieces of the attacker's own
networks, in any order. This process asks the target, because it holds the target's account.
"""

import hashlib
import io
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from hardlabel import randomness
from hardlabel.attacks import Attack, LabelAttack
from hardlabel.audits.game import chunks
from hardlabel.audits.game.chunks import Parts, SequentialParts
from hardlabel.audits.game.execution import Execution
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples, concatenate
from hardlabel.executors import Executor, Local, sendable
from hardlabel.models.model_store import content_hash, weights_hash
from hardlabel.oracles.budget import Account, ChargedLabels, ChargedScores
from hardlabel.runs.progress import Watch
from hardlabel.runs.settings import CHUNK
from hardlabel.signals.base import Beliefs, Knowledge, LabelPlan, LabelSignal, Measurement, ScorePlan, ScoreSignal
from hardlabel.store import JSON, Store
from hardlabel.targets.askable import AskableModel
from hardlabel.targets.torch import TorchScores
from hardlabel.turns import turn

FORMAT = 2  # Raised when the same signal asks or finds something else: old measurements are then ignored.
SINCE = "0.1.0"  # The first hardlabel with today's keys: later versions find its measurements and scores again.


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """A model and the samples asked about, members and non-members mixed.

    Attributes:
        model: The model.
        samples: The samples, on the device where questions are made.
        inside: Which samples were in the model's training data, bool (n,), on the CPU.
        knowledge: Other things that signals may use.
    """

    model: AskableModel
    samples: Samples
    inside: Tensor
    knowledge: Knowledge = field(default_factory=Knowledge)

    @classmethod
    def mixed(
        cls,
        model: AskableModel,
        members: Samples,
        nonmembers: Samples,
        *,
        seed: int,
        knowledge: Knowledge | None = None,
    ) -> "Side":
        """Mixes members and non-members in a random order, fixed by the seed."""
        samples = concatenate(members, nonmembers)
        order = torch.randperm(len(samples), generator=randomness.generator(seed, "order of samples"))
        inside = torch.arange(len(samples)) < len(members)
        return cls(
            model=model,
            samples=samples.take(order.to(samples.device)),
            inside=inside[order],
            knowledge=knowledge or Knowledge(),
        )


@dataclass(frozen=True, eq=False)
class Answer:
    """The answer to a question about one side.

    Attributes:
        measured: Values, queries and completeness, on the CPU.
        seconds: Seconds spent asking, measured when the question was asked.
        overhead: Queries charged to no sample, by purpose.
    """

    measured: Measurement
    seconds: float
    overhead: dict[str, int]


@dataclass(frozen=True, eq=False)
class PreparedPlan:
    """A plan for given samples, and the cost of making it.

    Attributes:
        plan: The plan: one part for each chunk of the samples.
        rows: Rows sent through the attacker's own models.
        seconds: Seconds spent making the plan.
    """

    plan: Parts
    rows: int
    seconds: float


@dataclass(frozen=True)
class LabelQuestion:
    """A question of a label-only signal: its plan sees nothing but labels."""

    signal: LabelSignal

    def ask(self, plan: LabelPlan, model: AskableModel, account: Account, aside: str | None = None) -> Measurement:
        return plan.measure(ChargedLabels(model.labels, account, overhead=aside))


@dataclass(frozen=True)
class ScoreQuestion:
    """A question of a baseline's signal: its plan sees scores."""

    signal: ScoreSignal

    def ask(self, plan: ScorePlan, model: AskableModel, account: Account, aside: str | None = None) -> Measurement:
        assert aside is None, "no attack that sees scores asks about anything but its samples"
        if model.scores is None:
            raise InvalidInput("a score attack needs an oracle with ask_scores, this one answers with labels only")
        return plan.measure(ChargedScores(model.scores, account))


Question = LabelQuestion | ScoreQuestion


def questions(attack: Attack, side: Side, budget: int | None) -> tuple[Question, ...]:
    """The attack's candidate questions for the side's domain, within the budget."""
    if isinstance(attack, LabelAttack):
        return tuple(LabelQuestion(signal) for signal in attack.signals(side.samples.domain, attack.allowed(budget)))
    return (ScoreQuestion(attack.signal),)


@dataclass(frozen=True, kw_only=True, eq=False)
class Asking:
    """Prepares plans and measures them. No finished work is repeated.

    Attributes:
        seed: Fixes every draw.
        watch: Receives the progress.
        store: Keeps finished measurements of models with an identity; None keeps nothing.
        executor: Measures the attacker's own networks.
        chunk: Most samples per piece.
    """

    seed: int
    watch: Watch
    store: Store | None = None
    executor: Executor = field(default_factory=Local)
    chunk: int = CHUNK
    _plans: dict[tuple[str, Samples, Knowledge], PreparedPlan] = field(default_factory=dict)
    _answers: dict[tuple[Side, str, str], Answer] = field(default_factory=dict)
    _chunks: dict[Side, tuple[Side, ...]] = field(default_factory=dict)
    _cut: dict[tuple[Samples, Knowledge], tuple[tuple[Samples, Knowledge], ...]] = field(default_factory=dict)

    @classmethod
    def by(cls, execution: Execution, *, seed: int, store: Store | None) -> "Asking":
        """Takes the executor, the chunk size and the watch from `execution`."""
        return cls(seed=seed, watch=execution.watch, store=store, executor=execution.executor, chunk=execution.chunk)

    def prepared(self, question: Question, side: Side) -> PreparedPlan:
        """The question's plan for the side's samples; all models asked about these samples share it."""
        key = (repr(question.signal), side.samples, side.knowledge)
        if key not in self._plans:
            started = time.perf_counter()
            with _rows_counted(side.knowledge) as rows:
                plan = chunks.prepared(question.signal, side.samples, side.knowledge, self.seed, size=self.chunk)
            self._plans[key] = PreparedPlan(plan, rows(), time.perf_counter() - started)
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
        """The answer to the question about a side.

        Args:
            question: The question.
            side: The model asked and the samples asked about.
            title: For the progress bar.
            account: Pays for the queries; None for the attacker's own models.
            beliefs: Let a sequential plan ask less; other plans ignore them.
            aside: The overhead charged, if the samples are not under audit; None charges each sample.
        """
        account = account or Account()
        slices = chunks.cuts_of(question.signal, len(side.samples), self.chunk)
        sides = self._chunk_sides(side, slices)
        expected = [None if beliefs is None else chunks.cut_beliefs(beliefs, rows) for rows in slices]
        with self._turn(question, sides, expected[0] if expected else None):
            answers = [self._known(question, chunk, about) for chunk, about in zip(sides, expected, strict=True)]
            missing = [number for number, answer in enumerate(answers) if answer is None]
            if missing:
                plan = self.prepared(question, side).plan
                if beliefs is not None and isinstance(plan, SequentialParts):
                    plan = plan.believing(beliefs)
                most = plan.queries[1] * sum(len(sides[number].samples) for number in missing)
                self.watch.stage(title, most, "queries")
                for number in missing:
                    answer = _ask(question, plan.plans[number], side.model, sides[number].samples.ids, account, aside)
                    self._keep(question, sides[number], expected[number], answer)
                    answers[number] = answer
        return _joined([answer for answer in answers if answer is not None])

    def carry(self, question: Question, old: Side, new: Side) -> None:
        """Takes the answers about `old` for `new`: the same samples of the same model, but other knowledge.

        Only for signals that use no knowledge.
        """
        slices = chunks.cuts_of(question.signal, len(old.samples), self.chunk)
        pairs = zip(self._chunk_sides(old, slices), self._chunk_sides(new, slices), strict=True)
        for before, after in pairs:
            answer = self._known(question, before, None)
            if answer is not None:
                self._answers.setdefault((after, repr(question.signal), ""), answer)

    def answers(
        self, question: Question, sides: Sequence[Side], title: str, *, account: Callable[[], Account]
    ) -> list[Answer]:
        """The answers of several of the attacker's own models to a question about the same samples.

        The executor measures networks. All other models are asked from here, each on an account of its own.
        """
        self.measured_ahead([question], sides, title)
        several = len(sides) > 1
        return [
            self.answer(question, side, f"{title} {number} of {len(sides)}" if several else title, account=account())
            for number, side in enumerate(sides, 1)
        ]

    def measured_ahead(self, asked: Sequence[Question], sides: Sequence[Side], title: str) -> None:
        """Lets the executor measure the missing pieces of all networks that can be sent; `answers` finds them later.

        Several questions together keep all workers busy, even if a single question has fewer pieces than workers.
        """
        able = [side for side in sides if side.model.network is not None and side.model.identity is not None]
        if not asked or not able or any(side.samples is not able[0].samples for side in able):
            return
        assert len({side.model.mixed for side in able}) == 1, "one trainer made them all"
        samples, first = able[0].samples, able[0].model.torch_model
        device = self.executor.device(samples.device)
        if device.type != "cpu" and not self.executor.elsewhere:
            return  # Processes that share one GPU gain nothing.
        if first is None or not len(samples):
            return
        slices = chunks.cuts(len(samples), self.chunk)
        with self._turn(asked[0], self._chunk_sides(able[0], slices), None, device):
            self._measure(asked, able, slices, device, f"{title}s" if len(sides) > 1 else title)

    def _measure(
        self,
        asked: Sequence[Question],
        able: Sequence[Side],
        slices: tuple[slice, ...],
        device: torch.device,
        title: str,
    ) -> None:
        """Lets the executor measure what is missing of the networks of `able`."""
        samples, first = able[0].samples, able[0].model.torch_model
        assert first is not None
        networks = tuple(side.model.network for side in able if side.model.network is not None)
        pieces = []
        plans: dict[int, Parts] = {}
        most = 0
        for number, question in enumerate(asked):
            missing = [] if chunks.is_whole(question.signal) else self._missing(question, able, slices, device)
            if not missing:
                continue
            plan = self.prepared(question, able[0]).plan
            if not sendable((question, plan.plans[0], networks[0])):
                continue
            plans[number] = plan
            pieces += [((number, model_number, chunk_number), chunk) for model_number, chunk_number, chunk in missing]
            most += plan.queries[1] * sum(len(chunk.samples) for _, _, chunk in missing)
        if not pieces:
            return
        common = Measuring(
            networks=networks,
            questions={number: (asked[number], plan.plans) for number, plan in plans.items()},
            ids=tuple(samples.ids[rows] for rows in slices),
            device=device,
            batch=first.probe(samples.inputs[:1]),
            mixed=able[0].model.mixed,
        )
        self.watch.stage(title, most, "queries")
        for place, payload in self.executor.run(measure, common, [item for item, _ in pieces]):
            (number, _, _), chunk = pieces[place]
            answer = _read(payload)
            self._keep(asked[number], chunk, None, answer, device, payload)
            self.watch.advance(int(answer.measured.queries.sum()))

    def _turn(
        self, question: Question, sides: Sequence[Side], beliefs: Beliefs | None, device: torch.device | None = None
    ) -> AbstractContextManager[None]:
        """The turn of the process that measures these chunks, by the first of them; none if that answer is known."""
        digest = _digest(beliefs)
        if not sides or (sides[0], repr(question.signal), digest) in self._answers:
            return nullcontext()
        return turn(self.store, self._spec(question, sides[0], digest, device))

    def _missing(
        self, question: Question, sides: Sequence[Side], slices: tuple[slice, ...], device: torch.device
    ) -> list[tuple[int, int, Side]]:
        """The chunks without an answer, each as (number of the model, number of the chunk, chunk)."""
        return [
            (model_number, chunk_number, chunk)
            for model_number, side in enumerate(sides)
            for chunk_number, chunk in enumerate(self._chunk_sides(side, slices))
            if self._known(question, chunk, None, device) is None
        ]

    def _chunk_sides(self, side: Side, slices: tuple[slice, ...]) -> tuple[Side, ...]:
        """A side for each chunk; the side itself if it is the only chunk."""
        if len(slices) == 1:
            return (side,)
        key = (side.samples, side.knowledge)
        if key not in self._cut:
            self._cut[key] = tuple(
                (side.samples.take(rows), chunks.cut_knowledge(side.knowledge, rows)) for rows in slices
            )
        if side not in self._chunks:
            self._chunks[side] = tuple(
                Side(model=side.model, samples=samples, inside=side.inside[rows], knowledge=knowledge)
                for rows, (samples, knowledge) in zip(slices, self._cut[key], strict=True)
            )
        return self._chunks[side]

    def _known(
        self, question: Question, side: Side, beliefs: Beliefs | None, device: torch.device | None = None
    ) -> Answer | None:
        """The answer about one chunk, from memory or from the store."""
        digest = _digest(beliefs)
        key = (side, repr(question.signal), digest)
        if key not in self._answers:
            spec = self._spec(question, side, digest, device)
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
        digest = _digest(beliefs)
        self._answers[side, repr(question.signal), digest] = answer
        spec = self._spec(question, side, digest, device)
        if spec is not None and self.store is not None:
            self.store.save(spec, _written(answer) if payload is None else payload)

    def _spec(
        self, question: Question, side: Side, beliefs: str, device: torch.device | None
    ) -> dict[str, JSON] | None:
        """Everything the measurement depends on; None if the model or the signal has no identity.

        `device` is where the model runs; None for the device of the side's model.
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
            "versions": [SINCE, torch.__version__],
            "model": identity,
            "signal": repr(question.signal),
            "beliefs": beliefs,
            "seed": self.seed,
            "domain": repr(side.samples.domain),
            "samples": content_of(side.samples),
            "population": None if population is None else content_of(population),
            "crafters": [weights_of(model) for model in (*side.knowledge.crafters, *side.knowledge.second)],
            "shadows": None if shadows is None else [weights_of(model) for model in shadows.models],
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Measuring:
    """The part of the work that all pieces share; see `measure`.

    Attributes:
        networks: The networks asked.
        questions: By number, each question and its plans, one for each chunk of the samples.
        ids: The samples' ids, for each chunk.
        device: Where the networks run.
        batch: Rows per forward pass.
        mixed: Whether labels are computed in mixed precision.
    """

    networks: tuple[nn.Module, ...]
    questions: dict[int, tuple[Question, tuple[LabelPlan | ScorePlan, ...]]]
    ids: tuple[Tensor, ...]
    device: torch.device
    batch: int
    mixed: bool


def measure(common: Measuring, item: tuple[int, int, int]) -> bytes:
    """A piece: the answer to question item[0] by network item[1] on chunk item[2], as `Asking` keeps it."""
    question, plans = common.questions[item[0]]
    network, chunk = common.networks[item[1]], item[2]
    scores = TorchScores(network, device=common.device, batch_size=common.batch)
    model = AskableModel(labels=scores, scores=scores, torch_model=scores, network=network)
    model = model.rough() if common.mixed else model
    return _written(_ask(question, plans[chunk], model, common.ids[chunk], Account(), None))


def _ask(
    question: Question,
    plan: LabelPlan | ScorePlan,
    model: AskableModel,
    ids: Tensor,
    account: Account,
    aside: str | None,
) -> Answer:
    before, started = Counter(account.overhead), time.perf_counter()
    # The question's own signal made the plan, so their types agree.
    measured = question.ask(plan, model, account, aside)  # type: ignore[arg-type]
    measured = Measurement(*(values.cpu() for values in measured))
    if account.purpose.incomplete:
        measured = measured._replace(complete=measured.complete & ~account.incomplete(ids))
    if aside is None:
        assert torch.equal(measured.queries, account.spent(ids)), "a plan must report what it asked"
    return Answer(measured, time.perf_counter() - started, dict(Counter(account.overhead) - before))


def _joined(answers: Sequence[Answer]) -> Answer:
    """One answer from the answers about consecutive chunks."""
    if len(answers) == 1:
        return answers[0]
    overhead = sum((Counter(answer.overhead) for answer in answers), Counter[str]())
    measured = chunks.joined(answer.measured for answer in answers)
    return Answer(measured, sum(answer.seconds for answer in answers), dict(overhead))


@contextmanager
def _rows_counted(knowledge: Knowledge) -> Iterator[Callable[[], int]]:
    """Counts the rows sent through the attacker's networks in the `with` block."""
    count = 0

    def add_rows(module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        nonlocal count
        count += len(inputs[0])

    models = (*knowledge.crafters, *knowledge.second, *(knowledge.shadows.models if knowledge.shadows else ()))
    hooks = [model.register_forward_hook(add_rows) for model in models]
    try:
        yield lambda: count
    finally:
        for hook in hooks:
            hook.remove()


ADDRESS = " at 0x"  # Python's default `repr` holds an address, which means nothing to another run.
_HASHES: dict[int, tuple[object, str]] = {}  # By id: the object, kept so that no other object gets its id; its hash.


def content_of(samples: Samples) -> str:
    """`content_hash`, computed once per run."""
    return _once(samples, lambda: content_hash(samples))


def weights_of(model: nn.Module) -> str:
    """`weights_hash`, computed once per run."""
    return _once(model, lambda: weights_hash(model))


def _once(item: object, compute: Callable[[], str]) -> str:
    if id(item) not in _HASHES:
        _HASHES[id(item)] = item, compute()
    return _HASHES[id(item)][1]


def _digest(beliefs: Beliefs | None) -> str:
    """A hash of the beliefs; "" for None."""
    if beliefs is None:
        return ""
    digest = hashlib.sha256()
    normal = (beliefs.mean_in, beliefs.deviation_in, beliefs.mean_out, beliefs.deviation_out)
    shared = getattr(beliefs, "shared", None)  # How scalars vary together, where a signal asks by that too.
    for values in normal if shared is None else (*normal, shared):
        digest.update(values.double().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _written(answer: Answer) -> bytes:
    file = io.BytesIO()
    arrays = {name: values.numpy() for name, values in answer.measured._asdict().items()}
    np.savez(file, seconds=answer.seconds, overhead=json.dumps(answer.overhead), **arrays)
    return file.getvalue()


def _read(payload: bytes) -> Answer:
    with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
        measured = Measurement(*(torch.from_numpy(arrays[name]) for name in Measurement._fields))
        return Answer(measured, float(arrays["seconds"]), json.loads(str(arrays["overhead"])))
