"""The case of an audit by canaries: a training set with made-up points, each planted or left out by a coin."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardlabel import checks, randomness
from hardlabel.audits.arguments import checked
from hardlabel.audits.cases.case import classes_of
from hardlabel.audits.cases.from_arrays import whole
from hardlabel.audits.cases.pairs import Pair
from hardlabel.audits.cases.plans import FEWEST_SHADOW
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Domain
from hardlabel.data.samples import Samples, concatenate
from hardlabel.defenses.base import Defender
from hardlabel.defenses.dp_sgd import DPSGD
from hardlabel.metrics.one_run import coins
from hardlabel.models.architectures import usual_architecture
from hardlabel.models.train import Recipe, check_float32
from hardlabel.models.trainers import RecipeTrainer, Trainer
from hardlabel.records.canaries import KINDS
from hardlabel.records.defenses import Guarantee
from hardlabel.renamed import renamed
from hardlabel.runs.settings import CANARY_KINDS, CanariesSettings

Bools = NDArray[np.bool_]
FEWEST_TRAININGS = 20  # Fewer prove nothing, since half of them are used to choose the event.
ADVISER = Recipe(max_epochs=30)  # Trains the auditor's own network, for crafted canaries.


@dataclass(frozen=True, kw_only=True)
class Planting:
    """Which canaries are planted, and how; see `hardlabel.audit_canaries` for the fields."""

    canaries: int
    kinds: Sequence[str]
    trainings: int
    epsilon: float | None
    delta: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Planted:
    """A training set with canaries in it.

    Attributes:
        base: The training samples that are not canaries, n of them; inputs (n, *shape).
        canaries: All canaries, planted or not, m of them; inputs (m, *shape).
        kinds: Kind of each canary, (m,): "mislabelled", "rare" or "crafted".
        inside: Whether each canary is planted, (m,) bool, by an independent fair coin.
        seed: Fixes the coins.
        notes: What was dropped of the data.

    Example:
        >>> import hardlabel
        >>> from sklearn.datasets import load_digits
        >>> digits = load_digits()
        >>> data = digits.images[:, None] / 16, digits.target
        >>> planted = hardlabel.plant(data, canaries=30, kinds=["mislabelled"], train_size=100)
        >>> len(planted.base), len(planted.canaries)
        (100, 30)
        >>> len(planted.training) - 100 == int(planted.inside.sum())
        True
    """

    base: Samples
    canaries: Samples
    kinds: tuple[str, ...]
    inside: Bools
    seed: int
    notes: tuple[str, ...] = ()

    @property
    def training(self) -> Samples:
        """The samples to train on: the base and the planted canaries, in random order."""
        return concatenate(self.base, self.canaries).take(self.rows(self.inside))

    def rows(self, inside: Bools) -> Tensor:
        """Rows to train on with these canaries, in random order; numbers run through the base, then the canaries."""
        planted = len(self.base) + torch.from_numpy(inside).nonzero().flatten()
        rows = torch.cat([torch.arange(len(self.base)), planted])
        return rows[torch.randperm(len(rows), generator=randomness.generator(self.seed, "planted order"))]


@renamed(samples="data")
@checked(CanariesSettings)
def plant(
    data: Pair | Samples,
    *,
    canaries: int,
    kinds: Sequence[str] = CANARY_KINDS,
    train_size: int | None = None,
    domain: Domain | None = None,
    strict: bool = False,
    seed: int = 0,
) -> Planted:
    """A training set with canaries. Train your own model on it, then call `audit_planted`.

    Args:
        data: (inputs, labels) to train on and to make canaries from, arrays or tensors (n, *shape) and (n,). Repeated
            inputs are dropped; the notes say which.
        canaries: Number of canaries; the kinds take turns. About half of the canaries are planted.
        kinds: "mislabelled" (a sample with a wrong label), "rare" (a random input with a random label) and "crafted" (a
            noisy sample with the label that a network finds least likely), at least one of them.
        train_size: Number of training samples without canaries; None for half of the data.
        domain: Legal inputs; None to infer the domain.
        strict: Whether to refuse repeated inputs instead of dropping them with a note.
        seed: Fixes every random draw, the coins too.

    Raises:
        InvalidInput: An argument breaks a rule.

    Example:
        >>> import hardlabel
        >>> from sklearn.datasets import load_digits
        >>> digits = load_digits()
        >>> data = digits.images[:, None] / 16, digits.target
        >>> planted = hardlabel.plant(data, canaries=30, kinds=["mislabelled", "rare"], train_size=100)
        >>> planted.kinds[:4]
        ('mislabelled', 'rare', 'mislabelled', 'rare')
    """
    notes: tuple[str, ...] = ()
    if isinstance(data, Samples):
        everyone = data
    else:
        given = whole(data, domain, seed=seed, strict=strict)
        everyone, notes = given.samples, given.notes
    size = base_size(everyone, canaries, kinds, train_size)
    order = torch.randperm(len(everyone), generator=randomness.generator(seed, "planted"))
    base, rest = everyone.take(order[:size]), everyone.take(order[size:])
    kind_of = tuple(kinds[number % len(kinds)] for number in range(canaries))
    return Planted(
        base=base,
        canaries=_canaries(rest, kind_of, classes=classes_of(everyone), seed=seed),
        kinds=kind_of,
        inside=coins(canaries, seed=seed),
        seed=seed,
        notes=notes,
    )


def base_size(everyone: Samples, canaries: int, kinds: Sequence[str], train_size: int | None) -> int:
    """Number of training samples without canaries.

    Raises:
        InvalidInput: An argument breaks a rule.
    """
    for kind in kinds:
        checks.one_of(KINDS, kinds=kind)
    if not kinds:
        raise InvalidInput("kinds must name at least one kind of canary, got none")
    checks.at_least(len(kinds), canaries=canaries)
    size = len(everyone) // 2 if train_size is None else train_size
    checks.at_least(FEWEST_SHADOW, train_size=size)
    if len(everyone) < size + max(canaries, FEWEST_SHADOW):
        raise InvalidInput(
            f"data must hold train_size + canaries = {size + max(canaries, FEWEST_SHADOW)} inputs, got {len(everyone)}"
        )
    return size


def _canaries(rest: Samples, kinds: Sequence[str], *, classes: int, seed: int) -> Samples:
    """One canary of each of the kinds (m,), from samples that no model is trained on."""
    count = len(kinds)
    inputs, labels = rest.inputs[:count].clone(), rest.labels[:count].clone()
    draws = randomness.generator(seed, "canaries")
    wrong_labels = (labels + 1 + torch.randint(0, classes - 1, (count,), generator=draws)) % classes
    random_inputs = rest.domain.random(count, randomness.generator(seed, "rare canaries"))
    random_labels = torch.randint(0, classes, (count,), generator=draws)
    names = ("mislabelled", "rare", "crafted")
    mislabelled, rare, crafted = (torch.tensor([kind == name for kind in kinds]) for name in names)
    labels[mislabelled] = wrong_labels[mislabelled]
    inputs[rare], labels[rare] = random_inputs[rare], random_labels[rare]
    if bool(crafted.any()):
        level, noise = rest.domain.noise_levels[-1], randomness.generator(seed, "crafted canaries")
        for row in crafted.nonzero().flatten().tolist():  # Each canary gets its own noise.
            source = rest.domain.noise_source(1, noise)
            inputs[row] = rest.domain.noisy(inputs[row : row + 1], source, level)[0, 0]
        labels[crafted] = _least_likely(rest, inputs[crafted], classes=classes, seed=seed)
    return Samples(ids=rest.ids[:count], inputs=inputs, labels=labels, domain=rest.domain)


def _least_likely(rest: Samples, inputs: Tensor, *, classes: int, seed: int) -> Tensor:
    """For each input, the class (n,) that a network trained on `rest` finds least likely."""
    recipe = replace(ADVISER, architecture=usual_architecture(rest.domain))
    trainer = RecipeTrainer(recipe=recipe, classes=classes)
    model = trainer.fit(rest, randomness.derive(seed, "adviser")).model
    assert isinstance(model, torch.nn.Module)
    with torch.inference_mode():
        least_likely: Tensor = model(inputs).argmin(1)
    return least_likely.clone()


@dataclass(frozen=True, kw_only=True, eq=False)
class CanariesCase:
    """What is audited, checked; nothing is trained yet.

    Attributes:
        data: Name of the data set.
        everyone: All samples.
        trainer: Trains the models.
        planting: Which canaries; over many trainings there is only one.
        size: Number of training samples without canaries.
        delta: Delta of the bounds and of the guarantee.
        guarantee: The guarantee of private training, or None.
        notes: What was dropped of the data.
    """

    data: str
    everyone: Samples
    trainer: Trainer
    planting: Planting
    size: int
    delta: float
    guarantee: Guarantee | None
    notes: tuple[str, ...] = ()


def case_of_canaries(
    everyone: Samples,
    trainer: Trainer,
    planting: Planting,
    *,
    data: str,
    train_size: int | None,
    notes: tuple[str, ...] = (),
    device: torch.device,
    seed: int,
) -> CanariesCase:
    """The case, or an error that says which argument breaks a rule.

    Raises:
        InvalidInput: An argument breaks a rule.
    """
    if planting.trainings != 1:
        checks.at_least(FEWEST_TRAININGS, trainings=planting.trainings)
        planting = replace(planting, canaries=1, kinds=planting.kinds[:1])
    size = base_size(everyone, planting.canaries, planting.kinds, train_size)
    delta = 10.0 ** -len(str(size)) if planting.delta is None else planting.delta
    checks.open_fraction(delta=delta)
    guarantee = None
    if planting.epsilon is not None:
        trained = size + planting.canaries // 2
        trainer, guarantee = _private(trainer, planting.epsilon, delta, everyone, trained, device=device, seed=seed)
    return CanariesCase(
        data=data,
        everyone=everyone,
        trainer=trainer,
        planting=planting,
        size=size,
        delta=delta,
        guarantee=guarantee,
        notes=notes,
    )


def _private(
    trainer: Trainer, epsilon: float, delta: float, everyone: Samples, size: int, *, device: torch.device, seed: int
) -> tuple[Trainer, Guarantee]:
    """The trainer changed to DP-SGD, and the guarantee that its accountant computes."""
    if not isinstance(trainer, RecipeTrainer):
        raise InvalidInput(f"epsilon needs trainer to be a hardlabel.Recipe, got {trainer.description}")
    check_float32(trainer.recipe)
    defender = Defender(
        domain=everyone.domain, classes=trainer.classes, train_size=size, device=device, store=trainer.store, seed=seed
    )
    training = DPSGD(epsilon=epsilon, delta=delta).training(trainer.recipe, defender)
    assert training.privacy is not None
    return replace(trainer, recipe=training.recipe, method=training.method), Guarantee(**vars(training.privacy))
