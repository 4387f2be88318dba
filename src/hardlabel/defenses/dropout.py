"""Dropout: dense layers see a random part of their inputs in training."""

from dataclasses import dataclass

from torch import nn

from hardlabel.checks import InvalidInput
from hardlabel.defenses.base import Defender, Training
from hardlabel.models.architectures import build
from hardlabel.models.method import Method
from hardlabel.models.train import Recipe


@dataclass(frozen=True, kw_only=True)
class Dropout:
    """In training, sets each input of a dense layer to 0 at random, but not in a layer that sees the sample itself.

    Costs more epochs. Srivastava et al. (2014); Choquette-Choo et al. (2021).

    Attributes:
        rate: The probability, strictly between 0 and 1.

    Raises:
        InvalidInput: `rate` is not between 0 and 1; in `training`, the network has no hidden layer.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Recipe
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.dropout import Dropout
        >>> defender = Defender(domain=Box((4,)), classes=2, train_size=100, device=torch.device("cpu"))
        >>> training = Dropout(rate=0.5).training(Recipe(architecture="fc"), defender)
        >>> training.method.network("fc", shape=(4,), classes=2, seed=0)[-2]
        Dropout(p=0.5, inplace=False)
    """

    rate: float

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise InvalidInput(f"rate must lie strictly between 0 and 1, got {self.rate}")

    def training(self, recipe: Recipe, defender: Defender) -> Training:
        """See `TrainingDefense`."""
        method = Dropped(rate=self.rate)
        method.network(recipe.architecture, shape=defender.domain.shape, classes=defender.classes, seed=0)
        return Training(recipe=recipe, method=method)


@dataclass(frozen=True, kw_only=True)
class Dropped(Method):
    """See `Dropout`."""

    rate: float

    @property
    def description(self) -> str:
        return f"dropout {self.rate:g}"

    def network(self, architecture: str, *, shape: tuple[int, ...], classes: int, seed: int) -> nn.Sequential:
        """The network with dropout; first weights are those without.

        Raises:
            InvalidInput: No dense layer follows another one; see also `build`.
        """
        plain = build(architecture, shape=shape, classes=classes, seed=seed)
        layers: list[nn.Module] = []
        for layer in plain:
            hidden = any(len(list(before.parameters())) for before in layers)
            if isinstance(layer, nn.Linear) and hidden:
                layers.append(nn.Dropout(self.rate))
            layers.append(layer)
        if len(layers) == len(plain):
            raise InvalidInput(f"defense 'dropout' needs a network with a hidden layer, got {architecture!r}")
        return nn.Sequential(*layers)
