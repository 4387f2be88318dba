"""The worst case of an audit: the points that the attacker's own models choose, and the precision of calls on them."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hardlabel import outliers, randomness
from hardlabel.audits.findings.figures import NO_THRESHOLD
from hardlabel.audits.findings.shown_record import text_or_image
from hardlabel.audits.game.asking import Asking, LabelQuestion, Side
from hardlabel.audits.game.game import LOGITS, Played
from hardlabel.data.pseudonyms import numbers, pseudonyms
from hardlabel.data.samples import Samples
from hardlabel.metrics import selected_rates
from hardlabel.metrics.estimate import Estimate
from hardlabel.oracles.budget import Account
from hardlabel.outliers import Duplicates, Selection, Surroundings
from hardlabel.records.exposure import AVERAGE, ChosenFew, Few, FewPair, Neighbour, Standout, WorstCase
from hardlabel.signals.base import Access, Knowledge
from hardlabel.signals.gap import Gap

Bools = NDArray[np.bool_]
EMBEDDERS = 4  # Most networks whose penultimate layers are used to find neighbours.
MOST_COMPARED = 10_000  # Most points among which neighbours are found: of more, as many are drawn at random.


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """The points asked about, as the attacker's own models see them.

    Attributes:
        samples: The n points.
        everyone: The same points, then other points of the pool, which can also be neighbours.
        embedded: The layer or inputs used to find neighbours, in words.
        around: The neighbours of everyone.
        copies: The near-duplicates among everyone.
    """

    samples: Samples
    everyone: Samples
    embedded: str
    around: Surroundings
    copies: Duplicates

    @cached_property
    def pseudonyms(self) -> list[str]:
        """The names in reports of everyone."""
        return pseudonyms(self.everyone)

    @cached_property
    def numbers(self) -> list[int]:
        """The ids in records and scores of the n points; see `pseudonyms.numbers`."""
        number_of = numbers(self.samples)
        return [number_of[sample_id] for sample_id in self.samples.ids.tolist()]

    def relabelled(self, samples: Samples) -> "Seen":
        """The same with `samples`, the points asked about, in place of its own: labels are theirs."""
        labels = torch.cat([samples.labels, self.everyone.labels[len(samples) :]])
        return replace(self, samples=samples, everyone=self.everyone.relabelled(labels))


def seen(samples: Samples, pool: Samples | None, networks: Sequence[nn.Module], words: str) -> Seen:
    """Finds neighbours by the penultimate layers of `networks`, or by the inputs if no network has such a layer."""
    everyone, device = samples, samples.device
    if pool is not None and len(samples) < MOST_COMPARED:
        known = set(samples.ids.tolist())
        fresh = torch.tensor([sample_id not in known for sample_id in pool.ids.tolist()]).nonzero().flatten()
        others = pool.take(fresh[: MOST_COMPARED - len(samples)]).to(device)
        everyone = Samples(
            ids=torch.cat([samples.ids, others.ids]),
            inputs=torch.cat([samples.inputs, others.inputs]),
            labels=torch.cat([samples.labels, others.labels]),
            domain=samples.domain,
        )
    compared = None
    if len(everyone) > MOST_COMPARED:
        order = torch.randperm(len(everyone), generator=randomness.generator(0, "points compared with"))
        compared = order[:MOST_COMPARED].sort().values
    able = [model for model in networks if any(isinstance(layer, nn.Linear) for layer in model.modules())][:EMBEDDERS]
    if able:
        embeddings = [outliers.features(model, everyone.inputs) for model in able]
        embedded = f"the penultimate layer of {len(able)} {words}"
    else:
        flat = everyone.inputs.flatten(1).cpu()
        embeddings, embedded = [flat - flat.mean(0)], "the inputs, since no network of the attacker's was at hand"
    if compared is not None:
        embedded += f", among {MOST_COMPARED:,} of the {len(everyone):,} records, drawn at random"
    return Seen(
        samples=samples,
        everyone=everyone,
        embedded=embedded,
        around=outliers.surroundings(embeddings, compared),
        copies=outliers.duplicates(everyone.inputs, compared, names=everyone.domain.kind == "tokens"),
    )


def notes(attacked: int) -> list[str]:
    """That so many attacked samples were not all compared with each other; nothing for fewer."""
    if attacked <= MOST_COMPARED:
        return []
    return [
        f"Neighbours and near-duplicates of each of the {attacked:,} records were looked for among {MOST_COMPARED:,} "
        "of them, drawn at random."
    ]


def networks_of(knowledge: Knowledge, shadow: Side | None, references: Sequence[Side]) -> tuple[list[nn.Module], str]:
    """The networks that find neighbours, and their name; reference models only if there are no others."""
    crafters = [*knowledge.crafters, *knowledge.second]
    if crafters:
        return crafters, "networks of the attacker's that never saw the points"
    if shadow is not None and shadow.model.network is not None:
        return [shadow.model.network], "shadow model that never saw the points"
    return [side.model.network for side in references if side.model.network is not None], "reference models"


def statistics_of(asking: Asking, sides: Sequence[Side]) -> tuple[Tensor, str]:
    """A statistic of each of K models on each point (K, n), higher for likelier members, and the statistic in words."""
    if all(side.model.scores is not None for side in sides):
        answers = asking.answers(LOGITS, sides, "confidence of reference model", account=Account)
        words = "logit confidence in the true class"
    else:
        answers = asking.answers(LabelQuestion(Gap()), sides, "accuracy of reference model", account=Account)
        words = "whether the label is right, since they show no confidences"
    return torch.stack([answer.measured.values[:, 0] for answer in answers]).double(), words


@dataclass(frozen=True, kw_only=True, eq=False)
class Called:
    """An attack's calls about every point, (T, n) bool; `note` gives the reason if there are no calls."""

    access: str
    calls: Bools
    note: str = ""


