"""Pay for every query: who asked for what is counted before it is sent, and overspending is refused.

An `Account` belongs to one attacker. `ChargedLabels` and `ChargedScores` put it in front of an oracle.
Queries that belong to no sample (labelling a shadow set, probing the batch size) go to a named overhead.
"""

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.oracles.base import LabelOracle, ScoreOracle
from hardlabel.oracles.purpose import Purpose, asked_for, current

Ints = NDArray[np.int64]


class BudgetExceeded(RuntimeError):
    """A batch would overspend; none of it was sent."""


class Account:
    """What one attacker has spent, per sample, on overhead, and in all.

    Args:
        per_sample: Most queries charged to one sample; None for no limit.
        in_all: Most queries in all, overhead included; None for no limit.
        on_spent: Called with the number of queries each time some are charged, for progress.
        purpose: What is asked for, in a target's ledger.
    """

    def __init__(
        self,
        *,
        per_sample: int | None = None,
        in_all: int | None = None,
        on_spent: Callable[[int], None] | None = None,
        purpose: Purpose | None = None,
    ) -> None:
        for name, limit in (("per_sample", per_sample), ("in_all", in_all)):
            if limit is not None:
                checks.at_least(1, **{name: limit})
        self._per_sample, self._in_all, self._on_spent = per_sample, in_all, on_spent
        self.purpose = purpose or current()
        # Samples charged so far, ascending, and their queries. The largest integer ends the list from the start,
        # charged or not, so that a search for any id ends on an entry.
        self._ids, self._spent = np.array([np.iinfo(np.int64).max]), np.zeros(1, dtype=np.int64)
        self._overhead: Counter[str] = Counter()
        self._total = 0

    @property
    def total(self) -> int:
        """Queries charged so far, overhead included."""
        return self._total

    @property
    def overhead(self) -> Mapping[str, int]:
        """Queries that belong to no sample, by what they were for."""
        return dict(self._overhead)

    def incomplete(self, ids: Tensor) -> Tensor:
        """Which of these samples lack answers, because rows of unknown fate used up their budget; bool (n,)."""
        return torch.isin(ids.cpu(), torch.tensor(sorted(self.purpose.incomplete), dtype=torch.int64))

    def spent(self, ids: Tensor) -> Tensor:
        """Queries charged to each of these samples, int64 (n,)."""
        samples = _array(ids)
        places = np.searchsorted(self._ids, samples)
        return torch.from_numpy(np.where(self._ids[places] == samples, self._spent[places], 0))

    def charge(self, ids: Tensor) -> None:
        """Charges one query to each entry of `ids` (q,).

        Raises:
            BudgetExceeded: A sample or the whole would overspend; nothing was charged.
        """
        # Signals ask about one sample many times in a row: a search per run is much less than one per row.
        samples, lengths = map(_array, torch.unique_consecutive(ids.cpu(), return_counts=True))
        asked = np.zeros_like(self._spent)
        places = np.searchsorted(self._ids, samples)
        if not np.array_equal(self._ids[places], samples):
            self._enter(samples)
            asked, places = np.zeros_like(self._spent), np.searchsorted(self._ids, samples)
        np.add.at(asked, places, lengths)
        after = self._spent + asked
        if self._per_sample is not None and after.max() > self._per_sample:
            first = int((after > self._per_sample).argmax())
            raise BudgetExceeded(
                f"sample {self._ids[first]} spent {self._spent[first]} of {self._per_sample} queries, "
                f"asked for {asked[first]} more"
            )
        self._within_all(len(ids))
        self._spent = after
        self._charged(len(ids))

    def charge_overhead(self, purpose: str, queries: int) -> None:
        """Charges `queries` to the overhead named `purpose`.

        Raises:
            BudgetExceeded: The whole would overspend; nothing was charged.
        """
        self._within_all(queries)
        self._overhead[purpose] += queries
        self._charged(queries)

    def _enter(self, samples: Ints) -> None:
        """Gives those never charged a place, with 0 queries."""
        old, spent = self._ids, self._spent
        self._ids = np.union1d(old, samples)
        self._spent = np.zeros(len(self._ids), dtype=np.int64)
        self._spent[np.searchsorted(self._ids, old)] = spent

    def _within_all(self, more: int) -> None:
        if self._in_all is not None and self._total + more > self._in_all:
            raise BudgetExceeded(f"spent {self._total} of {self._in_all} queries in all, asked for {more} more")

    def _charged(self, queries: int) -> None:
        self._total += queries
        if self._on_spent is not None:
            self._on_spent(queries)


def _array(ids: Tensor) -> Ints:
    return ids.cpu().numpy().astype(np.int64, copy=False)


class ChargedLabels:
    """A LabelOracle that charges an account before it asks; with `overhead`, ids do not matter.

    Answers lie on the inputs' device, wherever the inner oracle left them. Whether they are labels is checked where a
    model is made askable (`CheckedLabels`), for all who ask.

    Raises:
        BudgetExceeded: On asking: the batch would overspend, and was not sent.
    """

    def __init__(self, inner: LabelOracle, account: Account, *, overhead: str | None = None) -> None:
        self._inner, self._account, self._overhead = inner, account, overhead

    def aside(self, purpose: str) -> "ChargedLabels":
        """The same oracle and account for questions about no sample, charged to the overhead named `purpose`."""
        return ChargedLabels(self._inner, self._account, overhead=purpose)

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        _charge(self._account, inputs, ids, self._overhead)
        purpose = self._account.purpose if self._overhead is None else Purpose(self._overhead)
        with asked_for(purpose):
            # An oracle may answer elsewhere, on the CPU as a rule.
            return self._inner.ask(inputs, ids).to(inputs.device)


class ChargedScores:
    """A ScoreOracle that charges an account before it asks; answers lie on the inputs' device."""

    def __init__(self, inner: ScoreOracle, account: Account) -> None:
        self._inner, self._account = inner, account

    def ask_scores(self, inputs: Tensor, ids: Tensor) -> Tensor:
        _charge(self._account, inputs, ids, None)
        with asked_for(self._account.purpose):
            return self._inner.ask_scores(inputs, ids).to(inputs.device)


def _charge(account: Account, inputs: Tensor, ids: Tensor, overhead: str | None) -> None:
    # Before sending: the server sees, and bills, even a call that fails.
    if len(inputs) != len(ids):
        raise InvalidInput(f"every input needs one id, got {len(inputs)} inputs and {len(ids)} ids")
    if overhead is None:
        account.charge(ids)
    else:
        account.charge_overhead(overhead, len(inputs))
