"""Writes DEFENSES.md: what is done as tables, and verdicts on the paper's claims by rules fixed beforehand."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from settings_defenses import CROSSED, MATCHED, SETTINGS, Setting

from hardlabel.checks import InvalidInput
from hardlabel.metrics import crossed
from hardlabel.metrics.estimate import Estimate
from hardlabel.records.defenses import DEFEND, DefendRecord, DefenseResult
from hardlabel.signals.base import Access

DEFEATED = 0.55  # An attack is defeated where the upper end of its AUC's interval lies below.
LEAST = 0.02  # What a mask must take from the strongest attack on confidences to count as hiding something.
LITTLE = 0.05  # A defense helps little where the interval of what it takes from an attack's AUC lies below.
PAPERS = ("gap", "noise", "augmentation")  # The paper's label-only attacks that were played.
HEAD = """# Defenses, and what they are worth against labels
Made by `python studies/defenses.py` (data from HARDLABEL_DATA), written by `python studies/defenses.py --table`. Steps
are comparisons as `hardlabel defend` makes them, resumable: models, measurements and scores are kept in the store. All
defenses of a setting are compared on the same halves of one pool, the same seeds and samples; AUCs are means over
models that play target, with 95 % intervals over models and samples; changes and differences are paired. "Strongest" is
the attack with the highest AUC on that defense, among attackers who know of it (adaptive) and such as do not.
Settings, levels and rules for verdicts were fixed before any figure was seen, but for one: that a mask counts for C2
only where it hides something was added after Location's masks, some of which hide next to nothing. Verdicts are
computed. Time is wall time on two cores, while other programs ran. A step that is missing below was not finished: the
same command makes it.
"""

Row = tuple[str, Estimate]


def write(runs: Path, path: Path) -> None:
    """Puts what is done into one file."""
    text = [HEAD]
    for name, setting in SETTINGS.items():
        parts = _parts(runs / name, setting)
        if parts:
            text += [f"\n## {setting.title}", *_setting(name, setting, parts)]
            for claim in (_masking, _private, _transferred):
                text += claim(parts)
        if (runs / name / CROSSED).exists():
            text += _augmented(setting, json.loads((runs / name / CROSSED).read_text()))
    path.write_text("\n".join(text).rstrip() + "\n")


def _parts(folder: Path, setting: Setting) -> dict[str, DefendRecord]:
    """The steps that are done."""
    return {step: DefendRecord.load(folder / step) for step in setting.steps if (folder / step / DEFEND).exists()}


def _setting(name: str, setting: Setting, parts: dict[str, DefendRecord]) -> Iterable[str]:
    first = next(iter(parts.values())).results
    made = first.environment
    packages = ", ".join(f"{package} {version}" for package, version in made.versions.items())
    told = "; ".join(f"{step} {part.results.environment.seconds:.0f} s" for step, part in parts.items())
    missing = [step for step in setting.steps if step not in parts]
    yield f"`python studies/defenses.py {name}`; settings in studies/settings_defenses.py.\n"
    yield (
        f"{first.targets} models play target, {first.references} references each, {first.train_size} training samples, "
        f"{first.samples} samples asked about, at most {first.budget} queries per sample and attack; seed {made.seed}; "
        f"{packages}. Wall time by step, less what was in the store: {told}."
    )
    if missing:
        yield f"\nNot finished: {', '.join(missing)}."
    yield (
        "\n| defense | test accuracy | change | strongest attack | its AUC | change | strongest label-only | its AUC "
        "| TPR at 1 % FPR | epsilon (proved) | training, s |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    seen = set()
    for part in parts.values():
        for one in part.results.defenses:
            if one.name not in seen:
                seen.add(one.name)
                yield _row(one)


def _row(one: DefenseResult) -> str:
    labels = _strongest(_labels(one))
    low = None if one.strongest_at_low_fpr is None else one.attack(one.strongest_at_low_fpr).tpr
    private = one.privacy
    plain = one.defense == "none"
    epsilon = "" if private is None else f"{private.epsilon:.3g} ({private.proved:.2g})"
    return (
        f"| {one.name} | {one.test_accuracy} | {'' if plain else _signed(one.accuracy_change)} | {one.worst.title} "
        f"| {one.worst.auc} | {'' if plain else _signed(one.worst.change)} | {labels.title} | {labels.auc} "
        f"| {'not resolved' if low is None else low} | {epsilon} | {one.training_seconds:.3g} |"
    )


# --- C2 ---


def _masking(parts: dict[str, DefendRecord]) -> Iterable[str]:
    masks = [(part, one) for part in parts.values() for one in part.results.defenses if one.keeps_labels]
    shown = [(part, one) for part, one in masks if any(attack.access == Access.SCORES for attack in one.attacks)]
    if not shown:
        return
    yield "\n### C2: masking confidences does not help"
    yield (
        "Labels are not touched, and what rests on them is the same to the bit. Beside the change of attacks that see "
        "confidences: the strongest label-only attack's AUC less theirs under the mask.\n"
    )
    yield (
        "| mask | attack on confidences | AUC without | not adaptive | change | adaptive | change "
        "| label-only less not adaptive | label-only less adaptive |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    naive: list[Row] = []
    best: list[Row] = []
    useless = []
    for part, one in shown:
        plain = part.defense("none")
        label, before = _strongest(_labels(plain)), _strongest(_scores(plain))
        for attack in _scores(one):
            if attack.adaptive:
                other = one.attack(f"{attack.name} (not adaptive)")
                less = [_less(part, one.name, label.title, mine.title) for mine in (other, attack)]
                yield (
                    f"| {one.name} | {attack.name} | {plain.attack(attack.name).auc} | {other.auc} "
                    f"| {_signed(other.change)} | {attack.auc} | {_signed(attack.change)} | {_signed(less[0])} "
                    f"| {_signed(less[1])} |"
                )
        for rows, adaptive in ((naive, False), (best, True)):
            mine = _strongest([attack for attack in _scores(one) if attack.adaptive == adaptive])
            fall = crossed.auc_difference(
                part.scores_of("none", before.title), part.scores_of(one.name, mine.title), part.inside
            )
            if fall.low > LEAST:
                rows.append((f"{one.name} ({mine.name})", _less(part, one.name, label.title, mine.title)))
            elif adaptive:
                useless.append(f"{one.name} ({mine.name}, {_signed(_negative(fall))})")
    label = _strongest(_labels(shown[0][0].defense("none"))).name
    yield (
        f"\n- Masks that take less than {LEAST} from the strongest attacker on confidences who adapts, if anything: "
        f"{', '.join(useless) if useless else 'none'}."
    )
    for rows, who in ((naive, "does not adapt"), (best, "adapts")):
        if rows:
            claim = (
                f"C2, {label} finds more than the strongest attacker on masked confidences who {who}, where masks take"
            )
            yield _verdict(f"{claim} {LEAST} from it", rows)


def _less(part: DefendRecord, name: str, label: str, other: str) -> Estimate:
    return crossed.auc_difference(part.scores_of(name, label), part.scores_of(name, other), part.inside)


# --- C4 ---


def _private(parts: dict[str, DefendRecord]) -> Iterable[str]:
    found = [(part, one) for part in parts.values() for one in part.results.defenses]
    picked = [one for _, one in found if one.defense in ("dp-sgd", "l2")]
    if not picked:
        return
    yield "\n### C4: only differential privacy and strong L2 defeat all attacks"
    yield (
        f"Defeated: the upper end of the interval of an attack's AUC, adaptive or not, is below {DEFEATED}. The "
        f"paper's: {', '.join(PAPERS)}; the others learn per sample, or see confidences.\n"
    )
    yield (
        "| defense | change of accuracy | epsilon | paper's attacks defeated | other label-only | with confidences "
        "| strongest that is not |"
    )
    yield "|---|---|---|---|---|---|---|"
    for one in picked:
        groups = [
            [attack for attack in _labels(one) if attack.name in PAPERS],
            [attack for attack in _labels(one) if attack.name not in PAPERS],
            _scores(one),
        ]
        left = [attack for group in groups for attack in group if not _defeated(attack.auc)]
        strongest = max(left, key=lambda attack: attack.auc.value, default=None)
        cells = [f"{sum(_defeated(attack.auc) for attack in group)} of {len(group)}" for group in groups]
        epsilon = "" if one.privacy is None else f"{one.privacy.epsilon:.3g}"
        yield (
            f"| {one.name} | {_signed(one.accuracy_change)} | {epsilon} | {' | '.join(cells)} "
            f"| {'none' if strongest is None else f'{strongest.title} {strongest.auc}'} |"
        )
    yield ""
    for one in picked:
        yield _defeats(one)
    others = {one.name: one for _, one in found if one.defense not in ("none", "dp-sgd", "l2") and not one.keeps_labels}
    more = [name for name, one in others.items() if all(_defeated(attack.auc) for attack in one.attacks)]
    if others:
        yield (
            f'- "Only": of the {len(others)} other defenses that change labels or training, '
            f"{', '.join(more) if more else 'none'} defeat{'s' if len(more) == 1 else ''} all attacks."
        )


def _defeats(one: DefenseResult) -> str:
    papers = all(_defeated(attack.auc) for attack in _labels(one) if attack.name in PAPERS)
    every = all(_defeated(attack.auc) for attack in one.attacks)
    verdict = (
        "**holds**: every attack is defeated"
        if every
        else "**against it with calibrated attacks, not tested as published**: the paper's are defeated, others are not"
        if papers
        else "**does not hold**: not even the paper's attacks are all defeated"
    )
    return f"- C4, {one.name}: {verdict}; it costs {_signed(one.accuracy_change)} of test accuracy."


def _defeated(auc: Estimate) -> bool:
    return auc.high is not None and auc.high < DEFEATED


# --- C5 ---


def _augmented(setting: Setting, part: dict) -> Iterable[str]:
    yield f"\n### C5: training with augmentation leaks more to an attacker who queries it ({setting.title})"
    yield (
        "Rows: what models, and the attacker's shadow model, were trained with; columns: which copies are asked about. "
        f"AUC; below, its change against models trained without. {part['targets']} models each, {part['samples']} "
        f"samples, {part['seconds']:.0f} s.\n"
    )
    attackers = list(next(iter(part["aucs"].values())))
    yield f"| trained with | train / test accuracy | {' | '.join(attackers)} |"
    yield "|" + "---|" * (len(attackers) + 2)
    rows: list[Row] = []
    for trainer, found in part["aucs"].items():
        train, test = part["accuracy"][trainer]
        yield f"| {trainer} | {train:.3f} / {test:.3f} | {' | '.join(str(Estimate(*one)) for one in found.values())} |"
    for trainer, found in part["changes"].items():
        told = {name: Estimate(*one) for name, one in found.items()}
        yield f"| {trainer}: change | | {' | '.join(map(_signed, told.values()))} |"
        rows += [(f"{name} on models trained with {trainer}", told[name]) for name in MATCHED[trainer]]
    yield f"\n{_verdict('C5, an attacker who asks about the copies that were trained on finds more', rows)}"


# --- C6 ---


def _transferred(parts: dict[str, DefendRecord]) -> Iterable[str]:
    found = [one for part in parts.values() for one in part.results.defenses]
    transfer = [one for one in found if one.defense == "transfer"]
    little = [one for one in found if one.defense in ("dropout", "l1")]
    if transfer or little:
        yield "\n### C6: transfer learning shrinks the leak; dropout and L1 help little"
        yield "\n| defense | change of accuracy | change of gap's AUC | strongest label-only | its change |"
        yield "|---|---|---|---|---|"
    for one in [*transfer, *little]:
        label = _strongest(_adaptive(one))
        yield (
            f"| {one.name} | {_signed(one.accuracy_change)} | {_signed(one.attack('gap').change)} | {label.name} "
            f"| {_signed(label.change)} |"
        )
    if transfer:
        rows = []
        for one in transfer:
            label = _strongest(_adaptive(one))
            rows += [
                (f"{attack.name} on {one.name}", _negative(attack.change)) for attack in (one.attack("gap"), label)
            ]
        yield f"\n{_verdict('C6, transfer learning takes from gap and leak', rows)}"
    if little:
        spared = [_strongest(_adaptive(one)) for one in little]
        rows = [
            (f"{one.name} ({attack.name})", Estimate(*(LITTLE + end for end in _ends(attack.change))))
            for one, attack in zip(little, spared, strict=True)
        ]
        yield f"\n{_verdict(f'C6, dropout and L1 take less than {LITTLE} from the AUC', rows)}"


# --- words ---


def _verdict(claim: str, rows: Sequence[Row]) -> str:
    """Whether intervals of what should be positive say so."""
    sure = [what for what, one in rows if one.low is not None and one.low > 0]
    against = [what for what, one in rows if one.high is not None and one.high < 0]
    open_ = [what for what, _ in rows if what not in sure and what not in against]
    if not against and not open_:
        return f"- {claim}: **holds** in all {len(rows)} cases."
    told = [f"{len(sure)} of {len(rows)} for it"]
    told += [f"against it: {', '.join(against)}"] if against else []
    told += [f"undecided: {', '.join(open_)}"] if open_ else []
    kind = "holds in part" if sure else "against it here, not tested as published" if against else "undecided"
    return f"- {claim}: **{kind}**; {'; '.join(told)}."


def _labels(one: DefenseResult) -> list:
    return [attack for attack in one.attacks if attack.access == Access.LABEL]


def _scores(one: DefenseResult) -> list:
    return [attack for attack in one.attacks if attack.access == Access.SCORES]


def _strongest(attacks: list):
    return max(attacks, key=lambda attack: attack.auc.value)


def _adaptive(one: DefenseResult) -> list:
    return [attack for attack in _labels(one) if attack.adaptive]


def _ends(estimate: Estimate) -> tuple[float, float, float]:
    value, low, high = estimate.value, estimate.low, estimate.high
    if value is None or low is None or high is None:
        raise InvalidInput("estimate must have an interval for a verdict, got none")
    return value, low, high


def _negative(estimate: Estimate) -> Estimate:
    value, low, high = _ends(estimate)
    return Estimate(-value, -high, -low)


def _signed(estimate: Estimate) -> str:
    if estimate.value is None:
        return "undefined"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:+.3f}"
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"
