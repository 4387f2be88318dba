"""Who is exposed: the worst case, groups, single records and repeated games, for the records of both kinds of audit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from hardlabel import outliers, randomness
from hardlabel.attacks import Attack
from hardlabel.calibrations.base import scalars
from hardlabel.data.samples import Samples
from hardlabel.experiments import worst
from hardlabel.experiments.asking import Asking, Side, questions
from hardlabel.experiments.case import Case, ReferencePlan, Terms
from hardlabel.experiments.game import LOGITS, Played, exact
from hardlabel.experiments.owned import Owned
from hardlabel.experiments.slices import Slices
from hardlabel.experiments.worst import Chosen, Seen, Told
from hardlabel.experiments.worst_record import Games, GroupRisk, Named, PointRisk, Standout, WorstCase
from hardlabel.metrics import crossed, intervals
from hardlabel.metrics.discovery import exposed, members_among, own_calls
from hardlabel.metrics.estimate import Estimate
from hardlabel.oracles.budget import Account
from hardlabel.signals.base import Access

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

RATE = 0.1  # False discovery rate of the lists in a record.
MOST_TOLD = 20  # Records told of for each attack.
FEWEST_OF_A_GROUP = 10  # Members, and non-members, below which a group has no figure.
CLASS = "class"


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a record holds of those at risk; see `Results` and `RecipeResults`."""

    worst_case: WorstCase | None
    exposed: list[Standout]
    groups: list[GroupRisk]
    named: list[Named]
    games: list[Games]


def of_audit(
    case: Case,
    terms: Terms,
    owned: Owned,
    real: Side,
    played: Mapping[str, Played],
    *,
    access: Mapping[str, str],
    asking: Asking,
) -> Found:
    """Who is exposed to which attack on one model.

    Args:
        case: As the attacker sees it.
        terms: What was asked.
        owned: The attacker's models.
        real: The target's side with the true labels.
        played: What each attack found.
        access: What each sees.
        asking: Asks the attacker's own models.
    """
    samples, references = owned.target.samples, owned.references
    sides = () if references is None else references.sides
    networks, words = worst.networks_of(owned.target.knowledge, owned.shadow, sides)
    view = worst.seen(samples, None if case.references is None else case.references.pool, networks, words)
    # What a record says of points, pseudonyms included, is by their true labels, as in its scores.
    view = view.relabelled(real.samples)
    inside = real.inside.numpy()
    chosen = None
    if sides:
        values, statistic = worst.statistics_of(asking, sides)
        own = (values, torch.stack([side.inside for side in sides]))
        # Chosen where nobody asked for a worst case too: it says why a record stands out.
        chosen = Chosen.by(terms.worst_case or 1 / len(samples), view.around, [own], statistic)
    few = None
    if terms.worst_case is not None and chosen is not None:
        calls = {name: worst.called(access[name], [one]) for name, one in played.items()}
        few = worst.worst_case(chosen, view, calls, inside[None])
    scores = {name: one.scores.numpy() for name, one in played.items()}
    places = _surest(scores, inside, samples.ids.tolist())
    if terms.worst_case is not None and chosen is not None:
        places += _ever(chosen)
    told = Told(chosen=chosen, rows=case.rows or {}, picked=terms.worst_case is not None, show=terms.show_records)
    slices = {CLASS: dict(zip(real.samples.ids.tolist(), map(str, real.samples.labels.tolist()), strict=True))}
    return Found(
        worst_case=few,
        exposed=worst.standouts([*dict.fromkeys(places)], view, told),
        groups=group_risks(
            {**slices, **case.slices}, real.samples.ids.tolist(), {k: v[None] for k, v in scores.items()}, inside[None]
        ),
        named=[_named(name, access[name], one, inside, terms.seed) for name, one in scores.items()],
        games=[],
    )


def group_risks(
    slices: Mapping[str, Mapping[int, str]], ids: Sequence[int], scores: Mapping[str, Floats], inside: Bools
) -> list[GroupRisk]:
    """Every attack's AUC within every group, with an interval; groups too small have none, and say so.

    Args:
        slices: By column, the group of each id.
        ids: Of the points, (n,).
        scores: By attack, (T, n).
        inside: Who was inside which target, (T, n).
    """
    found = []
    for column, groups in slices.items():
        own = np.array([groups[one] for one in ids])
        for group in sorted(set(own.tolist()), key=_natural):
            mine = own == group
            members, others = int(inside[:, mine].sum(1).min()), int((~inside[:, mine]).sum(1).min())
            for name, values in scores.items():
                found.append(
                    GroupRisk(
                        slice=column,
                        group=group,
                        attack=name,
                        members=members,
                        nonmembers=others,
                        auc=_auc(values[:, mine], inside[:, mine], min(members, others)),
                    )
                )
    return found


