"""Attacks without true labels: the attacker takes the target's answers for labels, or has some labels wrong.

The attacker asks with these labels, and trains its reference models with them. The target was trained with the true
labels, which accuracies and classes in the record use too.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from hardlabel import randomness
from hardlabel.audits.attacker.shadow import answered, by_id, with_labels
from hardlabel.audits.cases.case import Case
from hardlabel.audits.cases.terms import Terms
from hardlabel.audits.game.asking import Side
from hardlabel.oracles.budget import Account
from hardlabel.runs.progress import Watch
from hardlabel.store import Store

GUESSING = "taking the target's answers for labels"


def labelled(
    case: Case, terms: Terms, attacker: Account, *, device: torch.device, store: Store | None, watch: Watch
) -> Case:
    """The case with the labels that the attacker has for the attacked samples, also in the reference models' pool.

    The target's answers cost one query per attacked sample, charged to `attacker` as overhead.
    """
    if terms.attacker.labels == "true" and not terms.attacker.wrong_labels:
        return case
    labels: dict[int, int] = {}
    for group in (case.members, case.nonmembers):
        if terms.attacker.labels == "target":
            guesses = answered(group, case.target, attacker, device=device, store=store, watch=watch, purpose=GUESSING)
        else:
            guesses = wrong(
                group.labels, share=terms.attacker.wrong_labels, classes=case.classes, ids=group.ids, seed=terms.seed
            )
        labels |= by_id(group.ids, guesses)
    members, nonmembers = with_labels(case.members, labels), with_labels(case.nonmembers, labels)
    case = case.with_classes(1 + max(labels.values()))
    references = case.references
    if references is not None:
        references = replace(references, pool=with_labels(references.pool, labels))
    return replace(case, members=members, nonmembers=nonmembers, references=references)


def wrong(labels: Tensor, *, share: float, classes: int, ids: Tensor, seed: int) -> Tensor:
    """The labels (n,), about `share` of them replaced by another class; each draw depends on `seed` and the id only."""
    draws = torch.rand(int(ids.max()) + 1, 2, generator=randomness.generator(seed, "wrong labels"))[ids]
    other_labels = (labels + 1 + (draws[:, 1] * (classes - 1)).long().clamp(max=classes - 2)) % classes
    return torch.where(draws[:, 0] < share, other_labels, labels)


def side_of(truth: Case, target: Side) -> Side:
    """The target's side with the true labels, which `truth` has."""
    labels = by_id(truth.members.ids, truth.members.labels) | by_id(truth.nonmembers.ids, truth.nonmembers.labels)
    samples = with_labels(target.samples, labels)
    return target if torch.equal(samples.labels, target.samples.labels) else replace(target, samples=samples)


def paid(overhead: Mapping[str, int], *, shadow_used: bool) -> dict[str, int]:
    """Overhead charged to an attack: the label guesses always, the shadow labels if it used the shadow model."""
    return {purpose: count for purpose, count in overhead.items() if shadow_used or purpose == GUESSING}


def notes(terms: Terms, case: Case) -> list[str]:
    """What the reader must know about the attacker's labels."""
    sentences = []
    if terms.attacker.labels == "target":
        sentences.append(
            "The attacker had no labels of the points asked about and took the target's answers, one more query for "
            "each. Its reference models were trained with these labels. The target always agrees with its own answer, "
            "so the gap attack finds nothing."
        )
    if terms.attacker.wrong_labels:
        sentences.append(
            f"About {100 * terms.attacker.wrong_labels:g} % of the attacker's labels of the points are wrong. Its "
            "reference models were trained with these labels, the target with the true labels."
        )
    return sentences
