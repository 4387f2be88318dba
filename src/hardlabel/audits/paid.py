"""A target that is paid by the row: what may be spent on it, where its ledger lies, and what an audit of it costs."""

import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from hardlabel.audits.cases.pairs import Read
from hardlabel.audits.game.execution import Execution
from hardlabel.audits.plan import duration
from hardlabel.checks import InvalidInput
from hardlabel.oracles.ledger import LEDGER, Ledger
from hardlabel.oracles.paid import Endpoint, PaidScores, Policy
from hardlabel.runs.folder import CONFIG
from hardlabel.runs.progress import Watch
from hardlabel.runs.settings import TargetSettings
from hardlabel.targets.askable import AskableModel
from hardlabel.targets.coded import Coding
from hardlabel.targets.http.address import is_address, rate_of
from hardlabel.targets.http.client import Http, endpoint_of
from hardlabel.targets.http.secrets import Tokens, header_pairs
from hardlabel.targets.local import LocalEndpoint
from hardlabel.targets.registry import askable

PATIENCE = Policy()  # How long to try; settings say what may be spent.


@dataclass(frozen=True, kw_only=True, eq=False)
class Payment:
    """How a target is paid.

    Attributes:
        policy: What may be spent, and how long to try.
        folder: The run folder, which keeps the ledger.
        watch: Is told of pauses, smaller requests and samples without an answer.
        rate: Most requests in a second; None for no limit.
        price: Of 1,000 rows; None if it is not known.
        accept_change: Whether to go on although the target has changed.
    """

    policy: Policy
    folder: Path
    watch: Watch
    rate: float | None = None
    price: float | None = None
    accept_change: bool = False

    @classmethod
    def of(cls, settings: TargetSettings, execution: Execution) -> "Payment | None":
        """The payment that the settings ask for; None where no ledger is kept."""
        assert settings.target is not None, "the settings have been checked"
        assert settings.out is not None, "the settings have been checked"
        if not settings.ledger and not is_address(settings.target):
            return None
        policy = replace(
            PATIENCE,
            budget=settings.budget,
            max_rows=settings.max_rows,
            votes=settings.votes,
            timeout=settings.timeout,
        )
        return cls(
            policy=policy,
            folder=settings.out,
            watch=execution.watch,
            rate=None if settings.rate is None else rate_of(settings.rate),
            price=settings.price_per_1000,
            accept_change=execution.accept_change,
        )

    def cost(self, rows: int, endpoint: Endpoint) -> str:
        """What so many questions cost, in words. Each is asked as often as there are votes."""
        rows *= self.policy.votes
        limited = self.policy.max_rows is not None and self.policy.max_rows < rows
        if self.policy.max_rows is not None:
            rows = min(rows, self.policy.max_rows)
        calls = math.ceil(rows / endpoint.most_rows)
        words = [f"{rows:,} rows{' (--max-rows)' if limited else ''} in about {calls:,} requests"]
        if self.rate is not None:
            words.append(f"{duration(calls / self.rate)} at the rate")
        if self.price is not None:
            words.append(f"{rows / 1000 * self.price:,.2f} at {self.price:g} for 1,000 rows")
        return ", ".join(words)

    def seconds_per_row(self, seconds: float, endpoint: Endpoint) -> float:
        """Seconds for each question where a request takes `seconds`, several wait at once, and the rate holds."""
        request = max(seconds / endpoint.at_once, 0.0 if self.rate is None else 1 / self.rate)
        return request / endpoint.most_rows * self.policy.votes


