"""SELENA with hard labels: models are trained on what sub-models say of samples that these never saw."""

from dataclasses import dataclass

import torch
from torch.nn import functional

from hardlabel import checks, randomness
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples
from hardlabel.defenses.asked import oracle_of
from hardlabel.defenses.base import Defender
from hardlabel.defenses.selena import held_out
from hardlabel.models.trainers import Trainer


@dataclass(frozen=True, kw_only=True)
class SELENALabels:
    """Trains sub-models on parts of the data, and replaces each label by the vote of those that never saw the sample.

    Each sample is kept from round(held_out * submodels) sub-models, trained as the model itself is; a tie is broken by
    lot. Costs `submodels` more trainings per model, and accuracy. Tang et al. (2022), "Mitigating Membership Inference
    Attacks by Self-Distillation Through a Novel Ensemble Architecture" (Split-AI and self-distillation). They train 25
    sub-models, keep each sample from 10 and distil from mean confidences. Here only labels are distilled, because a
    training of any kind takes labels. `SELENA` does it with confidences, for our networks.

    Attributes:
        held_out: Share of the sub-models that never see a given sample, in (0, 1).
        submodels: Number of sub-models, 2 or more.

    Raises:
        InvalidInput: `held_out` is not between 0 and 1, or `submodels` is below 2.

    Example:
        >>> import torch
        >>> from sklearn.tree import DecisionTreeClassifier
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.selena_labels import SELENALabels
        >>> from hardlabel.models.trainers import EstimatorTrainer
        >>> defender = Defender(domain=Box((4,)), classes=2, train_size=50, device=torch.device("cpu"))
        >>> inputs = torch.rand(50, 4, generator=torch.Generator().manual_seed(0))
        >>> labels = (inputs[:, 0] > 0.5).long()
        >>> labels[0] = 1 - labels[0]  # A record that a model can only know by heart.
        >>> samples = Samples(ids=torch.arange(50), inputs=inputs, labels=labels, domain=Box((4,)))
        >>> trainer = EstimatorTrainer(estimator=DecisionTreeClassifier(max_depth=1))
        >>> prepared = SELENALabels(held_out=0.5, submodels=4).prepared(samples, trainer, defender, seed=0)
        >>> bool(prepared.labels[0] != samples.labels[0])
        True
    """

    held_out: float
    submodels: int = 10

    def __post_init__(self) -> None:
        checks.at_least(2, submodels=self.submodels)
        if not 0 < self.held_out < 1:
            raise InvalidInput(f"held_out must lie strictly between 0 and 1, got {self.held_out}")

    @property
    def without(self) -> int:
        """Number of sub-models that never see a given sample."""
        return min(self.submodels - 1, max(1, round(self.held_out * self.submodels)))

    def changes(self, defender: Defender) -> tuple[str, ...]:
        """See `DataDefense`."""
        del defender
        return (
            f"trained on the labels that {self.without} of {self.submodels} sub-models, without the sample, give it",
        )

    def prepared(self, samples: Samples, trainer: Trainer, defender: Defender, *, seed: int) -> Samples:
        """See `DataDefense`."""
        count = len(samples)
        out = held_out(count, submodels=self.submodels, without=self.without, seed=seed)
        votes = torch.zeros(count, defender.classes)
        for number in range(self.submodels):
            seen, rest = (~out[:, number]).nonzero().flatten(), out[:, number].nonzero().flatten()
            if not len(rest):
                continue
            model = trainer.fit(samples.take(seen), randomness.derive(seed, "sub-model", number)).model
            asked = samples.take(rest)
            oracle, home = oracle_of(model, asked.inputs[:1], defender, None)
            labels = oracle.ask(asked.inputs.to(home), asked.ids.to(home)).cpu()
            votes[rest] += functional.one_hot(labels.clamp(max=defender.classes), defender.classes + 1)[:, :-1]
        lots = torch.rand(votes.shape, generator=randomness.generator(seed, "ties"))
        return samples.relabelled((votes + lots / 2).argmax(1).to(samples.device))
