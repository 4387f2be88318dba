"""Check rows: the same few samples, asked at the start, at times and at the end, show whether the target changed.

Their queries belong to no attack. An endpoint that reaches a limit and answers with a default, or serves another model
from some time on, would otherwise look like a model that leaks nothing.
"""

import io
import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from hardlabel import randomness
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples, concatenate
from hardlabel.metrics.drift import drift
from hardlabel.models.model_store import content_hash
from hardlabel.oracles.purpose import Purpose, asked_for
from hardlabel.records.model import Checks
from hardlabel.records.verdict import ALARM
from hardlabel.runs.progress import Watch
from hardlabel.store import CHECKS, JSON, Store
from hardlabel.targets.askable import AskableModel

ROWS = 20  # Check rows, half of them members where there are enough.
FIRST = 3  # How often they are asked at the start, which shows the noise of the answers.
AGAIN = 2  # How often they are asked again where an answer differs from the first.
EVERY = 500  # They are asked after so many rows,
GROWTH = 1.25  # then each time after so many times as many, and after every attack: a long outage is not missed.


@dataclass(eq=False)
class CheckRows:
    """Asks the check rows of one target, and keeps their answers.

    Attributes:
        target: The target.
        samples: The check rows.
        store: Keeps the answers of earlier processes, with which later answers are compared.
        watch: Is told of a change.
    """

    target: AskableModel
    samples: Samples
    store: Store | None
    watch: Watch
    _answers: list[list[int]] = field(default_factory=list)  # One list for each asking.
    _sent: list[int] = field(default_factory=list)  # Rows sent to the target before each asking, check rows apart.
    _rows: int = 0  # Rows sent so far; with those of earlier processes.
    _checked: int | None = None  # Rows sent at the last check; None before the first.
    _next: int = EVERY  # Rows sent before the next check.
    _told: bool = False

    @classmethod
    def of(
        cls,
        target: AskableModel,
        members: Samples,
        nonmembers: Samples,
        *,
        seed: int,
        device: torch.device,
        store: Store | None,
        watch: Watch,
    ) -> "CheckRows":
        """Draws the check rows."""
        drawn = []
        for name, group in (("members", members), ("nonmembers", nonmembers)):
            order = torch.randperm(len(group), generator=randomness.generator(seed, f"check rows of {name}"))
            drawn.append(group.take(order[: ROWS // 2]))
        # Not in the run's journal: how often the rows are asked depends on how often the run broke off.
        kept = None if store is None else Store(store.root / CHECKS)
        return cls(target=target, samples=concatenate(*drawn).to(device), store=kept, watch=watch)

    @property
    def watched(self) -> AskableModel:
        """The same target: asked about anything, it is asked the check rows at times, too."""
        if self.target.scores is None:
            return replace(self.target, labels=_Watched(self))
        watched = _WatchedScores(self)
        return replace(self.target, labels=watched, scores=watched)

    def check(self) -> None:
        """Asks the check rows, unless nothing was asked since the last check."""
        if self._checked is not None and self._checked != self._rows:
            self._check()

    def _check(self) -> None:
        self._ask()
        if self._answers[-1] != self._answers[0]:
            for _ in range(AGAIN):
                self._ask()
        self._checked = self._rows
        self._save()
        found = None if self._told else self.result()
        if found is not None and found.changed:
            self._told = True
            self.watch.say(f"the target changed: {found.told}")

    def result(self) -> Checks | None:
        """What the askings show; None if there was none."""
        self._load()
        if not self._answers:
            return None
        answers = np.array(self._answers, dtype=np.int64)
        found = drift(answers, alarm=ALARM)
        changed = found.chance <= ALARM
        return Checks(
            rows=len(self.samples),
            otherwise=int((answers != answers[0]).any(0).sum()),
            noise=found.noise,
            chance=found.chance,
            changed=changed,
            after=self._sent[found.split - 1] if changed else None,
        )

    @property
    def queries(self) -> int:
        """Queries that the check rows have cost, in earlier processes too."""
        return len(self._answers) * len(self.samples)

    def begin(self) -> None:
        """Asks the check rows before anything else is asked: several times, or once if earlier processes did."""
        if self._checked is not None:
            return
        self._load()
        if self._answers:
            self._check()  # Another model may answer since then.
            self._refuse_change()
            return
        for _ in range(FIRST):
            self._ask()
        self._checked = self._rows
        self._save()

    def _refuse_change(self) -> None:
        """Refuses a target that was to stay as it was: the audit would be of two models.

        Raises:
            InvalidInput: Its answers have changed.
        """
        result = self.result() if self.target.fixed else None
        if result is not None and result.changed:
            raise InvalidInput(
                f"target must be the model that was asked before, {result.otherwise} of {result.rows} check rows got "
                "other answers: --accept-change goes on all the same, a new --name and --out begin a new run"
            )

    def count(self, rows: int) -> None:
        """Counts rows that were sent, and asks the check rows if it is time."""
        self._rows += rows
        if self._rows >= self._next:
            while self._next <= self._rows:
                self._next = math.ceil(GROWTH * self._next)
            self.check()

    def _ask(self) -> None:
        # Answers of another day would hide a change.
        with asked_for(Purpose("check rows", replayed=False)):
            self._answers.append(self.target.labels.ask(self.samples.inputs, self.samples.ids).tolist())
        self._sent.append(self._rows)

    @property
    def _spec(self) -> dict[str, JSON] | None:
        if self.store is None or self.target.identity is None:
            return None
        return {"kind": "check rows", "model": self.target.identity, "samples": content_hash(self.samples)}

    def _load(self) -> None:
        spec = self._spec
        if self._answers or spec is None or self.store is None:
            return
        payload = self.store.load(spec)
        if payload is not None:
            with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
                self._answers, self._sent = arrays["answers"].tolist(), arrays["sent"].tolist()
            self._rows = max(self._sent)

    def _save(self) -> None:
        spec = self._spec
        if spec is None or self.store is None:
            return
        file = io.BytesIO()
        np.savez(file, answers=np.array(self._answers), sent=np.array(self._sent))
        self.store.save(spec, file.getvalue())


def most_askings(queries: int, attacks: int) -> int:
    """How often the check rows are asked at most, if the target is steady and is asked so many queries."""
    return FIRST + attacks + 1 + max(0, math.floor(math.log(max(1, queries / EVERY), GROWTH)) + 1)


class _Watched:
    """A LabelOracle that counts what is asked."""

    def __init__(self, rows: CheckRows) -> None:
        self._rows, self._target = rows, rows.target

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        self._rows.begin()
        answers = self._target.labels.ask(inputs, ids)
        self._rows.count(len(inputs))
        return answers


class _WatchedScores(_Watched):
    """The same of a target that shows confidences."""

    def ask_scores(self, inputs: Tensor, ids: Tensor) -> Tensor:
        self._rows.begin()
        assert self._target.scores is not None
        answers = self._target.scores.ask_scores(inputs, ids)
        self._rows.count(len(inputs))
        return answers
