"""Attacks without true labels: the attacker takes the target's answers, or has some labels wrong.

Only the attacker's view changes: the labels it asks by, and trains its reference models with. The target was trained
on the true ones, and figures of accuracy and of classes keep to those.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from hardlabel import randomness
from hardlabel.data.samples import Samples
from hardlabel.experiments.asking import Side
from hardlabel.experiments.case import Case, Terms
from hardlabel.experiments.progress import Watch
from hardlabel.experiments.shadow import answered
from hardlabel.oracles.budget import Account
from hardlabel.store import Store

GUESSING = "taking the target's answers for labels"


def labelled(
    case: Case, terms: Terms, attacker: Account, *, device: torch.device, store: Store | None, watch: Watch
) -> Case:
    """The case as the attacker sees it: with labels it guessed for the points asked about, in the pool as well.

    The target's answers cost one query for each point, at `attacker`'s overhead.
    """
    if terms.labels == "true" and not terms.wrong_labels:
        return case
    labels: dict[int, int] = {}
    for group in (case.members, case.nonmembers):
        if terms.labels == "target":
            told = answered(group, case.target, attacker, device=device, store=store, watch=watch, purpose=GUESSING)
        else:
            told = wrong(group.labels, share=terms.wrong_labels, classes=_classes(case), ids=group.ids, seed=terms.seed)
        labels |= dict(zip(group.ids.tolist(), told.tolist(), strict=True))

    def seen(samples: Samples) -> Samples:
        own = zip(samples.ids.tolist(), samples.labels.tolist(), strict=True)
        return samples.relabelled(torch.tensor([labels.get(one, label) for one, label in own], dtype=torch.int64))

    references = case.references
    if references is not None:
        references = replace(references, pool=seen(references.pool))
    return replace(case, members=seen(case.members), nonmembers=seen(case.nonmembers), references=references)


def wrong(labels: Tensor, *, share: float, classes: int, ids: Tensor, seed: int) -> Tensor:
    """Labels (n,) of which about `share` became another class, each by a coin of its own that its id fixes."""
    draws = torch.rand(int(ids.max()) + 1, 2, generator=randomness.generator(seed, "wrong labels"))[ids]
    other = (labels + 1 + (draws[:, 1] * (classes - 1)).long().clamp(max=classes - 2)) % classes
    return torch.where(draws[:, 0] < share, other, labels)


def side_of(truth: Case, target: Side) -> Side:
    """The target's side with the true labels."""
    groups = (truth.members, truth.nonmembers)
    labels = {one: label for g in groups for one, label in zip(g.ids.tolist(), g.labels.tolist(), strict=True)}
    real = torch.tensor([labels[one] for one in target.samples.ids.tolist()], device=target.samples.device)
    if torch.equal(real, target.samples.labels):
        return target
    return replace(target, samples=target.samples.relabelled(real))


def paid(overhead: Mapping[str, int], *, shadow_used: bool) -> dict[str, int]:
    """What of the attacker's overhead an attack has to bear: every one the guesses, some the shadow's labels."""
    return {purpose: count for purpose, count in overhead.items() if shadow_used or purpose == GUESSING}


def notes(terms: Terms, case: Case) -> list[str]:
    """What a reader must know."""
    told = []
    if terms.labels == "target":
        told.append(
            "The attacker had no labels of the points asked about and took the target's answers, one query more for "
            "each; its reference models were trained with them. Asked whether it gives its own answer, the target "
            "always does: the gap attack finds nothing so."
        )
    if terms.wrong_labels:
        told.append(
            f"About {100 * terms.wrong_labels:g} % of the labels that the attacker has of the points are wrong; its "
            "reference models were trained with them, the target with the true ones."
        )
    return told


def _classes(case: Case) -> int:
    parts = [part for part in (case.members, case.nonmembers, case.population) if part is not None and len(part)]
    return case.classes or max(2, 1 + max(int(part.labels.max()) for part in parts))
