"""DP-SGD on top of transfer learning."""

from dataclasses import dataclass, replace

from torch import nn

from hardlabel.checks import InvalidInput
from hardlabel.defenses.base import Defender, Training
from hardlabel.defenses.dp_sgd import DPSGD, Private
from hardlabel.defenses.transfer_learning import Pretrained, TransferLearning
from hardlabel.models.method import Course, Method, Task
from hardlabel.models.train import Recipe


@dataclass(frozen=True, kw_only=True)
class PrivateTransfer:
    """Starts from a network pretrained on other data, and trains its last layers with differential privacy.

    The best trade-off of the paper: Choquette-Choo et al. (2021), section 6 and figure 5. The pretraining data must be
    public: the guarantee covers the members only. Costs what both cost; see `TransferLearning` and `DPSGD`.

    Attributes:
        epsilon: Target of the guarantee, from 0.01 to a million.
        frozen: Share of the layers before the last that stay as pretrained, in [0, 1]; 1 trains the last only.

    Raises:
        InvalidInput: A setting is out of range; in `training`, the network has batch normalisation, or see
            `TransferLearning` and `DPSGD`.

    Example:
        >>> from hardlabel.defenses.private_transfer import PrivateTransfer
        >>> PrivateTransfer(epsilon=10.0).frozen
        1.0
        >>> PrivateTransfer(epsilon=10.0, frozen=2.0)
        Traceback (most recent call last):
        hardlabel.checks.InvalidInput: frozen must lie in [0, 1], got 2.0
    """

    epsilon: float
    frozen: float = 1.0

    def __post_init__(self) -> None:
        self._parts()  # Each refuses its own values.

    def _parts(self) -> tuple[TransferLearning, DPSGD]:
        return TransferLearning(frozen=self.frozen), DPSGD(epsilon=self.epsilon)

    def training(self, recipe: Recipe, defender: Defender) -> Training:
        """See `TrainingDefense`. Also refuses a network with batch normalisation, and a missing Opacus."""
        first, second = self._parts()
        return _private_transfer(first, second, recipe, defender)


def _private_transfer(first: TransferLearning, second: DPSGD, recipe: Recipe, defender: Defender) -> Training:
    tuned, hidden = first.training(recipe, defender), second.training(recipe, defender)
    assert isinstance(tuned.method, Pretrained)
    assert isinstance(hidden.method, Private)
    if hidden.method.replaced(recipe.architecture, shape=defender.domain.shape, classes=defender.classes):
        raise InvalidInput(
            f"architecture must have no batch normalisation for dp-sgd on top of transfer, got {recipe.architecture!r}"
        )
    return Training(
        recipe=hidden.recipe,
        method=PrivatelyTuned(pretrained=tuned.method, private=hidden.method),
        changes=(
            *tuned.changes,
            *hidden.changes,
            "the data pretrained on are public: the guarantee does not cover them",
        ),
        privacy=hidden.privacy,
    )


@dataclass(frozen=True, kw_only=True)
class PrivatelyTuned(Method):
    """Starts from a pretrained network, and trains the layers that are not frozen by DP-SGD.

    Attributes:
        pretrained: Gives the network, and the layers that stay.
        private: Trains the others.
    """

    pretrained: Pretrained
    private: Private

    @property
    def description(self) -> str:
        return f"{self.pretrained.description}, {self.private.description}"

    def network(self, architecture: str, *, shape: tuple[int, ...], classes: int, seed: int) -> nn.Sequential:
        return self.private.network(architecture, shape=shape, classes=classes, seed=seed)

    def begin(self, task: Task) -> Course:
        tuning = self.pretrained.begin(task)  # Loads the weights and freezes layers; its own steps are not used.
        return _Both(tuning, self.private.begin(task))

    def moved(self, device: object) -> "PrivatelyTuned":
        return replace(self, pretrained=self.pretrained.moved(device))  # type: ignore[arg-type]


class _Both(Course):
    """The course of the second; at the end, the first thaws its layers."""

    def __init__(self, first: Course, second: Course) -> None:
        super().__init__(second.model, second.optimizer)
        self._first, self._second = first, second
        self.batches = second.batches  # type: ignore[method-assign]
        self.step = second.step  # type: ignore[method-assign]

    def begin_epoch(self) -> None:
        self._second.begin_epoch()
        self._first.begin_epoch()  # After it, so that frozen normalisation stays as it is.
        self.epoch = self._second.epoch

    def end(self) -> None:
        self._second.end()
        self._first.end()
