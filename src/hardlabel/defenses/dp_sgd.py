"""DP-SGD: every sample's gradient is clipped, and noise hides the rest (Opacus)."""

import functools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.nn import functional

from hardlabel import checks, randomness
from hardlabel.checks import InvalidInput
from hardlabel.defenses.base import Defender, Privacy, Training, fixed_epochs
from hardlabel.models.architectures import build
from hardlabel.models.method import Course, Method, Task
from hardlabel.models.train import Recipe

# Orders of Rényi's divergence: those near 1, where the best ones for a large epsilon lie, cost most; whole ones little.
ORDERS = (1.05, 1.1, 1.25, 1.5, 1.75, 2.5, 3.5, *map(float, range(2, 65)), 128.0, 512.0)
TIGHT = 300.0  # Up to this epsilon the tighter accountant's grid is fine enough.
LEAST, MOST = 0.01, 1e6  # Epsilons that noise is sought for.


@dataclass(frozen=True, kw_only=True)
class DPSGD:
    """Trains with differential privacy: with a guarantee (epsilon, delta) for adding or removing one sample.

    Batches are drawn by Poisson sampling, each sample's gradient is clipped to a norm, and Gaussian noise is added: the
    least noise for which the Rényi accountant allows `epsilon`. The epsilon reported comes from a tighter accountant.
    Needs `hardlabel[dp]`. Costs accuracy, much where epsilon is small, and two to ten times the time. Abadi et al.
    (2016).

    Attributes:
        epsilon: Target, from 0.01 to a million.
        delta: Target, strictly between 0 and 1; None for the largest power of ten below 1 / training samples.
        clipping: Largest norm of one sample's gradient, above 0.
        epochs: Number of epochs, 1 or more, whatever the loss does, because the loss is not private.

    Raises:
        InvalidInput: A setting is out of range; in `training`, Opacus is missing or cannot take the network, or no
            noise suffices.

    Example:
        >>> from hardlabel.defenses.dp_sgd import DPSGD
        >>> DPSGD(epsilon=10.0).clipping
        1.0
        >>> DPSGD(epsilon=0.0)
        Traceback (most recent call last):
        hardlabel.checks.InvalidInput: epsilon must lie in [0.01, 1e+06], got 0.0
    """

    epsilon: float
    delta: float | None = None
    clipping: float = 1.0
    epochs: int = 30

    def __post_init__(self) -> None:
        if not LEAST <= self.epsilon <= MOST:
            raise InvalidInput(f"epsilon must lie in [{LEAST:g}, {MOST:g}], got {self.epsilon}")
        if self.delta is not None:
            checks.open_fraction(delta=self.delta)
        checks.positive(clipping=self.clipping)
        checks.at_least(1, epochs=self.epochs)

    def training(self, recipe: Recipe, defender: Defender) -> Training:
        """See `TrainingDefense`. Also refuses a network that Opacus cannot take, and a missing Opacus."""
        if find_spec("opacus") is None:
            raise InvalidInput("defense 'dp-sgd' needs Opacus, which is not installed: pip install 'hardlabel[dp]'")
        size = defender.train_size
        fixed = fixed_epochs(recipe, self.epochs)
        delta = 10.0 ** -len(str(size)) if self.delta is None else self.delta
        rate, per_epoch = min(1.0, recipe.batch_size / size), max(1, round(size / recipe.batch_size))
        steps = fixed.max_epochs * per_epoch
        noise = noise_for(epsilon=self.epsilon, delta=delta, rate=rate, steps=steps)
        method = Private(noise=noise, clipping=self.clipping, rate=rate, per_epoch=per_epoch)
        replaced = method.replaced(recipe.architecture, shape=defender.domain.shape, classes=defender.classes)
        changes = (
            *replaced,
            f"batches by Poisson sampling, {rate * size:g} samples on average",
            f"each gradient clipped to {self.clipping:g}, noise of {noise * self.clipping:.4g} on a batch's sum",
            f"{fixed.max_epochs} epochs, whatever the loss does",
            "noise from PyTorch's generator, not a cryptographic one",
        )
        epsilon, accountant = spent(noise=noise, delta=delta, rate=rate, steps=steps)
        privacy = Privacy(
            epsilon=epsilon,
            delta=delta,
            noise_multiplier=noise,
            sampling_rate=rate,
            steps=steps,
            clipping=self.clipping,
            accountant=accountant,
        )
        return Training(recipe=fixed, method=method, changes=changes, privacy=privacy)


@functools.lru_cache(maxsize=256)
def noise_for(*, epsilon: float, delta: float, rate: float, steps: int) -> float:
    """The least noise multiplier for a target, by bisection of Opacus's accountant; its epsilon is within .5 % of it.

    Raises:
        InvalidInput: No noise up to a million suffices.
    """
    from opacus.accountants.utils import get_noise_multiplier

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # That an order is the largest or smallest asked about: it is no error.
            found: float = get_noise_multiplier(
                target_epsilon=epsilon,
                target_delta=delta,
                sample_rate=rate,
                steps=steps,
                accountant="rdp",
                epsilon_tolerance=epsilon / 200,
                alphas=ORDERS,
            )
    except ValueError as error:
        raise InvalidInput(f"epsilon {epsilon:g} cannot be reached with delta {delta:g}: {error}") from error
    return found


