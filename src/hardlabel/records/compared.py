"""What changed from one run to another, with intervals: a pure function of the two records.

Where two audits of a model asked about the same records, changes are paired. Records are recognised by their
pseudonyms, which are the same in all runs of one data holder.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardlabel.checks import InvalidInput, shown
from hardlabel.metrics import crossed
from hardlabel.metrics.changes import (
    Scored,
    auc_change,
    balanced_accuracy_change,
    difference,
    rate_change,
    tpr_changes,
)
from hardlabel.metrics.estimate import Estimate
from hardlabel.randomness import derive
from hardlabel.records.base import Record
from hardlabel.records.canaries import ALL, CanaryRecord
from hardlabel.records.changes import (
    AUC,
    EPSILON,
    QUERIES,
    TEST,
    TRAIN,
    Change,
    ComparedRun,
    Comparison,
    Later,
    SettingChange,
)
from hardlabel.records.defenses import DefendRecord
from hardlabel.records.model import AttackResult, AuditRecord
from hardlabel.records.pairs import Pairs
from hardlabel.records.recipe import RecipeAttack, RecipeRecord
from hardlabel.records.verdict import Grade
from hardlabel.runs.conditions import LABEL, TARGET, TPR
from hardlabel.runs.settings import flat

# Settings that name places and work, not what is audited.
ASIDE = frozenset({"out", "jobs", "chunk", "rate", "timeout", "ca", "max_rows", "price_per_1000", "header_env"})


def compare(
    first: Record[Any], second: Record[Any], *others: Record[Any], names: Sequence[str] | None = None
) -> Comparison:
    """What changed between runs of one kind, for example between versions of a model.

    The interval of a change says what other records would have shown. It does not say what training the same model once
    more would have changed; an audit with `repeats` measures that.

    Args:
        first: The baseline: a record from `audit`, `audit_recipe`, `defend`, `audit_canaries` or `load`.
        second: A later run of the same kind.
        others: Further runs, each compared with the baseline.
        names: What the runs are called; None for the names of their folders.

    Raises:
        InvalidInput: A run is not a record, runs are of several kinds, or `names` has another length.

    Example:
        >>> import hardlabel
        >>> first, second = hardlabel.load("runs/v1"), hardlabel.load("runs/v2")
        >>> hardlabel.compare(first, second).later[0].change("label", "auc").change
        Estimate(value=-0.0..., low=-0.0..., high=0.0..., note='')
    """
    records = [first, second, *others]
    kinds = [_kind(record) for record in records]
    if len(set(kinds)) > 1:
        raise InvalidInput(f"runs must be of one kind to be compared, got {', '.join(kinds)}")
    if names is not None and len(names) != len(records):
        raise InvalidInput(f"names must have one name for each of {len(records)} runs, got {len(names)}")
    called = list(names) if names is not None else _names(records)
    return Comparison(
        kind=kinds[0],
        confidence=getattr(first.results, "confidence", 0.95),
        baseline=_run(first, called[0]),
        later=[
            _compared(first, record, _run(record, name)) for record, name in zip(records[1:], called[1:], strict=True)
        ],
    )


def _kind(record: object) -> str:
    for name, kind in _KINDS.items():
        if isinstance(record, kind):
            return name
    raise InvalidInput(f"runs must be records of audits, got {shown(record)}")


_KINDS: Mapping[str, type[Record[Any]]] = {
    "model": AuditRecord,
    "recipe": RecipeRecord,
    "defenses": DefendRecord,
    "canaries": CanaryRecord,
}


def _names(records: Sequence[Record[Any]]) -> list[str]:
    """The names of the run folders, told apart by their parents or by numbers where they are alike."""
    names = [
        f"run {number}" if record.folder is None else record.folder.resolve().name
        for number, record in enumerate(records, start=1)
    ]
    return names if len(set(names)) == len(names) else [f"{name} ({at})" for at, name in enumerate(names, start=1)]


def _run(record: Record[Any], name: str) -> ComparedRun:
    results = record.results
    verdict, choice = getattr(results, "verdict", None), getattr(results, "choice", None)
    return ComparedRun(
        name=name,
        id=record.id,
        data=results.data,
        title=record.title,
        grade="" if verdict is None else str(verdict.grade),
        attack="" if choice is None else choice.attack,
        started=results.environment.started,
        version=results.environment.versions.get("hardlabel", ""),
    )


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What a comparison of one kind of record gives; see `Later`."""

    changes: list[Change]
    costs: list[Change]
    pairing: str
    names: tuple[list[str], list[str]]
    of: tuple[int, int] = (0, 0)
    same: int | None = None
    doubts: tuple[str, ...] = ()


