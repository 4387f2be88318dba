"""The worst case of an audit: who is chosen by the attacker's own models, and how right calls about them are."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hardlabel import outliers
from hardlabel.data.samples import Samples
from hardlabel.experiments.asking import Asking, LabelQuestion, Side, content_of
from hardlabel.experiments.evaluate import NO_THRESHOLD
from hardlabel.experiments.game import LOGITS, Played
from hardlabel.experiments.showing import text_or_image
from hardlabel.experiments.worst_record import ChosenFew, Few, FewPair, Neighbour, Standout, WorstCase
from hardlabel.metrics import few
from hardlabel.metrics.estimate import Estimate
from hardlabel.oracles.budget import Account
from hardlabel.outliers import Duplicates, Selection, Surroundings
from hardlabel.signals.base import Access, Knowledge
from hardlabel.signals.gap import Gap

Bools = NDArray[np.bool_]
EMBEDDERS = 4  # Networks whose penultimate layers neighbours are looked for in.
MOST_COMPARED = 10_000  # Points among which neighbours are looked for.
AVERAGE = "average"


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """The points asked about, as the attacker's own models see them.

    Attributes:
        samples: The points, n of them.
        everyone: The same, then others of the pool among which neighbours are looked for.
        embedded: What was looked at, in words.
        around: Of everyone.
        copies: Among everyone.
    """

    samples: Samples
    everyone: Samples
    embedded: str
    around: Surroundings
    copies: Duplicates

    def pseudonym(self, place: int) -> str:
        """What reports call the point at `place` of everyone."""
        return pseudonym(int(self.everyone.ids[place]), self.samples)

    def relabelled(self, samples: Samples) -> "Seen":
        """The same with the classes that `samples`, the points asked about, have: pseudonyms and labels are theirs."""
        labels = torch.cat([samples.labels, self.everyone.labels[len(samples) :]])
        return replace(self, samples=samples, everyone=self.everyone.relabelled(labels))


def pseudonym(one: int, samples: Samples) -> str:
    """What reports call a record: fixed by its id and by all samples asked about.

    Nobody can tell from it which record is meant but who has the data.
    """
    key = bytes.fromhex(content_of(samples))
    return hashlib.blake2b(str(one).encode(), key=key, digest_size=5).hexdigest()


def seen(samples: Samples, pool: Samples | None, networks: Sequence[nn.Module], words: str) -> Seen:
    """Looks for neighbours by the penultimate layers of `networks`, or in the inputs where there are none."""
    everyone, device = samples, samples.device
    if pool is not None and len(samples) < MOST_COMPARED:
        known = set(samples.ids.tolist())
        fresh = torch.tensor([one not in known for one in pool.ids.tolist()]).nonzero().flatten()
        others = pool.take(fresh[: MOST_COMPARED - len(samples)]).to(device)
        everyone = Samples(
            ids=torch.cat([samples.ids, others.ids]),
            inputs=torch.cat([samples.inputs, others.inputs]),
            labels=torch.cat([samples.labels, others.labels]),
            domain=samples.domain,
        )
    able = [one for one in networks if any(isinstance(layer, nn.Linear) for layer in one.modules())][:EMBEDDERS]
    if able:
        embeddings = [outliers.features(one, everyone.inputs) for one in able]
        told = f"the penultimate layer of {len(able)} {words}"
    else:
        flat = everyone.inputs.flatten(1).cpu()
        embeddings, told = [flat - flat.mean(0)], "the inputs, since no network of the attacker's was at hand"
    return Seen(
        samples=samples,
        everyone=everyone,
        embedded=told,
        around=outliers.surroundings(embeddings),
        copies=outliers.duplicates(everyone.inputs),
    )


def networks_of(knowledge: Knowledge, shadow: Side | None, references: Sequence[Side]) -> tuple[list[nn.Module], str]:
    """Networks to look with: best such as never saw the points, else reference models, which half of them did."""
    own = [*knowledge.crafters, *knowledge.second]
    if own:
        return own, "networks of the attacker's that never saw the points"
    if shadow is not None and shadow.model.network is not None:
        return [shadow.model.network], "shadow model that never saw the points"
    return [side.model.network for side in references if side.model.network is not None], "reference models"


def statistics_of(asking: Asking, sides: Sequence[Side]) -> tuple[Tensor, str]:
    """What own models (K) say of each point (K, n), higher where it is likelier inside, and what that is."""
    if all(side.model.scores is not None for side in sides):
        answers = asking.answers(LOGITS, sides, "confidence of reference model", account=Account)
        words = "logit confidence in the true class"
    else:
        answers = asking.answers(LabelQuestion(Gap()), sides, "accuracy of reference model", account=Account)
        words = "whether the label is right, since they show no confidences"
    return torch.stack([one.measured.values[:, 0] for one in answers]).double(), words


@dataclass(frozen=True, kw_only=True, eq=False)
class Called:
    """An attack's calls about every point, (T, n) bool; `note` says why there are none, where there are none."""

    access: str
    calls: Bools
    note: str = ""


def called(access: str, played: Sequence[Played]) -> Called:
    """Calls by the threshold that each target's own models chose."""
    calls = [
        np.zeros(len(one.scores), dtype=bool) if one.threshold is None else one.scores.numpy() >= one.threshold
        for one in played
    ]
    note = NO_THRESHOLD if any(one.threshold is None for one in played) else ""
    return Called(access=access, calls=np.stack(calls), note=note)