def _auc(scores: Floats, inside: Bools, fewest: int) -> Estimate:
    if fewest < FEWEST_OF_A_GROUP:
        return Estimate.undefined(
            f"too small to resolve: needs {FEWEST_OF_A_GROUP} members and non-members, got {fewest}"
        )
    if len(scores) == 1:
        return intervals.auc_interval(scores[0], inside[0])
    return crossed.mean_auc(scores, inside)


def _natural(group: str) -> tuple[int, float, str]:
    """Numbers by their value, then words."""
    try:
        return 0, float(group), group
    except ValueError:
        return 1, 0.0, group


def _named(name: str, access: str, scores: Floats, member: Bools, seed: int) -> Named:
    """Members named at RATE by an attacker who is given half of the non-members, drawn by the seed."""
    others = np.flatnonzero(~member)
    known = randomness.numpy_generator(seed, "known non-members").permutation(others)[: max(1, len(others) // 2)]
    unknown = np.ones(len(member), dtype=bool)
    unknown[known] = False
    found = members_among(scores[unknown], scores[known], rate=RATE).found
    return Named(
        attack=name,
        access=access,
        rate=RATE,
        known=len(known),
        asked=int(unknown.sum()),
        named=int(found.sum()),
        right=int((found & member[unknown]).sum()),
    )


def repeated_games(
    attacks: Sequence[Attack],
    sides: Sequence[Side],
    view: Seen,
    few: Bools | None,
    *,
    budget: int | None,
    asking: Asking,
) -> list[Games]:
    """Which points are exposed by repeated games on all models of the complementary pairs.

    Each model of a pair plays target, the other one is the game without. A point's value is the attack's own signal;
    it is called a member where its value reaches the median of the values that the models of all other pairs, inside
    and outside alike, give it. So neither threshold nor direction depends on who was inside, which an exact test of
    the pairs' coins needs: calibrations per sample learn from those coins and are not used here.

    Args:
        attacks: Whose signals are played, but for those made for a single target.
        sides: All models, 2p and 2p + 1 being partners.
        view: The points.
        few: The few whose choice did not look at who was inside, (n,) bool, tested apart; or None.
        budget: Most queries per sample.
        asking: Asks the models.
    """
    inside = torch.stack([side.inside for side in sides]).numpy()
    if len(sides) < 4:
        return []  # A point's threshold comes from other pairs.
    found = []
    for attack in attacks:
        values = _signals(attack, sides, budget=budget, asking=asking)
        if values is None:
            continue
        calls = own_calls(values)
        for which, mine in (("all points asked about", np.ones(inside.shape[1], dtype=bool)), ("the few", few)):
            if mine is not None and mine.any():
                found.append(_games(attack, which, calls[:, mine], inside[:, mine], np.flatnonzero(mine), view))
    return found


def _games(attack: Attack, which: str, calls: Bools, inside: Bools, places: NDArray[np.int64], view: Seen) -> Games:
    told = exposed(calls, inside, rate=RATE, pairs=True)
    order = sorted(
        range(len(places)),
        key=lambda at: (told.adjusted[at], -(told.advantages[at].value or 0.0), int(view.samples.ids[places[at]])),
    )
    return Games(
        attack=attack.name,
        access=str(attack.access),
        which=which,
        targets=len(inside),
        points=len(places),
        rate=RATE,
        found=int(told.found.sum()),
        confidence=told.confidence,
        top=[
            PointRisk(
                id=int(view.samples.ids[places[at]]),
                pseudonym=view.pseudonym(int(places[at])),
                advantage=told.advantages[at],
                adjusted=float(told.adjusted[at]),
            )
            for at in order[:MOST_TOLD]
        ],
    )


def _signals(attack: Attack, sides: Sequence[Side], *, budget: int | None, asking: Asking) -> Floats | None:
    """One number from each model about each point, (T, n), higher for likelier members; None where there is none."""
    if attack.made_for_one:
        return None
    question = questions(attack, sides[0], budget)[-1]
    if attack.access == Access.SCORES:
        question = LOGITS  # Whatever it reads, this one tells most about a single point.
    question = exact(question)
    answers = asking.answers(question, sides, f"{attack.name} on model", account=Account)
    values = torch.stack([one.measured.values for one in answers])
    columns = scalars(values, censored=getattr(question.signal, "censored", False)).nan_to_num(nan=0.0).numpy()
    spread = columns.std(axis=(0, 1))
    usual = (columns - columns.mean(axis=(0, 1))) / np.where(spread > 0, spread, 1.0)
    mean: Floats = usual.mean(axis=2)
    return mean


def _surest(scores: Mapping[str, Floats], inside: Bools, ids: Sequence[int]) -> list[int]:
    """The members each attack is surest of, as `reports.tables.most_exposed` picks them, each once."""
    found: dict[int, None] = {}
    for values in scores.values():
        able = inside & ~np.isnan(values)
        order = np.lexsort((np.asarray(ids), -values, ~able))
        found |= dict.fromkeys(order[: min(MOST_TOLD, int(able.sum()))].tolist())
    return list(found)


def _ever(chosen: Chosen) -> list[int]:
    """Who was chosen for one target at least, in any way."""
    places: list[int] = np.flatnonzero(np.any(list(chosen.ever().values()), axis=0)).tolist()
    return places


def with_pseudonyms(frame: pd.DataFrame, samples: Samples) -> pd.DataFrame:
    """The scores with what reports call each record."""
    names = {one: worst.pseudonym(one, samples) for one in samples.ids.tolist()}
    return frame.assign(pseudonym=frame["id"].map(names))


class Sides(Protocol):
    """The models of a recipe around one table; see `recipe.Table`."""

    @property
    def sides(self) -> tuple[Side, ...]: ...

    @property
    def shadow(self) -> Side | None: ...


class Asked(Protocol):
    """What a recipe's audit works on; see `recipe.RecipeCase`."""

    @property
    def plan(self) -> ReferencePlan: ...

    @property
    def slices(self) -> Slices: ...

    @property
    def rows(self) -> dict[int, int]: ...


def of_recipe(
    case: Asked,
    table: Sides,
    terms: Terms,
    numbers: Sequence[int],
    played: Mapping[str, Sequence[Played]],
    *,
    rows: Sequence[Attack],
    asking: Asking,
) -> Found:
    """Who is exposed to which attack on models trained by one recipe.

    Args:
        case: What was asked about.
        table: Every model.
        terms: What was asked.
        numbers: Who played target.
        played: What each attack found on each.
        rows: The attacks, by whose signals repeated games are played on all models.
        asking: Asks the models.
    """
    sides, samples = table.sides, table.sides[0].samples
    networks, words = worst.networks_of(sides[0].knowledge, table.shadow, ())
    view = worst.seen(samples, case.plan.pool, networks, words)
    inside = torch.stack([sides[one].inside for one in numbers]).numpy()
    values, statistic = worst.statistics_of(asking, sides)
    everybody = torch.stack([side.inside for side in sides])
    own = []
    for number in numbers:
        others = [one for one in range(len(sides)) if one not in (number, number ^ 1)]
        own.append((values[others], everybody[others]))
    chosen = Chosen.by(terms.worst_case or 1 / len(samples), view.around, own, statistic)
    few, blind = None, None
    access = {one.name: str(one.access) for one in rows}
    if terms.worst_case is not None:
        calls = {name: worst.called(access[name], found) for name, found in played.items()}
        few = worst.worst_case(chosen, view, calls, inside)
        # Neighbours say nothing of who was inside; the radius, chosen for each target by its own models, is left out.
        count = max(1, round(terms.worst_case * len(samples)))
        blind = outliers.fewest(view.around, count, torch.zeros(len(samples), dtype=torch.float64)).chosen.numpy()
    asked = [one for one in rows if one.name in played]
    games = repeated_games(asked, sides, view, blind, budget=terms.budget, asking=asking)
    scores = {name: torch.stack([one.scores for one in found]).numpy() for name, found in played.items()}
    places = [] if terms.worst_case is None else _ever(chosen)
    where = {one: place for place, one in enumerate(samples.ids.tolist())}
    places += [where[point.id] for game in games for point in game.top]
    told = Told(chosen=chosen, rows=case.rows, picked=terms.worst_case is not None, show=terms.show_records)
    classes = {CLASS: dict(zip(samples.ids.tolist(), map(str, samples.labels.tolist()), strict=True))}
    return Found(
        worst_case=few,
        exposed=worst.standouts([*dict.fromkeys(places)], view, told),
        groups=group_risks({**classes, **case.slices}, samples.ids.tolist(), scores, inside),
        named=[],
        games=games,
    )
