"""Who is exposed: the worst case, groups, single records and repeated games, in an audit of a model or a recipe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from hardlabel import outliers, randomness
from hardlabel.attacks import Attack
from hardlabel.audits.attacker.models import Owned
from hardlabel.audits.cases.case import Case
from hardlabel.audits.cases.plans import ReferencePlan
from hardlabel.audits.cases.slices import Slices
from hardlabel.audits.cases.terms import Terms
from hardlabel.audits.findings import worst_case as worst
from hardlabel.audits.findings.worst_case import Chosen, Seen, Told
from hardlabel.audits.game.asking import Asking, ScoreQuestion, Side, questions
from hardlabel.audits.game.chunks import cuts
from hardlabel.audits.game.game import LOGITS, Played, exact
from hardlabel.audits.plan import Questions, Seats
from hardlabel.calibrations.base import scalars
from hardlabel.data.pseudonyms import numbers, pseudonyms
from hardlabel.data.samples import Samples
from hardlabel.metrics import crossed, intervals
from hardlabel.metrics.discovery import exposed, members_among, own_calls
from hardlabel.metrics.estimate import Estimate
from hardlabel.oracles.budget import Account
from hardlabel.records.exposure import CLASS, Games, GroupRisk, Named, PointRisk, Standout, WorstCase
from hardlabel.signals.base import Access

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

RATE = 0.1  # False discovery rate of the lists in a record.
MOST_TOLD = 20  # Most records listed for each attack.
FEWEST_OF_A_GROUP = 10  # A group with fewer members or non-members has no figure.


@dataclass(frozen=True, kw_only=True)
class Found:
    """The parts of a record about points at risk; see `Results` and `RecipeResults`."""

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
        case: The case, as the attacker sees it.
        terms: What the audit asks for.
        owned: The attacker's models.
        real: The target's side with the true labels.
        played: The outcome of each attack.
        access: What each attack sees, "label" or "scores".
        asking: Asks the attacker's own models.
    """
    samples, references, share = owned.target.samples, owned.references, terms.focus.worst_case
    sides = () if references is None else references.sides
    networks, words = worst.networks_of(owned.target.knowledge, owned.shadow, sides)
    points = worst.seen(samples, None if case.references is None else case.references.pool, networks, words)
    # Facts about points in a record, pseudonyms included, use the true labels, like its scores.
    points = points.relabelled(real.samples)
    inside = real.inside.numpy()
    scores = {name: outcome.scores.numpy() for name, outcome in played.items()}
    places = _surest(scores, inside, points.numbers)
    chosen, worst_case = None, None
    if sides:
        values, statistic = worst.statistics_of(asking, sides)
        memberships = torch.stack([side.inside for side in sides])
        # Also without a worst case: the choice says why a record stands out.
        chosen = Chosen.by(share or 1 / len(samples), points.around, [(values, memberships)], statistic)
        if share is not None:
            calls = {name: worst.called(access[name], [outcome]) for name, outcome in played.items()}
            worst_case = worst.worst_case(chosen, points, calls, inside[None])
            places += _ever_chosen(chosen)
    told = Told(chosen=chosen, rows=case.rows, picked=share is not None, show=terms.focus.show_records)
    return Found(
        worst_case=worst_case,
        exposed=worst.standouts([*dict.fromkeys(places)], points, told),
        groups=_groups(
            real.samples, case.slices, {name: values[None] for name, values in scores.items()}, inside[None]
        ),
        named=[_named(name, access[name], values, inside, terms.seed) for name, values in scores.items()],
        games=[],
    )


def _groups(
    samples: Samples, slices: Mapping[str, Mapping[int, str]], scores: Mapping[str, Floats], inside: Bools
) -> list[GroupRisk]:
    """The risks of all classes and of the groups of `slices`."""
    ids = samples.ids.tolist()
    classes = {CLASS: dict(zip(ids, map(str, samples.labels.tolist()), strict=True))}
    return group_risks({**classes, **slices}, ids, scores, inside)


def looks(seats: Seats, *, chunk: int) -> Questions:
    """Most questions to the attacker's own models beside those of attacks: the confidences of all references."""
    return Questions(
        measurements=seats.references * len(cuts(seats.attacked, chunk)), rows=seats.references * seats.attacked
    )