def _compared(first: Record[Any], second: Record[Any], run: ComparedRun) -> Later:
    if isinstance(first, AuditRecord) and isinstance(second, AuditRecord):
        found = _models(first, second)
    elif isinstance(first, RecipeRecord) and isinstance(second, RecipeRecord):
        found = _recipes(first, second)
    elif isinstance(first, DefendRecord) and isinstance(second, DefendRecord):
        found = _defenses(first, second)
    else:
        assert isinstance(first, CanaryRecord)
        assert isinstance(second, CanaryRecord)
        found = _canaries(first, second)
    before, after = found.names
    return Later(
        run=run,
        same=found.same,
        of=found.of,
        pairing=found.pairing,
        changes=found.changes,
        costs=found.costs,
        settings=_settings(first.config, second.config),
        only_first=[name for name in before if name not in after],
        only_second=[name for name in after if name not in before],
        doubts=[*_doubts(first, second), *found.doubts],
    )


def _doubts(first: Record[Any], second: Record[Any]) -> Iterator[str]:
    if first.results.data != second.results.data:
        yield "The two runs are about other data: a change may come from the data alone."
    grades = [getattr(getattr(record.results, "verdict", None), "grade", None) for record in (first, second)]
    for grade, which in zip(grades, ("baseline", "later run"), strict=True):
        if grade is Grade.NO_VERDICT:
            yield f"The {which} has no verdict, since its evidence contradicts itself: do not believe its figures."
    if isinstance(first, AuditRecord):
        yield (
            "Each run is about one model. The intervals say what other records would have shown. They do not say what "
            "training once more would have changed: that alone moves figures too, and an audit with --repeats measures "
            "it."
        )


def _settings(first: Mapping[str, object], second: Mapping[str, object]) -> list[SettingChange]:
    """The settings that differ, by name."""
    before, after = flat(first), flat(second)
    names = [name for name in dict.fromkeys([*before, *after]) if name not in ASIDE]
    return [
        SettingChange(name=name, first=_shown(before, name), second=_shown(after, name))
        for name in names
        if before.get(name) != after.get(name)
    ]


def _shown(settings: Mapping[str, object], name: str) -> str:
    value = settings.get(name)
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _models(first: AuditRecord, second: AuditRecord) -> _Found:
    pairs = Pairs.of(first, second)
    before = {attack.name: attack for attack in first.results.attacks}
    after = {attack.name: attack for attack in second.results.attacks}
    changes, doubts = _target(first, second, pairs), []
    named = [record.results.choice.attack if record.results.choice else "" for record in (first, second)]
    if named[0] in before and named[1] in after:
        changes += _attack(LABEL, (first, before[named[0]]), (second, after[named[1]]), pairs)
        if named[0] != named[1]:
            doubts.append(
                f"The ranking names {named[0]} for the baseline and {named[1]} for the later run: “label” changed with "
                "the attack, too."
            )
    common = [name for name in before if name in after]
    for name in common:
        changes += _attack(name, (first, before[name]), (second, after[name]), pairs)
    return _Found(
        changes=changes,
        costs=[_cost(name, before[name], after[name]) for name in common],
        pairing=pairs.words,
        names=(list(before), list(after)),
        of=pairs.of_each,
        same=pairs.same,
        doubts=tuple(doubts),
    )


def _cost(name: str, first: AttackResult | RecipeAttack, second: AttackResult | RecipeAttack) -> Change:
    before, after = (Estimate(attack.queries_per_sample.mean) for attack in (first, second))
    assert before.value is not None
    assert after.value is not None
    change = Estimate(after.value - before.value)
    return Change(subject=name, metric=QUERIES, first=before, second=after, change=change)


def _target(first: AuditRecord, second: AuditRecord, pairs: "Pairs") -> list[Change]:
    """The accuracies of the target, paired where both runs have the answers of the gap attack."""
    changes = []
    for metric in (TRAIN, TEST):
        own = getattr(first.results.target, metric), getattr(second.results.target, metric)
        right = _right(first, pairs, 0), _right(second, pairs, 1)
        if pairs.any and right[0] is not None and right[1] is not None:
            change = rate_change(right[0], right[1], own=own, inside=metric == TRAIN)
        else:
            change = difference(*own)
        paired = pairs.any and None not in right
        changes.append(Change(subject=TARGET, metric=metric, first=own[0], second=own[1], change=change, paired=paired))
    return changes


