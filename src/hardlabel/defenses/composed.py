"""Defenses named as text: one at a level, or DP-SGD on top of transfer learning."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn

from hardlabel.checks import InvalidInput
from hardlabel.defenses.base import Defender, Training
from hardlabel.defenses.dp_sgd import DPSGD, Private
from hardlabel.defenses.table import Strength, chosen
from hardlabel.defenses.trainer import Defended, defended
from hardlabel.defenses.transfer_learning import Pretrained, TransferLearning
from hardlabel.models.method import Course, Method, Task
from hardlabel.models.train import Recipe
from hardlabel.models.trainers import RecipeTrainer, Trainer


def defended_by(words: str, trainer: Trainer, defender: Defender) -> Defended:
    """The trainer of models under a defense.

    Args:
        words: NAME or NAME=LEVEL from the table of defenses, or transfer=LEVEL+dp-sgd=LEVEL.
        trainer: Trains without a defense.
        defender: What a defense may use.

    Raises:
        InvalidInput: A name or level is wrong, two other defenses are joined, or see `defended`.
    """
    strengths = strengths_named(words)
    if len(strengths) == 1:
        return defended(strengths[0], trainer, defender)
    first, second = (strength.defense for strength in strengths)
    if not (isinstance(first, TransferLearning) and isinstance(second, DPSGD)):
        raise InvalidInput(f"defenses joined by + must be transfer and dp-sgd, in this order, got {words!r}")
    if not isinstance(trainer, RecipeTrainer):
        raise InvalidInput(f"trainer must be a hardlabel.Recipe for {words!r}, got {trainer.description}")
    training = _private_transfer(first, second, trainer.recipe, defender)
    made = replace(trainer, recipe=training.recipe, method=training.method)
    return Defended(trainer=made, bare=made, training=training)


def strengths_named(words: str) -> Sequence[Strength]:
    """One defense, or two joined by "+", each at the level named.

    Raises:
        InvalidInput: A name or level is wrong, or there are more than two.

    Example:
        >>> from hardlabel.defenses.composed import strengths_named
        >>> [strength.name for strength in strengths_named("transfer=1+dp-sgd=100")]
        ['transfer 1', 'dp-sgd 100']
    """
    strengths = []
    for part in words.split("+"):
        name, _, level = part.partition("=")
        try:
            levels = {name: [float(level)]} if level else None
        except ValueError as error:
            raise InvalidInput(f"defense must be NAME or NAME=LEVEL with a number, got {part!r}") from error
        made = chosen([name], levels)
        if len(made) != 1:
            raise InvalidInput(f"defense must name one level, as in {name}={made[0].row.levels[0]:g}, got {part!r}")
        strengths += made
    if len(strengths) > 2:
        raise InvalidInput(f"defenses joined by + must be two, got {words!r}")
    return strengths


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