def called(access: str, played: Sequence[Played]) -> Called:
    """Calls on each target, by the threshold that the attacker's own models chose."""
    thresholds = [np.nan if outcome.threshold is None else outcome.threshold for outcome in played]  # NaN: no calls.
    calls = [outcome.scores.numpy() >= threshold for outcome, threshold in zip(played, thresholds, strict=True)]
    note = NO_THRESHOLD if any(outcome.threshold is None for outcome in played) else ""
    return Called(access=access, calls=np.stack(calls), note=note)


@dataclass(frozen=True, kw_only=True, eq=False)
class Chosen:
    """The points chosen as riskiest for each target, in each way of choosing.

    Attributes:
        share: The share of points to choose.
        rooms: For each target, a selection for each way.
        statistic: The statistic by which the attacker's own models were compared, in words.
        separability: The separability of each point, mean over targets, (n,).
        out_loss: The loss of each point on models trained without it, mean over targets, (n,).
    """

    share: float
    rooms: tuple[tuple[Selection, ...], ...]
    statistic: str
    separability: Tensor
    out_loss: Tensor

    @classmethod
    def by(cls, share: float, around: Surroundings, own: Sequence[tuple[Tensor, Tensor]], statistic: str) -> "Chosen":
        """Chooses for each target; `own` holds the statistics (K, n) and memberships (K, n) of its own models."""
        return cls(
            share=share,
            rooms=tuple(
                outliers.selections(share=share, around=around, statistics=values, inside=inside)
                for values, inside in own
            ),
            statistic=statistic,
            separability=torch.stack([outliers.separability(*models) for models in own]).mean(0),
            out_loss=torch.stack([outliers.out_loss(*models) for models in own]).mean(0),
        )

    def masks(self) -> dict[str, Bools]:
        """Which points were chosen, in each way, (T, n)."""
        ways = zip(*self.rooms, strict=True)
        return {way[0].name: torch.stack([selection.chosen for selection in way]).numpy() for way in ways}

    def ever(self) -> dict[str, Bools]:
        """Which points were chosen for at least one target, in each way, (n,)."""
        masks: dict[str, Bools] = {name: np.any(mask, axis=0) for name, mask in self.masks().items()}
        return masks


