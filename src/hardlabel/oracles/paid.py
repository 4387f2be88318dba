"""An oracle that is paid by the row: batches, retries, votes and pauses, with every attempt in a ledger.

The endpoint knows how one request is made. Everything about money is here: what is sent, when, how often, and what
becomes of rows without an answer.
"""

import hashlib
import heapq
import itertools
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.oracles.base import check_labels, check_scores
from hardlabel.oracles.ledger import LOOKED_UP, ROW_BYTES, Answer, Attempt, Ledger, State
from hardlabel.oracles.purpose import Purpose, current
from hardlabel.oracles.stopped import Stopped
from hardlabel.processes import INTERRUPTS
from hardlabel.secret import keyed

MISUNDERSTOOD = 3  # So many useless answers in a row, and no other, say that the settings are wrong.
POLL = 0.2  # Seconds between two looks at rows that another process has under way.
FEWEST_LOOKED_UP = 128  # Rows that are looked up in the ledger at once, or twice a request where that is more.
DECODED = 8  # Requests whose rows are turned into the caller's terms together: a frame is made once for all of them.


class Fate(StrEnum):
    """What became of one request."""

    ANSWERED = "answered"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    TOO_LARGE = "too large"
    WRONG = "wrong"
    DENIED = "denied"


@dataclass(frozen=True, eq=False)
class Outcome:
    """The outcome of one attempt at one batch of n rows. Made by its class methods.

    Attributes:
        fate: What became of the request.
        labels: (n,) labels in the caller's terms, as the server said them; None if it showed scores only.
        scores: (n, classes) log probabilities in the order of the classes; None if only labels are used.
        reason: A few words for people, without values, tokens or addresses: "503", "no answer within 60 s".
        wait: Seconds that the server asks to wait; None if it does not say.

    Example:
        >>> from hardlabel.oracles.paid import Outcome
        >>> Outcome.refused("429", wait=2.0).fate
        <Fate.REFUSED: 'refused'>
    """

    fate: Fate
    labels: Any = None
    scores: Any = None
    reason: str = ""
    wait: float | None = None

    @classmethod
    def answered(cls, labels: Any = None, *, scores: Any = None) -> "Outcome":
        """The server answered all rows."""
        return cls(Fate.ANSWERED, labels, scores)

    @classmethod
    def refused(cls, reason: str, *, wait: float | None = None, spent: bool = False) -> "Outcome":
        """The server did not process the rows: 429, 503, no connection. With `spent`, they are billed all the same."""
        return cls(Fate.UNKNOWN if spent else Fate.REFUSED, reason=reason, wait=wait)

    @classmethod
    def unknown(cls, reason: str, *, wait: float | None = None) -> "Outcome":
        """Nobody knows whether the rows were processed: a broken connection, no answer in time. They count as spent."""
        return cls(Fate.UNKNOWN, reason=reason, wait=wait)

    @classmethod
    def too_large(cls, reason: str) -> "Outcome":
        """The server refused the batch for its size: 413."""
        return cls(Fate.TOO_LARGE, reason=reason)

    @classmethod
    def wrong(cls, reason: str) -> "Outcome":
        """The server answered with what is no answer to these rows. They count as answered."""
        return cls(Fate.WRONG, reason=reason)

    @classmethod
    def denied(cls, reason: str) -> "Outcome":
        """The server refused, and no other attempt would help: 401. The audit stops with `reason`, in one line."""
        return cls(Fate.DENIED, reason=reason)


class Endpoint(Protocol):
    """How requests are made to a target. Its methods are called from several threads at once."""

    @property
    def identity(self) -> str:
        """What names the model: the URL without secrets, its declared version, the protocol."""
        ...

    @property
    def most_rows(self) -> int:
        """Most rows that it would put into one request now."""
        ...

    @property
    def at_once(self) -> int:
        """How many requests it would make at once now."""
        ...

    def attempt(self, rows: Any, *, timeout: float) -> Outcome:
        """Makes one request about rows in the caller's terms (a frame, an array, texts); retries nothing.

        An exception counts as an unknown fate, and ends the audit.
        """
        ...