class PaidTarget:
    """A target in front of which a ledger is kept. The ledger is opened when the target is first asked.

    A plan without a run has no folder yet: its row is written into a ledger that is thrown away.

    Args:
        endpoint: Makes the requests.
        coding: The terms in which it is asked.
        payment: How it is paid.
    """

    def __init__(self, endpoint: Endpoint, coding: Coding, payment: Payment) -> None:
        self.endpoint, self.coding, self.payment = endpoint, coding, payment

    @cached_property
    def _folder(self) -> "Path | tempfile.TemporaryDirectory[str]":
        folder = self.payment.folder
        return folder if os.path.lexists(folder / CONFIG) else tempfile.TemporaryDirectory(prefix="hardlabel-")

    @cached_property
    def oracle(self) -> PaidScores:
        """The oracle with its ledger.

        Raises:
            InvalidInput: The ledger is another target's.
        """
        folder = self._folder if isinstance(self._folder, Path) else Path(self._folder.name)
        ledger = Ledger(folder / LEDGER)
        names = {count.target for count in ledger.counts()}
        if names and self.endpoint.identity not in names and not self.payment.accept_change:
            ledger.close()
            raise InvalidInput(
                f"target must be the one that the run began with, {sorted(names)[0]}, got {self.endpoint.identity}: "
                "--accept-change goes on all the same"
            )
        return PaidScores(self.endpoint, self.coding, ledger, self.payment.policy, self.payment.watch)

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """See `LabelOracle`."""
        return self.oracle.ask(inputs, ids)

    def told(self) -> str:
        """What was sent so far, in words."""
        counts = [count for count in self.oracle.ledger.counts() if count.target == self.endpoint.identity]
        fates = {name: sum(getattr(count, name) for count in counts) for name in ("sent", "answered", "refused")}
        lost = fates["sent"] - fates["answered"] - fates["refused"]
        votes = self.payment.policy.votes
        each = f" Each question was asked {votes} times; queries count it once." if votes > 1 else ""
        return (
            f"The target was sent {fates['sent']:,} rows: {fates['answered']:,} were answered, {fates['refused']:,} "
            f"refused, and for {lost:,} it is not known.{each}"
        )

    def close(self) -> None:
        """Closes the ledger, if it was opened."""
        if "oracle" in vars(self):
            self.oracle.ledger.close()


class PaidTargetScores(PaidTarget):
    """The same of a target that shows scores."""

    def ask_scores(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """See `ScoreOracle`."""
        return self.oracle.ask_scores(inputs, ids)


def address_of(settings: TargetSettings) -> Http:
    """The target at an address, after the server was asked what it says about the model.

    Raises:
        InvalidInput: A setting breaks a rule, or the server cannot be reached.
    """
    assert settings.target is not None, "the settings have been checked"
    return endpoint_of(
        settings.target,
        protocol=settings.protocol,
        tokens=Tokens.read(header_pairs(settings.header_env)),
        ca=settings.ca,
        rate=None if settings.rate is None else rate_of(settings.rate),
        use_scores=settings.use_scores,
        timeout=settings.timeout,
    ).meet()


def behind_address(
    endpoint: Http, read: Read, payment: Payment, *, device: torch.device, name: str | None, label_map: Sequence[str]
) -> tuple[AskableModel, PaidTarget]:
    """A target at an address as audits ask it; its answers must be labels of the data."""
    classes = 1 + max(int(labels.max()) for _, labels in read.groups.values())
    endpoint.expect(read.coding.labels, classes, label_map)
    kind = PaidTargetScores if endpoint.shows_scores else PaidTarget
    target = kind(endpoint, read.coding, payment)
    model = askable(target, device, role="target", name=name or endpoint.identity)
    return replace(model, fixed=not payment.accept_change), target


def with_ledger(
    model: AskableModel, payment: Payment, *, device: torch.device, name: str | None
) -> tuple[AskableModel, PaidTarget]:
    """A model of this process, in front of which a ledger is kept: it is asked as an oracle is."""
    identity = name or model.weights or "model"
    home = device if model.torch_model is not None else torch.device("cpu")
    endpoint = LocalEndpoint(_On(model, home), _On(model, home) if model.scores is not None else None, identity)
    kind = PaidTarget if model.scores is None else PaidTargetScores
    target = kind(endpoint, Coding(), payment)
    paid = askable(target, device, role="target", name=name or model.weights)
    return replace(paid, fixed=not payment.accept_change), target


class _On:
    """A model that is asked on its own device."""

    def __init__(self, model: AskableModel, device: torch.device) -> None:
        self._model, self._device = model, device

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        return self._model.labels.ask(inputs.to(self._device), ids.to(self._device)).cpu()

    def ask_scores(self, inputs: Tensor, ids: Tensor) -> Tensor:
        assert self._model.scores is not None, "only models with scores are asked for them"
        return self._model.scores.ask_scores(inputs.to(self._device), ids.to(self._device)).cpu()