def group_risks(
    slices: Mapping[str, Mapping[int, str]], ids: Sequence[int], scores: Mapping[str, Floats], inside: Bools
) -> list[GroupRisk]:
    """Every attack's AUC within every group, with an interval; undefined in groups that are too small.

    Args:
        slices: The group of each id, by column.
        ids: The points' ids, (n,).
        scores: Scores (T, n) of each attack.
        inside: Which points were inside which target, (T, n).
    """
    risks = []
    for column, groups in slices.items():
        group_of = np.array([groups[point_id] for point_id in ids])
        for group in sorted(set(group_of.tolist()), key=_natural):
            rows = group_of == group
            members, nonmembers = int(inside[:, rows].sum(1).min()), int((~inside[:, rows]).sum(1).min())
            for name, values in scores.items():
                risks.append(
                    GroupRisk(
                        slice=column,
                        group=group,
                        attack=name,
                        members=members,
                        nonmembers=nonmembers,
                        auc=_auc(values[:, rows], inside[:, rows], min(members, nonmembers)),
                    )
                )
    return risks


def _auc(scores: Floats, inside: Bools, fewest: int) -> Estimate:
    if fewest < FEWEST_OF_A_GROUP:
        return Estimate.undefined(
            f"too small to resolve: needs {FEWEST_OF_A_GROUP} members and non-members, got {fewest}"
        )
    if len(scores) == 1:
        return intervals.auc_interval(scores[0], inside[0])
    return crossed.mean_auc(scores, inside)


def _natural(group: str) -> tuple[int, float, str]:
    """Sorts numbers by value, then words."""
    try:
        return 0, float(group), group
    except ValueError:
        return 1, 0.0, group