@runtime_checkable
class Preparing(Protocol):
    """An endpoint that can prepare a request ahead, while others are under way."""

    def prepare(self, rows: Any) -> Any:
        """What `attempt` takes in place of rows in the caller's terms; sends nothing, and raises nothing."""
        ...


class Terms(Protocol):
    """The caller's terms; see `targets.coded.Coding`."""

    def decode(self, points: Tensor) -> Any:
        """What points stand for."""
        ...

    def classes(self, answers: object, *, role: str) -> Any:
        """The classes that labels stand for."""
        ...


class Teller(Protocol):
    """Who is told what happens; a `runs.progress.Watch` fits."""

    def say(self, message: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What may be spent, and how long to try.

    Attributes:
        budget: Most rows that count against one sample, for each attack; None for no limit. Votes count.
        max_rows: Most rows that count against the target in all; None for no limit.
        votes: Answers asked for each row. The most frequent label is taken; of several, the one that came first.
        timeout: Seconds to wait for an answer.
        attempts: A row that fails alone is given up after so many attempts that count as spent. With fewer than
            `failures`, a row which the server cannot stand does not end the audit.
        failures: So many failed requests in a row lead to a pause.
        pause: Seconds of the first pause; each further pause is twice as long.
        pauses: Most pauses in a row; then the audit stops.
        first_wait, longest_wait: Seconds before a failed batch is tried again, for the first time and at most.
        patience: Most seconds to wait because the target asks for it; where it asks for more, the audit stops.
        grace: Seconds to wait for answers under way when the audit is interrupted.
        classes: Number of classes; labels from there on are no answers. None if it is not known.
        seed: Fixes the jitter of waits; None for a random one.

    Raises:
        InvalidInput: A number is out of range.
    """

    budget: int | None = None
    max_rows: int | None = None
    votes: int = 1
    timeout: float = 60.0
    attempts: int = 8
    failures: int = 10
    pause: float = 30.0
    pauses: int = 3
    first_wait: float = 0.5
    longest_wait: float = 60.0
    patience: float = 600.0
    grace: float = 10.0
    classes: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        checks.plain_fields(self)
        for name in ("budget", "max_rows", "classes"):
            if getattr(self, name) is not None:
                checks.whole_number(1, **{name: getattr(self, name)})
        checks.whole_number(1, votes=self.votes, attempts=self.attempts, failures=self.failures)
        checks.whole_number(0, pauses=self.pauses)
        checks.positive(timeout=self.timeout)
        checks.not_negative(
            pause=self.pause,
            first_wait=self.first_wait,
            longest_wait=self.longest_wait,
            patience=self.patience,
            grace=self.grace,
        )
        if self.budget is not None and self.votes > self.budget:
            raise InvalidInput(
                f"votes must be at most the budget of {self.budget} rows per sample, got {self.votes}: ask for fewer "
                "votes"
            )


class PaidOracle:
    """A `LabelOracle` of points in front of an endpoint that is paid by the row.

    A row that the ledger has an answer to is answered for free. All others are written down before they are sent. The
    sum of what is answered, under way and of unknown fate never exceeds the budget of a sample, or `max_rows`.

    Where rows of unknown fate have used up a sample's budget, its further rows get the last label that the sample got,
    and the sample's id is added to `Purpose.incomplete`. The samples take turns in sending rows, so that what is under
    way when a process dies, or when a connection breaks, costs no sample more than a few rows.

    Args:
        endpoint: Makes the requests.
        coding: The terms in which the endpoint is asked and answers.
        ledger: Where every attempt is written down.
        policy: What may be spent, and how long to try.
        watch: Is told of smaller batches, pauses and samples without an answer.
        role: What errors call the target.
        now, sleep: The clock; a test has its own.

    Raises:
        InvalidInput: On asking: the first answers cannot be understood, or the ledger is damaged.
        Stopped: On asking: the target keeps failing, it denies access, or `max_rows` is reached.

    Example:
        >>> import tempfile, torch
        >>> from hardlabel.oracles.ledger import Ledger
        >>> from hardlabel.oracles.paid import Outcome, PaidOracle, Policy
        >>> from hardlabel.runs.progress import SILENT
        >>> from hardlabel.targets.coded import Coding
        >>> class Sign:
        ...     identity, most_rows, at_once = "sign", 2, 1
        ...     def attempt(self, rows, *, timeout):
        ...         return Outcome.answered((rows[:, 0] > 0).long())
        >>> ledger = Ledger(tempfile.mkdtemp() + "/ledger.sqlite")
        >>> oracle = PaidOracle(Sign(), Coding(), ledger, Policy(), SILENT)
        >>> oracle.ask(torch.tensor([[-1.0], [1.0], [2.0]]), torch.arange(3))
        tensor([0, 1, 1])
        >>> ledger.counts()[0].sent
        3
    """

    def __init__(
        self,
        endpoint: Endpoint,
        coding: Terms,
        ledger: Ledger,
        policy: Policy,
        watch: Teller,
        *,
        role: str = "target",
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.endpoint, self.coding, self.ledger, self.policy = endpoint, coding, ledger, policy
        self.watch, self.role, self.now, self.sleep = watch, role, now, sleep
        self.jitter = random.Random(policy.seed)
        self.largest: int | None = None  # Rows per request, where the server has refused more.
        self.failed = 0  # Requests that failed in a row.
        self.paused = 0  # Pauses in a row.
        self.not_before = 0.0  # Nothing is sent before this time.
        self.understood = False  # Whether any answer was of use.
        self.width: int | None = None  # Classes that scores are shown for.
        self._accounts: dict[str, int] = {}
        self._occurrences: dict[int, dict[bytes, int]] = {}  # By account and row of a sample: how often it was asked.
        self._secret = bytes.fromhex(keyed(b"asked rows", purpose="ledger", digits=128))
        self._names: dict[int, bytes] = {}
        self._last: dict[tuple[int, bool], dict[int, Any]] = {}  # By account and sample: the last answer.
        self._told: set[str] = set()
        self._broken = ""  # Why nothing is asked any more, if the ledger failed.
        self._one_at_a_time = threading.Lock()

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """Classes of `inputs` (q, *shape), int64 (q,); see `LabelOracle`."""
        answers = self._asked(inputs, ids, scores=False)
        return torch.tensor(answers, dtype=torch.int64, device=inputs.device)

    def stop(self, reason: str) -> None:
        """From now on nothing is asked; every question raises Stopped with this reason."""
        self._broken = reason

    def _asked(self, inputs: Tensor, ids: Tensor, *, scores: bool) -> list[Any]:
        """An answer for each row: a class, or a row of scores."""
        with self._one_at_a_time:
            if self._broken:
                raise Stopped(f"the {self.role} is asked no more: {self._broken}")
            purpose, account = current(), self._account(current())
            order = _by_turns(ids.detach().cpu().numpy())
            samples, points = ids.tolist(), inputs.detach().cpu()
            if order is not None:
                samples, points = [samples[place] for place in order.tolist()], points[torch.from_numpy(order)]
            questions = _Round(self, account, purpose, points.contiguous(), samples, scores=scores)
            try:
                questions.run()
            except BaseException:
                asked = self._occurrences.get(account, {})
                for key in questions.keys:  # Whoever asks again gets the answers that there are.
                    asked[key[:-4]] -= 1
                raise
            answers = self._settled(questions, purpose)
            if order is None:
                return answers
            back = np.empty_like(order)
            back[order] = np.arange(len(order))
            return [answers[place] for place in back.tolist()]

    def _settled(self, questions: "_Round", purpose: Purpose) -> list[Any]:
        """An answer for each row of a round that is over: the majority's, or one that stands for it."""
        samples, votes, scores = questions.samples, self.policy.votes, questions.scores
        last = self._last.setdefault((questions.account, scores), {})
        if votes == 1 and not any(answer is None for answer in questions.answers):
            last.update(zip(samples, questions.answers, strict=True))
            return questions.answers
        answers, missing = [], set()
        for row, sample in enumerate(samples):
            given = [answer for answer in questions.answers[row * votes : (row + 1) * votes] if answer is not None]
            if len(given) < votes:
                missing.add(sample)
            answers.append(_most_frequent(given, scores=scores) if given else None)
            if given:
                last[sample] = answers[-1]
        if missing:
            self._incomplete(purpose, missing)
        return [
            self._substitute(last, sample, scores=scores) if answer is None else answer
            for answer, sample in zip(answers, samples, strict=True)
        ]

    def _account(self, purpose: Purpose) -> int:
        if purpose.name not in self._accounts:
            self._accounts[purpose.name] = self.ledger.account(self.endpoint.identity, purpose.name)
        return self._accounts[purpose.name]

    def keys(
        self, account: int, points: Tensor, samples: Sequence[int], purpose: Purpose, *, scores: bool
    ) -> list[bytes]:
        """The next questions: each row as often as there are votes. They count as asked from now on.

        Args:
            account, purpose: Who asks.
            points: (n, *shape), contiguous.
            samples: (n,) ids.
            scores: Whether scores are asked for: a label does not answer for scores.
        """
        names, votes = self._rows(points, samples, b"scores" if scores else b"label"), self.policy.votes
        asked = self._occurrences.setdefault(account, {})
        if purpose.replayed and votes == 1 and asked.keys().isdisjoint(names) and len(set(names)) == len(names):
            asked.update(dict.fromkeys(names, 1))
            return [name + _FIRST for name in names]
        keys = []
        for name in names:
            if name not in asked:
                sample = int.from_bytes(name[:8], "little")
                asked[name] = 0 if purpose.replayed else self.ledger.next_occurrence(account, sample, name[8:])
            first = asked[name]
            asked[name] = first + votes
            keys += [name + number.to_bytes(4, "little") for number in range(first, first + votes)]
        return keys

    def _rows(self, points: Tensor, samples: Sequence[int], sort: bytes) -> list[bytes]:
        """The names of rows of samples: what a question has before its occurrence."""
        for number in set(samples) - self._names.keys():
            self._names[number] = self._sample(number)
        names, fresh = self._names, hashlib.blake2b(key=self._secret, digest_size=ROW_BYTES, person=sort).copy
        content = points.numpy().tobytes()
        size, view, named = len(content) // max(1, len(samples)), memoryview(content), []
        for start, number in zip(range(0, len(content), size or 1), samples, strict=True):
            digest = fresh()
            digest.update(view[start : start + size])
            named.append(names[number] + digest.digest())
        return named

    def _sample(self, number: int) -> bytes:
        """The name of a sample in the ledger: its id follows from the seed, and would tell which record it is."""
        digest = hashlib.blake2b(str(number).encode(), key=self._secret, digest_size=8, person=b"sample").digest()
        return (int.from_bytes(digest, "big") >> 1).to_bytes(8, "little")

    def _incomplete(self, purpose: Purpose, samples: set[int]) -> None:
        purpose.incomplete.update(samples)
        if purpose.name not in self._told:
            self._told.add(purpose.name)
            self.watch.say(
                f"{purpose.name}: rows without an answer have used up the budget of some samples, which are marked "
                "incomplete"
            )

    def _substitute(self, last: dict[int, Any], sample: int, *, scores: bool) -> Any:
        """What stands for a missing answer: the last one about this sample."""
        if sample in last:
            return last[sample]
        if not scores:
            return 0
        if self.width is None:
            raise Stopped(f"the {self.role} has shown no scores within the budget: raise it, or start a new ledger")
        return np.full(self.width, -np.log(self.width), dtype=np.float32)


class PaidScores(PaidOracle):
    """A `PaidOracle` that is a `ScoreOracle`, too: for endpoints whose outcomes have scores."""

    def ask_scores(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """Log probabilities of `inputs` (q, *shape), float32 (q, classes); see `ScoreOracle`.

        With votes, the logarithm of the mean probability.
        """
        answers = self._asked(inputs, ids, scores=True)
        width = self.width or 0
        return torch.from_numpy(np.array(answers, dtype=np.float32).reshape(len(answers), width)).to(inputs.device)


_FIRST = bytes(4)  # The first occurrence.


@dataclass(frozen=True, eq=False)
class _Batch:
    """Rows of a round that are sent together: how often they failed, and whether they were looked at before."""

    rows: Sequence[int]
    tries: int
    fresh: bool = False


@dataclass(frozen=True, eq=False)
class _Result:
    """What became of a batch."""

    batch: _Batch
    outcome: Outcome
    values: Sequence[Any] | None = None  # Classes or rows of scores.
    error: BaseException | None = None


class _Round:
    """Asks for the rows of one call. This thread decides and prepares; other threads send, and write down the answers.

    Questions are named, rows are turned into the caller's terms, and the next request is prepared while others are
    under way. It is written into the ledger only when it can be sent.
    """

    def __init__(
        self,
        oracle: PaidOracle,
        account: int,
        purpose: Purpose,
        points: Tensor,
        samples: Sequence[int],
        *,
        scores: bool,
    ) -> None:
        self.oracle, self.account, self.purpose, self.scores = oracle, account, purpose, scores
        self.points, self.samples = points, samples
        self.budget = oracle.policy.budget if purpose.limited else None
        self.keys: list[bytes] = []  # Made as they are needed, while other rows are under way.
        self.answers: list[Any] = [None] * (len(samples) * oracle.policy.votes)
        self._fresh = 0  # The first row that was never tried; so were none of those after it.
        self._again: list[tuple[float, int, _Batch]] = []  # A heap by the time when a batch is due.
        self._count = itertools.count()
        self._spent: Counter[int] = Counter()  # Attempts at a row, by now, that count as spent.
        self._flying = 0
        self._full = False
        self._results: queue.SimpleQueue[_Result] = queue.SimpleQueue()
        self._decoded: tuple[range, Any] = (range(0), None)  # Rows in the caller's terms, and which ones.
        self._ahead: tuple[Sequence[int], Any] = (range(0), None)  # A prepared request, and its rows.

    def run(self) -> None:
        """Asks until each row has an answer or can have none.

        Raises:
            InvalidInput, Stopped: See `PaidOracle`. What was under way is waited for.
        """
        try:
            while self._left or self._again or self._flying:
                self._send_what_may_be_sent()
                if self._flying:
                    self._take(self._next_event(1.0))
                elif self._full:
                    raise Stopped(
                        f"max_rows of {self.oracle.policy.max_rows} rows is reached: raise it to go on from there"
                    )
                elif (seconds := self._next_event(None)) > 0:
                    self.oracle.sleep(seconds)
        finally:
            self._wait_for_answers()

    @property
    def _left(self) -> int:
        """How many rows were never tried."""
        return len(self.answers) - self._fresh

    def _send_what_may_be_sent(self) -> None:
        oracle = self.oracle
        while oracle.now() >= oracle.not_before and not self._full:
            # One request at a time shows whether the server answers again, or can be understood at all.
            alone = oracle.failed >= oracle.policy.failures or not oracle.understood
            if self._flying >= (1 if alone else max(1, oracle.endpoint.at_once)):
                self._work_ahead()
                return
            batch = self._due()
            if batch is None:
                return
            with INTERRUPTS.held():  # Rows that the ledger has as sent are sent.
                self._begin(batch)

    def _work_ahead(self) -> None:
        """Makes the next request ready, as nothing else can be done before an answer comes."""
        if not self._left or not self._results.empty():
            return
        rows = range(self._fresh, min(len(self.answers), self._fresh + self._most))
        self._make_keys(min(len(self.answers), self._fresh + 3 * self._most))
        if self._ahead[0] != rows and not self.oracle.ledger.knows(self.account, self.keys[rows.start]):
            self._ahead = rows, self._prepared(rows)

    def _due(self) -> _Batch | None:
        """What is to be sent next, or None: a batch that is due again, else all rows that were never tried."""
        if self._again and self._again[0][0] <= self.oracle.now():
            return heapq.heappop(self._again)[2]
        if not self._left:
            return None
        looked_up = min(LOOKED_UP, max(FEWEST_LOOKED_UP, 2 * self._most), self._left)
        rows = range(self._fresh, self._fresh + looked_up)
        self._fresh += looked_up
        self._make_keys(rows.stop)
        return _Batch(rows, 0, fresh=True)

    def _make_keys(self, until: int) -> None:
        """Makes the keys of the first `until` rows."""
        votes, oracle = self.oracle.policy.votes, self.oracle
        part = slice(len(self.keys) // votes, -(-until // votes))
        if part.start < part.stop:
            self.keys += oracle.keys(
                self.account, self.points[part], self.samples[part], self.purpose, scores=self.scores
            )

    @property
    def _most(self) -> int:
        """Most rows of a request now."""
        most, largest = self.oracle.endpoint.most_rows, self.oracle.largest
        return max(1, most if largest is None else min(most, largest))

    def _begin(self, batch: _Batch) -> None:
        """Looks the rows up in the ledger and sends those that fit into one request; the others wait again."""
        oracle, rows = self.oracle, batch.rows
        keys = self.keys[rows.start : rows.stop] if isinstance(rows, range) else [self.keys[row] for row in rows]
        admission = oracle.ledger.begin(
            self.account, keys, most=self._most, budget=self.budget, max_rows=oracle.policy.max_rows
        )
        for place, answer in admission.answers.items():
            self.answers[rows[place]] = self._read(answer)
        rest = rows[admission.seen :]
        if rest and batch.fresh:
            self._fresh = rest[0]  # They are the next ones again.
        elif rest:
            self._later(_Batch(rest, batch.tries), 0.0)
        if admission.elsewhere:
            oracle.ledger.bury()
            self._later(_Batch([rows[place] for place in admission.elsewhere], batch.tries), POLL)
        self._full = admission.full
        if admission.attempts:
            first, last = admission.attempts[0].place, admission.attempts[-1].place
            whole = last - first + 1 == len(admission.attempts)
            self._send(
                _Batch(
                    rows[first : last + 1] if whole else [rows[attempt.place] for attempt in admission.attempts],
                    batch.tries,
                ),
                admission.attempts,
            )

    def _send(self, batch: _Batch, attempts: Sequence[Attempt]) -> None:
        """Sends rows that the ledger has as sent."""
        oracle = self.oracle
        self._flying += 1
        started = False
        try:
            prepared = self._ahead[1] if self._ahead[0] == batch.rows else self._prepared(batch.rows)
            # A daemon: an answer that nobody waits for any more must not keep the process from ending.
            thread = threading.Thread(target=self._attempt, args=(batch, attempts, prepared), daemon=True)
            started = True
            thread.start()
        except BaseException:
            if not started or thread.ident is None:
                self._flying -= 1
                oracle.ledger.settle(self.account, attempts, State.REFUSED)
            raise

    def _prepared(self, rows: Sequence[int]) -> Any:
        """Rows as the endpoint takes them."""
        oracle, votes = self.oracle, self.oracle.policy.votes
        if votes == 1 and isinstance(rows, range):
            decoded, content = self._decoded
            if rows.start < decoded.start or rows.stop > decoded.stop:
                decoded = range(rows.start, min(len(self.answers), rows.start + DECODED * max(len(rows), self._most)))
                content = oracle.coding.decode(self.points[decoded.start : decoded.stop])
                self._decoded = decoded, content
            part = slice(rows.start - decoded.start, rows.stop - decoded.start)
            given = content.iloc[part] if hasattr(content, "iloc") else content[part]
        else:
            given = oracle.coding.decode(self.points[[row // votes for row in rows]])
        return oracle.endpoint.prepare(given) if isinstance(oracle.endpoint, Preparing) else given

    def _attempt(self, batch: _Batch, attempts: Sequence[Attempt], prepared: Any) -> None:
        """In a thread of its own: makes the request and writes down what became of it."""
        oracle, outcome, values = self.oracle, Outcome.unknown("the request failed"), None
        try:
            outcome = oracle.endpoint.attempt(prepared, timeout=oracle.policy.timeout)
            if outcome.fate == Fate.ANSWERED:
                try:
                    values = self._understood(outcome, len(batch.rows))
                except InvalidInput as error:
                    outcome = Outcome.wrong(str(error))
            result = _Result(batch, outcome, values)
        except BaseException as error:
            result = _Result(batch, outcome, error=error)
        try:
            oracle.ledger.settle(self.account, attempts, _STATES[outcome.fate], self._written(values))
        except BaseException as error:
            oracle.stop(f"the ledger failed: {error}")
            result = _Result(batch, outcome, values, result.error or error)
        self._results.put(result)

    def _understood(self, outcome: Outcome, rows: int) -> list[Any]:
        """The answers to a batch: classes, or rows of scores.

        Raises:
            InvalidInput: They are no answers.
        """
        oracle, role = self.oracle, self.oracle.role
        if outcome.scores is not None and (self.scores or outcome.labels is None):
            scores = check_scores(outcome.scores, rows, role=role)
            if not self.scores:
                return list(scores.argmax(1).tolist())
            if oracle.width not in (None, scores.shape[1]):
                raise InvalidInput(
                    f"{role} must show scores of the same classes in every answer, got {oracle.width} classes before "
                    f"and now {scores.shape[1]}"
                )
            oracle.width = scores.shape[1]
            return list(scores.numpy())
        if self.scores:
            raise InvalidInput(f"{role} must show scores, got labels only: leave out the attacks that see scores")
        labels = oracle.coding.classes(outcome.labels, role=role)
        return list(check_labels(labels, rows, role=role, classes=oracle.policy.classes).tolist())

    def _take(self, seconds: float) -> None:
        """Waits for a result for so long, and does what follows from it."""
        try:
            result = self._results.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return
        self._flying -= 1
        if result.error is not None:
            raise result.error
        oracle, outcome, batch = self.oracle, result.outcome, result.batch
        if result.values is not None:
            oracle.understood, oracle.failed, oracle.paused = True, 0, 0
            if isinstance(batch.rows, range):
                self.answers[batch.rows.start : batch.rows.stop] = result.values
                return
            for row, value in zip(batch.rows, result.values, strict=True):
                self.answers[row] = value
            return
        self._full = False  # What was refused may be sent.
        if outcome.fate == Fate.DENIED:
            raise Stopped(outcome.reason)
        if outcome.fate == Fate.TOO_LARGE:
            self._smaller(batch, outcome.reason)
            return
        self._failed(batch, outcome)

    def _smaller(self, batch: _Batch, reason: str) -> None:
        oracle, rows = self.oracle, len(batch.rows)
        if rows == 1:
            raise Stopped(f"the {oracle.role} finds a single row too large: {reason}")
        if oracle.largest is None or rows // 2 < oracle.largest:
            oracle.largest = rows // 2
            oracle.watch.say(f"{reason} at {rows} rows: trying {rows // 2}")
        self._later(batch, 0.0)

    def _failed(self, batch: _Batch, outcome: Outcome) -> None:
        oracle, policy = self.oracle, self.oracle.policy
        oracle.failed += 1
        if outcome.fate == Fate.WRONG and not oracle.understood and oracle.failed >= MISUNDERSTOOD:
            raise InvalidInput(outcome.reason)
        rows, tries = batch.rows, batch.tries + 1
        if outcome.wait is not None:
            self._wait_as_asked(outcome.wait, outcome.reason)
        paid = outcome.fate != Fate.REFUSED
        if paid:
            self._spent.update(rows)
            if len(rows) == 1 and self._spent[rows[0]] >= policy.attempts:
                rows = []  # It stays without an answer. Rows in company are no reason to give up: they are parted.
        wait = min(policy.longest_wait, policy.first_wait * 2.0 ** min(tries - 1, 30)) * oracle.jitter.uniform(0.5, 1.0)
        # A row that the server cannot stand must not take its neighbours along, each time.
        halves = [rows[: len(rows) // 2], rows[len(rows) // 2 :]] if paid and tries > 1 else [rows]
        for half in halves:
            if half:
                self._later(_Batch(half, tries), wait)
        if oracle.failed >= policy.failures and not self._flying:
            self._pause(outcome.reason)

    def _wait_as_asked(self, seconds: float, reason: str) -> None:
        oracle, patience = self.oracle, self.oracle.policy.patience
        if seconds > patience:
            raise Stopped(f"the {oracle.role} asks to wait for {seconds:,.0f} s ({reason}): resume then")
        until = oracle.now() + seconds
        if until >= oracle.not_before + oracle.policy.longest_wait / 10:  # Else it is known, or not worth a line.
            oracle.watch.say(f"{reason}: waiting for {seconds:,.0f} s, as the {oracle.role} asks")
        oracle.not_before = max(oracle.not_before, until)

    def _pause(self, reason: str) -> None:
        oracle, policy = self.oracle, self.oracle.policy
        if oracle.paused >= policy.pauses:
            raise Stopped(f"the {oracle.role} failed {oracle.failed} times in a row, at last with: {reason}")
        seconds = policy.pause * 2.0**oracle.paused
        oracle.paused += 1
        oracle.not_before = max(oracle.not_before, oracle.now() + seconds)
        oracle.watch.say(f"{oracle.failed} requests failed in a row ({reason}): waiting for {seconds:g} s")

    def _later(self, batch: _Batch, seconds: float) -> None:
        heapq.heappush(self._again, (self.oracle.now() + seconds, next(self._count), batch))

    def _next_event(self, longest: float | None) -> float:
        """Seconds until something may be sent; at most `longest`, and `longest` if only an answer can help."""
        oracle = self.oracle
        due = None if not self._again else self._again[0][0]
        if self._left:
            due = 0.0
        if due is None:
            return longest or 0.0
        seconds = max(0.0, max(due, oracle.not_before) - oracle.now())
        if longest is None:
            return seconds
        # What is due already waits for a free place, which only an answer makes.
        return min(longest, seconds) if seconds > 0 else longest

    def _wait_for_answers(self) -> None:
        """Waits for what is under way, at most for the policy's grace; the threads write down what they get."""
        end = time.monotonic() + self.oracle.policy.grace
        while self._flying and (left := end - time.monotonic()) > 0:
            try:
                self._results.get(timeout=left)
            except queue.Empty:
                return
            self._flying -= 1

    def _written(self, values: Sequence[Any] | None) -> Sequence[Answer] | None:
        if values is None or not self.scores:
            return values
        return [np.asarray(value, dtype="<f4").tobytes() for value in values]

    def _read(self, answer: Answer) -> Any:
        if not self.scores and isinstance(answer, int) and answer >= 0:
            return answer
        if self.scores and isinstance(answer, bytes) and len(answer) >= 8 and len(answer) % 4 == 0:
            scores = np.frombuffer(answer, dtype="<f4")
            if self.oracle.width in (None, len(scores)) and np.isfinite(scores).all():
                self.oracle.width = len(scores)
                return scores
        raise InvalidInput(
            f"ledger {str(self.oracle.ledger.path)!r} is damaged: it holds an answer that cannot be read"
        )


_STATES = {
    Fate.ANSWERED: State.ANSWERED,
    Fate.WRONG: State.ANSWERED,
    Fate.UNKNOWN: State.UNKNOWN,
    Fate.REFUSED: State.REFUSED,
    Fate.TOO_LARGE: State.REFUSED,
    Fate.DENIED: State.REFUSED,
}


def _by_turns(samples: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """An order (n,) in which the first rows of all samples come first, then the second ones; None if it is so already.

    Rows of the same sample keep their order.
    """
    count = len(samples)
    by_sample = np.argsort(samples, kind="stable")
    begins = np.flatnonzero(np.diff(samples[by_sample], prepend=samples[by_sample[:1]] - 1))
    lengths = np.diff(begins, append=count)
    if not len(lengths) or lengths.max() == 1:
        return None
    turns = np.empty(count, dtype=np.int64)
    turns[by_sample] = np.arange(count) - np.repeat(begins, lengths)
    return None if (np.diff(turns) >= 0).all() else np.argsort(turns, kind="stable")


def _most_frequent(votes: Sequence[Any], *, scores: bool) -> Any:
    """The majority's label, of several the first; of scores the logarithm of the mean probability."""
    if len(votes) == 1:
        return votes[0]
    if scores:
        return np.log(np.exp(np.array(votes, dtype=np.float64)).mean(0).clip(1e-45)).astype(np.float32)
    return Counter(votes).most_common(1)[0][0]