def worst_case(chosen: Chosen, view: Seen, attacks: Mapping[str, Called], inside: Bools) -> WorstCase:
    """Precision and recall of every attack on the chosen points, and on all points.

    Args:
        chosen: The points chosen for each target.
        view: The points, as the attacker sees them.
        attacks: The calls of each attack.
        inside: Which points were inside which target, (T, n).
    """
    selections = [_few(AVERAGE, "all points asked about", np.ones_like(inside), attacks, inside)]
    masks = chosen.masks()
    for place, (name, mask) in enumerate(masks.items()):
        how = "; ".join(dict.fromkeys(room[place].how for room in chosen.rooms))
        selections.append(_few(name, how, mask, attacks, inside))
    n = inside.shape[1]
    repeated = (view.copies.of[:n] >= 0).numpy()
    ever_chosen = np.any([mask.any(0) for mask in masks.values()], axis=0)
    return WorstCase(
        share=chosen.share,
        of=n,
        targets=len(inside),
        embedded=view.embedded,
        statistic=chosen.statistic,
        selections=selections,
        repeated=int(repeated.sum()),
        repeated_chosen=int((repeated & ever_chosen).sum()),
    )


def _few(name: str, how: str, chosen: Bools, attacks: Mapping[str, Called], inside: Bools) -> ChosenFew:
    """Precision and recall of every attack on the chosen points (T, n), and paired comparisons of attacks."""
    everybody = np.ones_like(inside)
    rows, pairs = [], []
    for title, attack in attacks.items():
        rates = selected_rates.calls(attack.calls, chosen, inside)
        missing = Estimate.undefined(attack.note) if attack.note else None
        over = selected_rates.precision_difference((attack.calls, chosen), (attack.calls, everybody), inside)
        rows.append(
            Few(
                attack=title,
                access=attack.access,
                precision=missing or rates.precision,
                recall=missing or rates.recall,
                right=rates.right,
                called=rates.called,
                members=rates.members,
                over_average=missing or (over if name != AVERAGE else Estimate.undefined("this is the average case")),
            )
        )
    for (first, labels), (second, scores) in itertools.product(attacks.items(), repeat=2):
        if labels.access == Access.LABEL and scores.access == Access.SCORES and not (labels.note or scores.note):
            apart = selected_rates.precision_difference((labels.calls, chosen), (scores.calls, chosen), inside)
            pairs.append(FewPair(first=first, second=second, precision=apart))
    return ChosenFew(name=name, how=how, points=int(chosen[0].sum()), attacks=rows, pairs=pairs)


@dataclass(frozen=True, kw_only=True, eq=False)
class Told:
    """Other facts for `standouts`.

    Attributes:
        chosen: The points chosen for each target, or None without a choice.
        rows: The row of each id in the user's data; None if ids are rows.
        picked: Whether the chosen points are listed, because the user asked for a worst case.
        show: Whether records and their rows are shown.
    """

    chosen: Chosen | None = None
    picked: bool = False
    rows: Mapping[int, int] | None = None
    show: bool = False


def standouts(places: Sequence[int], view: Seen, told: Told) -> list[Standout]:
    """The points at these places of the samples, and why they may stand out."""
    masks = told.chosen.ever() if told.chosen is not None and told.picked else {}
    everyone, records = view.everyone, []
    for place in places:
        point_id, copy = int(everyone.ids[place]), int(view.copies.of[place])
        near = zip(view.around.nearest[place].tolist(), view.around.similarity[place].tolist(), strict=True)
        records.append(
            Standout(
                id=view.numbers[place],
                pseudonym=view.pseudonyms[place],
                row=(point_id if told.rows is None else told.rows.get(point_id)) if told.show else None,
                label=int(everyone.labels[place]),
                chosen=[name for name, mask in masks.items() if mask[place]],
                separability=None if told.chosen is None else _finite(told.chosen.separability[place]),
                out_loss=None if told.chosen is None else _finite(told.chosen.out_loss[place]),
                neighbours=[
                    Neighbour(
                        pseudonym=view.pseudonyms[at], label=int(everyone.labels[at]), similarity=round(similarity, 4)
                    )
                    for at, similarity in near
                ],
                duplicate=view.pseudonyms[copy] if copy >= 0 else None,
                shown=text_or_image(everyone, place) if told.show else None,
            )
        )
    return records


def _finite(value: Tensor) -> float | None:
    return float(value) if bool(value.isfinite()) else None
