"""A case: everything that an audit needs, checked before any training or query."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from hardlabel.attacks import Need
from hardlabel.audits.cases.plans import CraftingPlan, ReferencePlan, ShadowPlan
from hardlabel.audits.cases.slices import Slices
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples
from hardlabel.targets.askable import AskableModel


@dataclass(frozen=True, kw_only=True, eq=False)
class AttackerCase:
    """What the attacker has, in the audit of a model or a recipe.

    Attributes:
        data: Name of the data set.
        population: Other samples of the same domain, or None.
        own: The attacker's own samples, which a surrogate may be trained on, or None.
        shadow: How to train a shadow model, or None.
        crafting: How to train crafters, or None.
        missing: What the attacker cannot have, with the reason.
        slices: By column, the group of each id.
        notes: What the reader must know.
    """

    data: str
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
        classes: Number of classes; None if the target has to be asked.
        members: Attacked samples that the model was trained on.
        nonmembers: Attacked samples that it was not trained on.
        references: How to train reference models, or None.
        rows: Row of each attacked id in its group; None if ids are rows of the source.
        settings: Values chosen for settings that the caller left open.
    """

    target: AskableModel
    target_description: str
    classes: int | None
    members: Samples
    nonmembers: Samples
    references: ReferencePlan | None = None
    rows: Mapping[int, int] | None = None
    settings: Mapping[str, object] = field(default_factory=dict)


def count_classes(case: Case, device: torch.device) -> int:
    """Number of classes: the width of the target's scores for one row; without scores, from the labels given.

    Raises:
        InvalidInput: A label is not below the target's number of classes.
    """
    groups = [group for group in (case.members, case.nonmembers, case.population) if group is not None]
    highest = max(int(group.labels.max()) for group in groups if len(group))
    if case.classes is not None:
        classes = case.classes
    elif case.target.scores is None:
        return max(2, highest + 1)
    else:
        sample = case.members.take(slice(0, 1)).to(device)
        classes = case.target.scores.ask_scores(sample.inputs, sample.ids).shape[1]
    if highest >= classes:
        raise InvalidInput(f"labels must be below the target's {classes} classes, got {highest}")
    return classes
