"""Transfer learning: a network pretrained on other data, of which some or all layers learn on."""

from dataclasses import dataclass, field, replace

import torch
from torch import nn

from hardlabel import checks, randomness
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples
from hardlabel.defenses.base import Defender, Training
from hardlabel.models.method import Course, Method, Task
from hardlabel.models.model_store import UNTOLD, trained
from hardlabel.models.train import Recipe
from hardlabel.store import Store


@dataclass(frozen=True, kw_only=True)
class TransferLearning:
    """Starts from a network pretrained on other data; only its last layers are trained on the members.

    Pretrains by the same recipe, once for all models, on `Defender.pretraining`, or on the reserve where there is none.
    The last layer is always new. Costs one more training in all, and data; saves epochs. Choquette-Choo et al. (2021),
    who pretrain on CIFAR-100 and train the last layer, or all.

    Attributes:
        frozen: Share of the layers before the last that stay as pretrained, in [0, 1]: 0 trains all, 1 the last only.

    Raises:
        InvalidInput: `frozen` is not in [0, 1]; in `training`, the network has a single layer, the data to pretrain on
            have another shape, or there are none.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Recipe, Samples
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.transfer_learning import TransferLearning
        >>> inputs, labels = torch.rand(20, 4), torch.arange(20) % 2
        >>> reserve = Samples(ids=torch.arange(20), inputs=inputs, labels=labels, domain=Box((4,)))
        >>> defender = Defender(
        ...     domain=Box((4,)), classes=2, train_size=100, reserve=reserve, device=torch.device("cpu")
        ... )
        >>> training = TransferLearning(frozen=1.0).training(Recipe(architecture="fc"), defender)
        >>> training.method.description
        'pretrained, 100 % of the layers before the last frozen'
    """

    frozen: float

    def __post_init__(self) -> None:
        checks.probability(frozen=self.frozen)

    def training(self, recipe: Recipe, defender: Defender) -> Training:
        """See `TrainingDefense`."""
        return transferred(recipe, defender, frozen=self.frozen, name="transfer")


def transferred(recipe: Recipe, defender: Defender, *, frozen: float, name: str) -> Training:
    """The training of `TransferLearning`, for the defense of this name.

    Raises:
        InvalidInput: The network has a single layer, the data to pretrain on have another shape, or there are none.
    """
    source = defender.pretraining
    if source is None:
        source, told = defender.needs_reserve(name), "samples of the same kind that nobody attacks"
    else:
        told = f"{len(source)} samples of other data"
        if source.domain.shape != defender.domain.shape:
            raise InvalidInput(
                f"pretraining data must have the shape {defender.domain.shape}, got {source.domain.shape}"
            )
    method = Pretrained(
        recipe=recipe,
        source=source,
        source_classes=max(2, int(source.labels.max()) + 1),
        frozen=frozen,
        first_seed=randomness.derive(defender.seed, "pretraining"),
        store=defender.store,
    )
    blank = method.network(recipe.architecture, shape=defender.domain.shape, classes=defender.classes, seed=0)
    if len(_layers(blank)) < 2:
        raise InvalidInput(f"defense {name!r} needs a network of two layers or more, got {recipe.architecture!r}")
    kept = method.kept(blank)
    changes = (
        f"pretrained on {told}",
        f"{kept} of the {len(_layers(blank)) - 1} layers before the last stay as pretrained",
    )
    return Training(recipe=recipe, method=method, changes=changes)


@dataclass(frozen=True, kw_only=True)
class Pretrained(Method):
    """See `TransferLearning`."""

    recipe: Recipe
    source: Samples = field(repr=False)
    source_classes: int
    frozen: float
    first_seed: int
    store: Store | None = field(default=None, repr=False, metadata={UNTOLD: True})
    base: nn.Sequential | None = field(default=None, repr=False, metadata={UNTOLD: True})  # Where it is sent along.

    @property
    def description(self) -> str:
        return f"pretrained, {100 * self.frozen:.0f} % of the layers before the last frozen"

    def kept(self, model: nn.Sequential) -> int:
        """How many layers stay as pretrained."""
        return round(self.frozen * (len(_layers(model)) - 1))

    def begin(self, task: Task) -> Course:
        base = self.base or self._pretrained(task.device)
        with torch.no_grad():
            for new, old in zip(list(task.model)[:-1], list(base)[:-1], strict=True):
                new.load_state_dict(old.state_dict())
        return _Tuned(task, _layers(task.model)[: self.kept(task.model)])

    def moved(self, device: torch.device) -> "Pretrained":
        """The pretrained network in place of the data: it is trained once, here."""
        base = self._pretrained(device).cpu()
        return replace(self, source=self.source.take(slice(0, 0)), store=None, base=base)

    def _pretrained(self, device: torch.device) -> nn.Sequential:
        return trained(
            self.recipe,
            self.source,
            classes=self.source_classes,
            seed=self.first_seed,
            device=device,
            store=self.store,
        ).model


def _layers(model: nn.Sequential) -> list[nn.Module]:
    """The parts of a network that have weights."""
    return [part for part in model if any(True for _ in part.parameters())]


class _Tuned(Course):
    def __init__(self, task: Task, frozen: list[nn.Module]) -> None:
        super().__init__(task.model, task.optimizer)
        self._frozen = frozen
        for part in frozen:
            part.requires_grad_(False)

    def begin_epoch(self) -> None:
        super().begin_epoch()
        for part in self._frozen:
            part.eval()  # Else a normalisation would go on learning from its batches.

    def end(self) -> None:
        for part in self._frozen:
            part.requires_grad_(True)