def _right(record: AuditRecord, pairs: "Pairs", which: int) -> Scored | None:
    """Which samples the target is right on, from the gap attack; None if its scores do not show it."""
    scored = pairs.scored(which, "gap")
    if scored is None:
        return None
    right = (scored.scores > scored.scores.min()).astype(float)
    for metric, group in ((TRAIN, scored.member), (TEST, ~scored.member)):
        value = getattr(record.results.target, metric).value
        if value is None or len(np.unique(scored.scores)) > 2 or abs(right[group].mean() - value) > 1e-6:
            return None
    return Scored(scores=right, member=scored.member, records=scored.records)


def _attack(
    subject: str, first: tuple[AuditRecord, AttackResult], second: tuple[AuditRecord, AttackResult], pairs: "Pairs"
) -> list[Change]:
    """The changes of an attack's figures. The two may be other attacks, if the ranking names others."""
    one, other = first[1], second[1]
    before, after = pairs.scored(0, one.name), pairs.scored(1, other.name)
    figures = {AUC: (one.auc, other.auc), "balanced_accuracy": (one.balanced_accuracy, other.balanced_accuracy)}
    figures["advantage"] = (one.advantage, other.advantage)
    rates = {
        rate: (one.tpr_at_fpr[rate], other.tpr_at_fpr[rate]) for rate in one.tpr_at_fpr if rate in other.tpr_at_fpr
    }
    found: dict[str, Estimate]
    paired = pairs.any and before is not None and after is not None
    if paired:
        assert before is not None
        assert after is not None
        seed = derive(first[0].results.environment.seed, "change", one.name, other.name)
        accuracy = balanced_accuracy_change(
            before, after, own=figures["balanced_accuracy"], precisions=(one.precision, other.precision)
        )
        tprs = tpr_changes(before, after, own={float(rate): pair for rate, pair in rates.items()}, seed=seed)
        found = {
            AUC: auc_change(before, after, own=figures[AUC], confidence=first[0].results.confidence),
            "balanced_accuracy": accuracy,
            "advantage": _doubled(accuracy),
            **{f"{TPR}@{rate}": tprs[float(rate)] for rate in rates},
        }
    else:
        found = {name: difference(*pair, widest=2.0 if name == "advantage" else 1.0) for name, pair in figures.items()}
        found |= {f"{TPR}@{rate}": difference(*pair) for rate, pair in rates.items()}
    figures |= {f"{TPR}@{rate}": pair for rate, pair in rates.items()}
    return [
        Change(
            subject=subject,
            metric=metric,
            first=figures[metric][0],
            second=figures[metric][1],
            change=change,
            paired=paired and change.value is not None,
        )
        for metric, change in found.items()
    ]


def _doubled(change: Estimate) -> Estimate:
    """The change of an advantage, which is twice balanced accuracy less one."""
    value, low, high = (None if end is None else 2 * end for end in (change.value, change.low, change.high))
    return Estimate(value, low, high, change.note)