def spent(*, noise: float, delta: float, rate: float, steps: int) -> tuple[float, str]:
    """The epsilon of Opacus's tightest accountant that gives one, and its name.

    Privacy random variables up to TIGHT, where their grid is fine enough; Rényi divergence above, which says more than
    is true.
    """
    from opacus.accountants import PRVAccountant, RDPAccountant

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loose = RDPAccountant()
        loose.history = [(noise, rate, steps)]
        above = float(loose.get_epsilon(delta, alphas=ORDERS))
        if above > TIGHT:
            return above, "Opacus, Rényi divergence"
        tight = PRVAccountant()
        tight.history = [(noise, rate, steps)]
        return float(tight.get_epsilon(delta, eps_error=max(1e-3, above / 500))), "Opacus, privacy random variables"


@dataclass(frozen=True, kw_only=True)
class Private(Method):
    """See `DPSGD`.

    Attributes:
        noise: Standard deviation, in units of the clipping norm.
        clipping: Largest norm of one sample's gradient.
        rate: Chance of each sample to be in a batch.
        per_epoch: Batches.
    """

    noise: float
    clipping: float
    rate: float
    per_epoch: int

    @property
    def description(self) -> str:
        return f"DP-SGD with noise {self.noise:.4g} and clipping {self.clipping:g}"

    def network(self, architecture: str, *, shape: tuple[int, ...], classes: int, seed: int) -> nn.Sequential:
        """The network with group normalisation in place of batch normalisation.

        Raises:
            InvalidInput: Opacus cannot take it; see also `build`.
        """
        from opacus import GradSampleModule
        from opacus.validators import ModuleValidator

        plain = build(architecture, shape=shape, classes=classes, seed=seed)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(randomness.derive(seed, "replaced layers"))
            fixed = ModuleValidator.fix(plain)
        faults = [*ModuleValidator.validate(fixed, strict=False), *GradSampleModule.validate(fixed, strict=False)]
        if faults:
            raise InvalidInput(f"defense 'dp-sgd' cannot take architecture {architecture!r}: {_line(faults[0])}")
        assert isinstance(fixed, nn.Sequential)
        return fixed

    def replaced(self, architecture: str, *, shape: tuple[int, ...], classes: int) -> tuple[str, ...]:
        """Which layers are others than in the network as it is, in words."""
        plain = build(architecture, shape=shape, classes=classes, seed=0)
        fixed = self.network(architecture, shape=shape, classes=classes, seed=0)
        pairs = [(type(a).__name__, type(b).__name__) for a, b in zip(plain.modules(), fixed.modules(), strict=False)]
        changed = [pair for pair in pairs if pair[0] != pair[1]]
        return tuple(f"{changed.count(pair)} layers {pair[0]} became {pair[1]}" for pair in dict.fromkeys(changed))

    def begin(self, task: Task) -> Course:
        return _Hiding(task, self)


class _Hiding(Course):
    def __init__(self, task: Task, method: Private) -> None:
        from opacus import GradSampleModule
        from opacus.optimizers import DPOptimizer

        noise = torch.Generator(task.device).manual_seed(randomness.derive(task.seed, "noise on gradients"))
        # Losses are sums: what is divided by is the expected batch, not this one, whose size tells of its samples.
        self._wrapped = GradSampleModule(task.model, loss_reduction="sum")
        optimizer = DPOptimizer(
            task.optimizer,
            noise_multiplier=method.noise,
            max_grad_norm=method.clipping,
            expected_batch_size=max(1, round(method.rate * len(task.inputs))),
            loss_reduction="mean",
            generator=noise,
        )
        super().__init__(task.model, optimizer)
        self._method, self._seed = method, task.seed

    def batches(self, order: Tensor, lengths: Sequence[int]) -> Sequence[Tensor]:
        """Each sample is in each batch with the same chance, whatever the others do: a batch may be empty."""
        draws = randomness.generator(self._seed, "Poisson sampling", self.epoch)
        inside = torch.rand(self._method.per_epoch, len(order), generator=draws) < self._method.rate
        return [one.nonzero().flatten().to(order.device) for one in inside]

    def step(self, inputs: Tensor, truth: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        logits = self._wrapped(inputs)
        loss = functional.cross_entropy(logits, truth, reduction="sum")
        self.optimizer.zero_grad()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # That inputs need no gradient.
            loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach(), (logits.detach().argmax(1) == truth).sum()

    def end(self) -> None:
        self._wrapped.to_standard_module()


def _line(fault: BaseException) -> str:
    return " ".join(str(fault).split())
