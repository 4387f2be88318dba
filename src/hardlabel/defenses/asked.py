"""Models of any trainer as oracles, as defenses ask them."""

import torch
from torch import Tensor, nn

from hardlabel.defenses.base import Defender
from hardlabel.oracles.base import LabelOracle, LabelsOfScores, ScoreOracle
from hardlabel.targets.batch_sizes import Found, settled_network
from hardlabel.targets.estimators import is_estimator, of_estimator
from hardlabel.targets.padded import padded
from hardlabel.targets.registry import askable, bare
from hardlabel.targets.torch import TorchScores

ROLE = "trainer's model"
CPU = torch.device("cpu")
BATCH = 512  # Rows that a network is asked about at once where the batch size must not depend on the machine.


def oracle_of(
    model: object, example: Tensor, defender: Defender, sizes: Found | None
) -> tuple[LabelOracle, torch.device]:
    """The model as an oracle, and where it is asked. The oracle shows confidences too if the model does.

    Args:
        model: A torch module, a classifier, an oracle or a model of another framework.
        example: An input (1, *shape): a network is asked about it, for its classes and the best batch size.
        defender: Says the classes and where networks run; its store remembers batch sizes.
        sizes: Batch sizes that were chosen before; None for BATCH.

    Raises:
        InvalidInput: It is no such model.
    """
    model = bare(model, role=ROLE)
    device, store = defender.device, defender.store
    if isinstance(model, nn.Module):
        network = padded(model, example, classes=defender.classes, exact=False, device=device, role=ROLE)
        if sizes is None:
            return TorchScores(network, device=device, batch_size=BATCH, role=ROLE), device
        return settled_network(network, example, device=device, store=store, found=sizes, role=ROLE)[0], device
    if isinstance(model, LabelOracle):
        return model, CPU
    if isinstance(model, ScoreOracle):
        return BothOfScores(model), CPU
    if is_estimator(model):
        return of_estimator(model, role=ROLE).padded(defender.classes), CPU
    adapted = askable(model, device, role=ROLE, classes=defender.classes)  # By an adapter of another package.
    return adapted.labels if adapted.scores is None else BothOfScores(adapted.scores), CPU


class BothOfScores(LabelsOfScores):
    """Labels and confidences of an oracle that only shows confidences."""

    def __init__(self, inner: ScoreOracle) -> None:
        super().__init__(inner)
        self.ask_scores = inner.ask_scores