def _named(name: str, access: str, scores: Floats, inside: Bools, seed: int) -> Named:
    """Members named at RATE by an attacker who knows half of the non-members, drawn by the seed."""
    outside = np.flatnonzero(~inside)
    known = randomness.numpy_generator(seed, "known non-members").permutation(outside)[: max(1, len(outside) // 2)]
    unknown = np.ones(len(inside), dtype=bool)
    unknown[known] = False
    named = members_among(scores[unknown], scores[known], rate=RATE).found
    return Named(
        attack=name,
        access=access,
        rate=RATE,
        known=len(known),
        asked=int(unknown.sum()),
        named=int(named.sum()),
        right=int((named & inside[unknown]).sum()),
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
    """The points exposed by repeated games on all models of the complementary pairs.

    Each model plays target: a pair gives every point a game with it and a game without it. A point is called a member
    if its value of the attack's signal reaches the median of its values on the models of all other pairs. Neither
    threshold nor direction depends on who was inside, as the exact test of the pairs' coins requires. Calibrations per
    sample learn from these coins, so they are not used here.

    Args:
        attacks: The attacks whose signals are played; attacks made for a single target are left out.
        sides: All models; 2p and 2p + 1 are partners.
        view: The points.
        few: Points chosen without a look at who was inside, (n,) bool, which are tested apart; or None.
        budget: Most queries per sample.
        asking: Asks the models.
    """
    inside = torch.stack([side.inside for side in sides]).numpy()
    if len(sides) < 4:
        return []  # A point's threshold comes from other pairs.
    games = []
    for attack in attacks:
        values = _signals(attack, sides, budget=budget, asking=asking)
        if values is None:
            continue
        calls = own_calls(values)
        for which, rows in (("all points asked about", np.ones(inside.shape[1], dtype=bool)), ("the few", few)):
            if rows is not None and rows.any():
                games.append(_games(attack, which, calls[:, rows], inside[:, rows], np.flatnonzero(rows), view))
    return games


def _games(attack: Attack, which: str, calls: Bools, inside: Bools, places: NDArray[np.int64], points: Seen) -> Games:
    tested = exposed(calls, inside, rate=RATE, pairs=True)
    ids = [points.numbers[place] for place in places]
    order = sorted(
        range(len(places)), key=lambda at: (tested.adjusted[at], -(tested.advantages[at].value or 0.0), ids[at])
    )
    return Games(
        attack=attack.name,
        access=str(attack.access),
        which=which,
        targets=len(inside),
        points=len(places),
        rate=RATE,
        found=int(tested.found.sum()),
        confidence=tested.confidence,
        top=[
            PointRisk(
                id=ids[at],
                pseudonym=points.pseudonyms[places[at]],
                advantage=tested.advantages[at],
                adjusted=float(tested.adjusted[at]),
            )
            for at in order[:MOST_TOLD]
        ],
    )


def _signals(attack: Attack, sides: Sequence[Side], *, budget: int | None, asking: Asking) -> Floats | None:
    """One number from each model about each point, (T, n), higher for likelier members; None if there is none."""
    if attack.made_for_one:
        return None
    question = questions(attack, sides[0], budget)[-1]
    if attack.access == Access.SCORES:
        question = LOGITS  # For every attack that sees scores: logits tell most about a single point.
    question = exact(question)
    if attack.access == Access.LABEL and isinstance(question, ScoreQuestion):
        return None  # What it learns from scores is no signal of a target that shows labels only.
    answers = asking.answers(question, sides, f"{attack.name} on model", account=Account)
    values = torch.stack([answer.measured.values for answer in answers])
    columns = scalars(values, censored=getattr(question.signal, "censored", False)).nan_to_num(nan=0.0).numpy()
    spread = columns.std(axis=(0, 1))
    standardized = (columns - columns.mean(axis=(0, 1))) / np.where(spread > 0, spread, 1.0)
    mean: Floats = standardized.mean(axis=2)
    return mean


def _surest(scores: Mapping[str, Floats], inside: Bools, ids: Sequence[int]) -> list[int]:
    """The members each attack is surest of, each once, picked like `reports.tables.most_exposed`."""
    places: dict[int, None] = {}
    for values in scores.values():
        able = inside & ~np.isnan(values)
        order = np.lexsort((np.asarray(ids), -values, ~able))
        places |= dict.fromkeys(order[: min(MOST_TOLD, int(able.sum()))].tolist())
    return list(places)


def _ever_chosen(chosen: Chosen) -> list[int]:
    """The places of points chosen in any way for at least one target."""
    places: list[int] = np.flatnonzero(np.any(list(chosen.ever().values()), axis=0)).tolist()
    return places


def published(frame: pd.DataFrame, samples: Samples, *, show: bool = False) -> pd.DataFrame:
    """The scores as a record holds them: nothing of them tells the row of a record, not even their order.

    Each id becomes its number in the order of pseudonyms, by which each attack's scores on each target are sorted. The
    pseudonyms are added, and the rows left out, unless records are to be shown.

    Args:
        frame: The scores of each attack, with the ids of `samples`.
        samples: The points asked about.
        show: Whether the rows stay.
    """
    names = dict(zip(samples.ids.tolist(), pseudonyms(samples), strict=True))
    frame = frame.assign(pseudonym=frame["id"].map(names), id=frame["id"].map(numbers(samples)))
    keys = {name: pd.factorize(frame[name])[0] for name in ("attack", "target") if name in frame}
    order = np.lexsort([frame["id"].to_numpy(), *reversed(keys.values())])  # The last key sorts first.
    frame = frame.iloc[order].reset_index(drop=True)
    return frame if show else frame.drop(columns="row", errors="ignore")


class Sides(Protocol):
    """The models of a recipe; see `PairedModels`."""

    @property
    def sides(self) -> tuple[Side, ...]: ...

    @property
    def shadow(self) -> Side | None: ...


class Asked(Protocol):
    """The case of a recipe's audit; see `RecipeCase`."""

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
        case: The case.
        table: Every model.
        terms: What the audit asks for.
        numbers: The models that played target.
        played: The outcomes of each attack, one for each target.
        rows: The attacks, whose signals are also played in repeated games on all models.
        asking: Asks the models.
    """
    sides, samples, share = table.sides, table.sides[0].samples, terms.focus.worst_case
    networks, words = worst.networks_of(sides[0].knowledge, table.shadow, ())
    points = worst.seen(samples, case.plan.pool, networks, words)
    inside = torch.stack([sides[number].inside for number in numbers]).numpy()
    values, statistic = worst.statistics_of(asking, sides)
    memberships = torch.stack([side.inside for side in sides])
    evidence = []
    for number in numbers:
        references = [model for model in range(len(sides)) if model not in (number, number ^ 1)]
        evidence.append((values[references], memberships[references]))
    chosen = Chosen.by(share or 1 / len(samples), points.around, evidence, statistic)
    worst_case, blind, places = None, None, list[int]()
    if share is not None:
        access = {attack.name: str(attack.access) for attack in rows}
        calls = {name: worst.called(access[name], outcomes) for name, outcomes in played.items()}
        worst_case = worst.worst_case(chosen, points, calls, inside)
        # This choice must not depend on who was inside. Zeros stand for separability, which would choose the radius.
        count = max(1, round(share * len(samples)))
        blind = outliers.fewest(points.around, count, torch.zeros(len(samples), dtype=torch.float64)).chosen.numpy()
        places = _ever_chosen(chosen)
    attacks = [attack for attack in rows if attack.name in played]
    games = repeated_games(attacks, sides, points, blind, budget=terms.budget, asking=asking)
    place_of = {number: place for place, number in enumerate(points.numbers)}
    places += [place_of[point.id] for game in games for point in game.top]
    scores = {name: torch.stack([outcome.scores for outcome in outcomes]).numpy() for name, outcomes in played.items()}
    told = Told(chosen=chosen, rows=case.rows, picked=share is not None, show=terms.focus.show_records)
    return Found(
        worst_case=worst_case,
        exposed=worst.standouts([*dict.fromkeys(places)], points, told),
        groups=_groups(samples, case.slices, scores, inside),
        named=[],
        games=games,
    )