@dataclass(frozen=True, kw_only=True, eq=False)
class Chosen:
    """The few of each target, by each way of choosing.

    Attributes:
        share: Asked for.
        rooms: Of each target.
        statistic: What own models were compared by.
        separability: Of each point, mean over targets' own models, (n,).
        out_loss: Likewise, (n,).
    """

    share: float
    rooms: tuple[tuple[Selection, ...], ...]
    statistic: str
    separability: Tensor
    out_loss: Tensor

    @classmethod
    def by(cls, share: float, around: Surroundings, own: Sequence[tuple[Tensor, Tensor]], statistic: str) -> "Chosen":
        """Chooses for each target by its own models: their statistics (K, n) and who was inside, (K, n)."""
        return cls(
            share=share,
            rooms=tuple(
                outliers.selections(share=share, around=around, statistics=values, inside=inside)
                for values, inside in own
            ),
            statistic=statistic,
            separability=torch.stack([outliers.separability(*one) for one in own]).mean(0),
            out_loss=torch.stack([outliers.out_loss(*one) for one in own]).mean(0),
        )

    def masks(self) -> dict[str, Bools]:
        """Who was chosen, by each way, (T, n)."""
        ways = [one.name for one in self.rooms[0]]
        return {
            name: torch.stack([room[place].chosen for room in self.rooms]).numpy() for place, name in enumerate(ways)
        }

    def ever(self) -> dict[str, Bools]:
        """Who was chosen for one target at least, by each way, (n,)."""
        found: dict[str, Bools] = {name: np.any(mask, axis=0) for name, mask in self.masks().items()}
        return found


def worst_case(chosen: Chosen, view: Seen, attacks: Mapping[str, Called], inside: Bools) -> WorstCase:
    """Precision and recall of every attack on the chosen few, beside the average case.

    Args:
        chosen: By own models, for each target.
        view: How the attacker sees the points.
        attacks: Calls of each attack.
        inside: Who was inside which target, (T, n).
    """
    everybody = np.ones_like(inside)
    masks = chosen.masks()
    told = [_few(AVERAGE, "all points asked about", everybody, attacks, inside)]
    for place, (name, mask) in enumerate(masks.items()):
        how = "; ".join(dict.fromkeys(room[place].how for room in chosen.rooms))
        told.append(_few(name, how, mask, attacks, inside))
    n = inside.shape[1]
    repeated = (view.copies.of[:n] >= 0).numpy()
    anyone = np.any([mask.any(0) for mask in masks.values()], axis=0)
    return WorstCase(
        share=chosen.share,
        of=n,
        targets=len(inside),
        embedded=view.embedded,
        statistic=chosen.statistic,
        selections=told,
        repeated=int(repeated.sum()),
        repeated_chosen=int((repeated & anyone).sum()),
    )


def _few(name: str, how: str, asked: Bools, attacks: Mapping[str, Called], inside: Bools) -> ChosenFew:
    everybody = np.ones_like(inside)
    rows, pairs = [], []
    for title, one in attacks.items():
        found = few.calls(one.calls, asked, inside)
        missing = Estimate.undefined(one.note) if one.note else None
        over = few.precision_difference((one.calls, asked), (one.calls, everybody), inside)
        rows.append(
            Few(
                attack=title,
                access=one.access,
                precision=missing or found.precision,
                recall=missing or found.recall,
                right=found.right,
                called=found.called,
                members=found.members,
                over_average=missing or (over if name != AVERAGE else Estimate.undefined("this is the average case")),
            )
        )
    for title, one in attacks.items():
        for other, two in attacks.items():
            if one.access == Access.LABEL and two.access == Access.SCORES and not (one.note or two.note):
                apart = few.precision_difference((one.calls, asked), (two.calls, asked), inside)
                pairs.append(FewPair(first=title, second=other, precision=apart))
    return ChosenFew(name=name, how=how, points=int(asked[0].sum()), attacks=rows, pairs=pairs)


@dataclass(frozen=True, kw_only=True, eq=False)
class Told:
    """What is known of points besides; see `standouts`.

    Attributes:
        chosen: Of each target, or None where nobody chose.
        rows: Row of each id in what was given, where that is known.
        picked: Whether those chosen are told: the choice was asked for.
        show: Whether records are shown.
    """

    chosen: Chosen | None = None
    picked: bool = False
    rows: Mapping[int, int] = field(default_factory=dict)
    show: bool = False


def standouts(places: Sequence[int], view: Seen, told: Told) -> list[Standout]:
    """The points at these places of the samples, and why they may stand out."""
    masks = told.chosen.ever() if told.chosen is not None and told.picked else {}
    everyone, found = view.everyone, []
    for place in places:
        one, copy = int(everyone.ids[place]), int(view.copies.of[place])
        near = zip(view.around.nearest[place].tolist(), view.around.similarity[place].tolist(), strict=True)
        found.append(
            Standout(
                id=one,
                pseudonym=view.pseudonym(place),
                row=told.rows.get(one),
                label=int(everyone.labels[place]),
                chosen=[name for name, mask in masks.items() if mask[place]],
                separability=None if told.chosen is None else _finite(told.chosen.separability[place]),
                out_loss=None if told.chosen is None else _finite(told.chosen.out_loss[place]),
                neighbours=[
                    Neighbour(
                        pseudonym=view.pseudonym(other), label=int(everyone.labels[other]), similarity=round(alike, 4)
                    )
                    for other, alike in near
                ],
                duplicate=view.pseudonym(copy) if copy >= 0 else None,
                shown=text_or_image(everyone, place) if told.show else None,
            )
        )
    return found


def _finite(value: Tensor) -> float | None:
    return float(value) if bool(value.isfinite()) else None