def _recipes(first: RecipeRecord, second: RecipeRecord) -> _Found:
    before = {attack.name: attack for attack in first.results.attacks}
    after = {attack.name: attack for attack in second.results.attacks}
    common = [name for name in before if name in after]
    tables = [_crossed(record, list(named)) for record, named in ((first, before), (second, after))]
    paired = (
        tables[0] is not None
        and tables[1] is not None
        and tables[0].names == tables[1].names
        and np.array_equal(tables[0].inside, tables[1].inside)
    )
    targets = [record.results.targets for record in (first, second)]
    changes = []
    for metric in (TRAIN, TEST):
        own = [Estimate(float(np.mean([getattr(target, metric) for target in those]))) for those in targets if those]
        if len(own) == 2:
            changes.append(Change(subject=TARGET, metric=metric, first=own[0], second=own[1], change=difference(*own)))
    named = (first.results.choice.attack, second.results.choice.attack)
    subjects = [(LABEL, *named)] if named[0] in before and named[1] in after else []
    for subject, one, other in [*subjects, *((name, name, name) for name in common)]:
        pair = before[one].auc, after[other].auc
        change = difference(*pair)
        if paired:
            assert tables[0] is not None
            assert tables[1] is not None
            change = crossed.auc_difference(
                tables[1].scores[other], tables[0].scores[one], tables[0].inside, confidence=first.results.confidence
            )
        changes.append(Change(subject=subject, metric=AUC, first=pair[0], second=pair[1], change=change, paired=paired))
        for rate in before[one].tpr_at_fpr:
            if rate in after[other].tpr_at_fpr:
                rates = before[one].tpr_at_fpr[rate], after[other].tpr_at_fpr[rate]
                changes.append(
                    Change(
                        subject=subject,
                        metric=f"{TPR}@{rate}",
                        first=rates[0],
                        second=rates[1],
                        change=difference(*rates),
                    )
                )
    words = "the targets were trained on other halves of the records, or on other records"
    return _Found(
        changes=changes,
        costs=[_cost(name, before[name], after[name]) for name in common],
        pairing=f"AUCs are paired: both runs trained {len(targets[0])} targets on the same halves of the same "
        f"{first.results.samples:,} records. TPRs count as independent."
        if paired
        else f"Not paired: {words}. The changes are between independent samples.",
        names=(list(before), list(after)),
        of=(first.results.samples, second.results.samples),
        same=first.results.samples if paired else None,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Crossed:
    """The scores of each attack (targets, samples), who is inside, and the pseudonyms of the samples."""

    scores: Mapping[str, NDArray[np.float64]]
    inside: NDArray[np.bool_]
    names: list[str]


def _crossed(record: RecipeRecord, attacks: Sequence[str]) -> _Crossed | None:
    frame, targets = record.scores, len(record.results.targets)
    if not len(frame) or "pseudonym" not in frame:
        return None
    frame = frame.sort_values(["target", "pseudonym", "id"], kind="stable")
    rows = {name: frame[frame["attack"] == name] for name in attacks}
    if not rows or any(len(own) != targets * record.results.samples for own in rows.values()):
        return None
    if any(own["score"].isna().any() for own in rows.values()):
        return None
    one = next(iter(rows.values()))
    return _Crossed(
        scores={name: own["score"].to_numpy(dtype=np.float64).reshape(targets, -1) for name, own in rows.items()},
        inside=one["member"].to_numpy(dtype=bool).reshape(targets, -1),
        names=one["pseudonym"].tolist()[: record.results.samples],
    )


def _defenses(first: DefendRecord, second: DefendRecord) -> _Found:
    before = {defense.name: defense for defense in first.results.defenses}
    after = {defense.name: defense for defense in second.results.defenses}
    changes = []
    for name in before:
        if name not in after:
            continue
        figures = {(name, TEST): (before[name].test_accuracy, after[name].test_accuracy)}
        titles = [attack.title for attack in after[name].attacks]
        for attack in before[name].attacks:
            if attack.title in titles:
                other = after[name].attack(attack.title)
                subject = f"{name}.{attack.title}"
                figures |= {(subject, AUC): (attack.auc, other.auc), (subject, f"{TPR}@0.01"): (attack.tpr, other.tpr)}
        changes += [
            Change(subject=subject, metric=metric, first=pair[0], second=pair[1], change=difference(*pair))
            for (subject, metric), pair in figures.items()
        ]
    return _Found(
        changes=changes,
        costs=[],
        pairing="Not paired: comparisons of defenses hold no pseudonyms. The changes are between independent samples.",
        names=(list(before), list(after)),
        of=(first.results.samples, second.results.samples),
    )


def _canaries(first: CanaryRecord, second: CanaryRecord) -> _Found:
    before, after = (
        {f"{bound.access}" if bound.kind == ALL else f"{bound.access}, {bound.kind}": bound for bound in bounds}
        for bounds in (first.results.bounds, second.results.bounds)
    )
    changes = []
    for name in before:
        if name in after:
            own = Estimate(before[name].epsilon), Estimate(after[name].epsilon)
            change = Estimate(after[name].epsilon - before[name].epsilon, note="both are bounds from below")
            changes.append(Change(subject=name, metric=EPSILON, first=own[0], second=own[1], change=change))
    return _Found(
        changes=changes,
        costs=[],
        pairing="Both runs give bounds from below: their difference bounds nothing and has no interval.",
        names=(list(before), list(after)),
        of=(sum(first.results.canaries.values()), sum(second.results.canaries.values())),
    )
