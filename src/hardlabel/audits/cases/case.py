"""A case: everything that an audit needs, checked before any training or query."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch

from hardlabel.attacks import Need
from hardlabel.audits.cases.plans import CraftingPlan, ReferencePlan, ShadowPlan
from hardlabel.audits.cases.slices import Slices
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples
from hardlabel.models.trainers import RecipeTrainer, Trainer
from hardlabel.targets.askable import AskableModel


@dataclass(frozen=True, kw_only=True, eq=False)
class AttackerCase:
    """What the attacker has, in the audit of a model or a recipe.

    Attributes:
        data: Name of the data set.
        classes: Number of classes of the task: all that trains or asks a model takes it from here.
        population: Other samples of the same domain, or None.
        own: The attacker's own samples, which a surrogate may be trained on, or None.
        shadow: How to train a shadow model, or None.
        crafting: How to train crafters, or None.
        missing: What the attacker cannot have, with the reason.
        slices: By column, the group of each id.
        notes: What the reader must know.
    """

    data: str
    classes: int
    population: Samples | None = None
    own: Samples | None = None
    shadow: ShadowPlan | None = None
    crafting: CraftingPlan | None = None
    missing: dict[Need, str] = field(default_factory=dict)
    slices: Slices = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Case(AttackerCase):
    """What the audit of one model needs; see `AttackerCase` for the other attributes.

    Attributes:
        target: The model.
        target_description: The model, in words.
        family: The kind of model, as `family_of` names it; None if it is not known.
        members: Attacked samples that the model was trained on.
        nonmembers: Attacked samples that it was not trained on.
        private: Whether the model was trained with differential privacy.
        references: How to train reference models, or None.
        rows: Row of each attacked id in its group; None if ids are rows of the source.
        settings: Values chosen for settings that the caller left open.
    """

    target: AskableModel
    target_description: str
    members: Samples
    nonmembers: Samples
    private: bool = False
    family: str | None = None
    references: ReferencePlan | None = None
    rows: Mapping[int, int] | None = None
    settings: Mapping[str, object] = field(default_factory=dict)

    def with_classes(self, classes: int) -> "Case":
        """The same case for more classes, where a target that answers with labels only has named another class."""
        if classes <= self.classes:
            return self
        shadow, references, crafting = self.shadow, self.references, self.crafting
        return replace(
            self,
            classes=classes,
            shadow=None if shadow is None else replace(shadow, trainer=_widened(shadow.trainer, classes)),
            references=(
                None if references is None else replace(references, trainer=_widened(references.trainer, classes))
            ),
            crafting=(
                None
                if crafting is None
                else replace(
                    crafting,
                    trainer=replace(crafting.trainer, classes=classes),
                    second=_widened(crafting.second, classes),
                )
            ),
        )


def _widened(trainer: Trainer, classes: int) -> Trainer:
    return replace(trainer, classes=classes) if isinstance(trainer, RecipeTrainer) else trainer


def counted(case: Case, device: torch.device) -> Case:
    """The case with all classes that its labels need and its target shows: asks the target once, if that tells.

    Raises:
        InvalidInput: See `count_classes`.
    """
    classes = count_classes(case.classes - 1, case.target, case.members.take(slice(0, 1)).to(device))
    return replace(case.with_classes(classes), target=case.target.padded(classes))


def count_classes(highest: int, target: AskableModel, example: Samples) -> int:
    """Number of classes of an audit, 2 at least: all that the labels need and the target shows.

    A target with scores is asked about the sample `example` once. Without scores it may know more classes than this.

    Args:
        highest: The highest label given.
        target: The target.
        example: One sample.

    Raises:
        InvalidInput: The target shows scores of fewer classes than the labels need. Only a classifier may not know the
            last classes, since it lists those it knows: of other targets, labels numbered from 1 look just alike.
    """
    shown = target.shown(example.inputs, example.ids)
    if shown is not None and highest >= shown and target.padded(highest + 1) is target:
        raise InvalidInput(
            f"labels must be below the target's {shown} classes, got {highest}: number them from 0, as the target's "
            "outputs are"
        )
    return max(2, highest + 1, shown or 0)


def classes_of(*groups: Samples | None) -> int:
    """Number of classes of samples, 2 at least, by the highest label."""
    return max(2, *(1 + int(group.labels.max()) for group in groups if group is not None and len(group)))
