"""What a signal is: settings that prepare a plan, and a plan that measures samples through an oracle.

The same plan measured on the target costs queries; measured on the attacker's own models it costs only
computing time. A signal that sees labels gets a LabelOracle, a baseline gets a ScoreOracle; the type of its
plan says which.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from hardlabel.data.samples import Samples
from hardlabel.oracles.base import VALUES_IN_MEMORY, LabelOracle, PaidLabels, ScoreOracle

VALUES_IN_CACHE = 2**21  # Float32 values, 8 MiB, that a processor's cache holds beside a network's own;
FEWEST_ROWS = 1024  # but so many rows at least, for a processor may have many cores.
ROOM_ON_CARD = 4  # Times VALUES_IN_MEMORY on a graphics card, which waits between two asks for what is sent to it.


class Access(StrEnum):
    """What the attacker sees of an answer."""

    LABEL = "label"
    SCORES = "scores"


class Measurement(NamedTuple):
    """What a plan found.

    Attributes:
        values: (n, d) float32; higher means likelier a member wherever one column stands alone.
        queries: Queries charged to each sample, (n,) int64.
        complete: (n,) bool; False where a search ended without what it looked for (no boundary in the box),
            in which case the value is the bound that is known to hold.
    """

    values: Tensor
    queries: Tensor
    complete: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Shadows:
    """Models the attacker trained with and without the samples asked about.

    A signal that crafts its queries on them must not be measured on them as well: it would look stronger there
    than on a target that had no part in the crafting.

    Attributes:
        models: Networks that map inputs to logits.
        inside: (K, n) bool, whether model k was trained on sample i.
    """

    models: tuple[nn.Module, ...]
    inside: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Knowledge:
    """What the attacker owns besides the samples it asks about.

    Attributes:
        population: Points of the same domain that are not asked about; start points, random references.
        crafters: Networks of the attacker's, trained on none of the samples asked about and used to choose
            queries; never references as well.
        second: More of them, trained in another way, for a second opinion; may be empty.
        shadows: Models trained with and without the samples asked about, for signals that craft on them; None
            where there are none, or none that show gradients.
        fit: Trains a network of the attacker's on samples with a seed, or None where nobody can.
    """

    population: Samples | None = None
    crafters: tuple[nn.Module, ...] = ()
    second: tuple[nn.Module, ...] = ()
    shadows: Shadows | None = None
    fit: Callable[[Samples, int], nn.Module] | None = None


class LabelPlan(Protocol):
    """Queries chosen for given samples, to be measured through labels."""

    @property
    def queries(self) -> tuple[int, int]:
        """Fewest and most queries per sample, known before anything is sent."""
        ...

    def measure(self, oracle: PaidLabels) -> Measurement:
        """Asks `oracle` about the plan's samples, in their order."""
        ...


class Beliefs(Protocol):
    """What the attacker expects of each scalar of a signal, member or not: two normal distributions per sample.

    Each is (n, c), float64, for c scalars (a censored pair of columns is one). Where they speak of something that grows
    with the scalar instead of the scalar itself, a method `rescaled(edges (e,)) -> (c, e)` tells what edges become.
    """

    @property
    def mean_in(self) -> Tensor: ...

    @property
    def deviation_in(self) -> Tensor: ...

    @property
    def mean_out(self) -> Tensor: ...

    @property
    def deviation_out(self) -> Tensor: ...


@runtime_checkable
class SequentialPlan(LabelPlan, Protocol):
    """A plan that asks fewer questions once it knows what to expect.

    Measured as it is, on the attacker's own models, it finds exact values; `believing` gives the plan for the target.
    """

    def believing(self, beliefs: Beliefs) -> LabelPlan:
        """The plan whose every question tells most about membership under `beliefs`."""
        ...

    def replay(self, beliefs: Beliefs, values: Tensor) -> Tensor:
        """What that plan would find, (n, d), on a model whose exact values (n, d) are known; asks nothing."""
        ...


class ScorePlan(Protocol):
    """Queries chosen for given samples, to be measured through confidence vectors."""

    @property
    def queries(self) -> tuple[int, int]:
        """Fewest and most queries per sample, known before anything is sent."""
        ...

    def measure(self, oracle: ScoreOracle) -> Measurement:
        """Asks `oracle` about the plan's samples, in their order."""
        ...


class LabelSignal(Protocol):
    """A signal that sees labels only.

    One whose values are known up to an interval says so in a class attribute `censored = True` and gives pairs of
    columns, lower and upper edge. One that measures all samples together, so that they cannot be asked about in
    chunks, says `whole = True`; of all others a sample's value must not depend on its company.
    """

    access: ClassVar[Access]

    def prepare(self, samples: Samples, knowledge: Knowledge, seed: int) -> LabelPlan:
        """Chooses the queries; asks nothing.

        Raises:
            InvalidInput: The signal does not suit the samples' domain.
        """
        ...


class ScoreSignal(Protocol):
    """A signal that sees confidence vectors: the baselines."""

    access: ClassVar[Access]

    def prepare(self, samples: Samples, knowledge: Knowledge, seed: int) -> ScorePlan:
        """Chooses the queries; asks nothing."""
        ...


Signal = LabelSignal | ScoreSignal


def chunks(rows: int, *, copies: int, shape: tuple[int, ...], device: torch.device | None = None) -> Iterator[slice]:
    """Slices of `rows` samples such that `copies` inputs of each fit into VALUES_IN_MEMORY.

    On a `device` that is a processor, into its cache: what is built there need not come back from memory to be asked.
    On a graphics card, into ROOM_ON_CARD times as much.
    """
    width, room = int(torch.Size(shape).numel()), VALUES_IN_MEMORY
    if device is not None and device.type == "cpu":
        room = min(room, max(VALUES_IN_CACHE, FEWEST_ROWS * width))
    if device is not None and device.type == "cuda":
        room *= ROOM_ON_CARD
    size = max(1, room // max(1, copies * width))
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def keeps_label(oracle: LabelOracle, inputs: Tensor, samples: Samples) -> Tensor:
    """Whether copies (n, c, *shape) of n samples get the samples' true labels, bool (n, c); n * c queries."""
    count, copies = inputs.shape[:2]
    labels = oracle.ask(inputs.flatten(0, 1), samples.ids.repeat_interleave(copies))
    return labels.reshape(count, copies) == samples.labels[:, None]


def survival(
    oracle: LabelOracle,
    samples: Samples,
    *,
    copies: int,
    make: Callable[[Tensor, slice], Tensor],
) -> Tensor:
    """Which of `copies` copies of each sample keep its true label, bool (n, copies).

    `make(inputs, columns)` returns copies (m, len(columns), *shape) of `inputs` (m, *shape) for a slice of the
    copies. Both samples and copies are taken in blocks, so memory is bounded whatever their numbers.
    """
    shape, device = samples.domain.shape, samples.device
    kept = torch.zeros(len(samples), copies, dtype=torch.bool, device=device)
    for columns in chunks(copies, copies=1, shape=shape, device=device):
        width = columns.stop - columns.start
        for rows in chunks(len(samples), copies=width, shape=shape, device=device):
            part = samples.take(rows)
            kept[rows, columns] = keeps_label(oracle, make(part.inputs, columns), part)
    return kept
