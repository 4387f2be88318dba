"""Networks of a user's trainer, fitted to the number of classes of the audit.

A function that counts the classes of its own training data gives networks without the last ones where these data have
none of them.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from hardlabel.models.trainers import Made, RecipeTrainer, Trainer
from hardlabel.targets.padded import padded, width


def fitted(
    made: Sequence[Made],
    trainer: Trainer,
    example: Tensor,
    *,
    classes: int,
    exact: bool,
    device: torch.device,
    roles: Sequence[str],
) -> list[Made]:
    """The same models, networks that show fewer classes than `classes` padded; see `targets.padded`.

    Args:
        made: The models.
        trainer: Made them; networks of a recipe have the right width and are not asked.
        example: What each network is asked about once, (1, *shape).
        classes: Number of classes of the task.
        exact: Whether a network that shows more is refused.
        device: Where networks run.
        roles: What errors call each model.

    Raises:
        InvalidInput: A network shows more classes, with `exact`; or it answers with no logits, NaN or infinity.
    """
    if isinstance(trainer, RecipeTrainer):
        return list(made)
    return [
        replace(one, model=padded(one.model, example, classes=classes, exact=exact, device=device, role=role))
        if isinstance(one.model, nn.Module)
        else one
        for one, role in zip(made, roles, strict=True)
    ]


def most_shown(
    made: Sequence[Made], trainer: Trainer, example: Tensor, *, classes: int, device: torch.device, role: str
) -> int:
    """The most classes that a network among the models shows, `classes` at least; each is asked about `example`.

    Raises:
        InvalidInput: A network answers with no logits, NaN or infinity.
    """
    if isinstance(trainer, RecipeTrainer):
        return classes
    networks = [one.model for one in made if isinstance(one.model, nn.Module)]
    return max(classes, *(width(network, example, device=device, role=role) for network in networks), 0)
