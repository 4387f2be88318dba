"""Writes RESULTS.md from the parts of a study."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from settings import PUBLISHED, SCORES, SETTINGS

NULL_LIMIT = 4.0  # Standard errors of the null that the worst of all targets and attacks may reach.

PLAIN, RATIO = "difference lira-published", "ratio lira-published"
HEAD = """# Leakage per query
Made by `make study` (studies/win_per_query.py): every attack on the same targets and samples. Each target is one of a
pool's complementary pairs, its partner left out; reference models are the others. AUC: mean over targets, with a 95 %
interval over targets and samples; TPR at 1 % FPR with one threshold for all targets. Differences are paired, against
online LiRA, which sees confidences: `lira` (means, one variance within samples per side, for all samples) and
`lira-published` (what its authors' code does for few models: medians, one variance of all members' values). Own rows
and s: rows through the attacker's own models for one target, training apart, and seconds, while other programs ran.
Attacks that see scores are marked *.

`path` learns from 1,000 further samples of the pool beside those scored, which cost the target nothing; where 2,000 or
more are scored, from those alone. With no more than 8 queries it asks two routes where they tell most, with 10 on
images such questions and five moved copies, with 50 three routes and moved and noisy copies.

How crafters are trained, the routes and the calibrations to choose from were settled while looking at models of these
same settings (seed 0); within the attacks every choice is made on references. Location's figures were repeated with
three seeds used nowhere else, CIFAR-10's with one: [FRESH_SEEDS.md](FRESH_SEEDS.md). Here `lira` compares logits. Since
then it compares confidences on the scale that the references choose, which adds .011 on CIFAR-10 there.
"""


def write(folder: Path, path: Path) -> None:
    """Puts the parts that are there, in the settings' order, into one file."""
    text = [HEAD]
    for setting in SETTINGS.values():
        part = folder / f"{setting.name}.json"
        if part.exists():
            text += _setting(setting, json.loads(part.read_text()))
    path.write_text("\n".join(text).rstrip() + "\n")


def _setting(setting, part: dict) -> Iterable[str]:
    train, test = part["accuracy"]
    made = part["environment"]
    yield f"\n## {setting.title}"
    yield (
        f"{len(part['attacks'][0]['aucs'])} targets, {setting.attacked} samples, train/test accuracy "
        f"{train:.3f}/{test:.3f}; training of all models {part['training_seconds']:.0f} s, the study "
        f"{made['seconds']:.0f} s; seed {made['seed']}; {_versions(made)}.\n"
    )
    yield (
        "| attack | queries, mean (most) | AUC | TPR@1%FPR | AUC minus published LiRA | TPR / its | AUC minus lira "
        "| own rows | s |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for one in part["attacks"]:
        overhead = f" + {one['overhead']:,} in all" if one["overhead"] else ""
        yield (
            f"| {_name(one['attack'])} | {one['queries']:.1f} ({one['most']}){overhead} | {_interval(one['auc'])} "
            f"| {_interval(one['tpr'])} | {_signed(one[PLAIN])} | {_interval(one[RATIO], 2)} "
            f"| {_signed(one['difference lira'])} "
            f"| {one['rows']:,} | {one['seconds']:.0f} |"
        )
    yield ""
    yield from _claims(setting, part)
    for step, told in (("field", _field), ("null", _null), ("counts", _counts), ("mismatched", _mismatched)):
        yield from told(part.get(step, []))


def _claims(setting, part: dict) -> Iterable[str]:
    found = {one["attack"]: one for one in part["attacks"]}
    yield "Margins declared beforehand (the lower end of the paired interval must lie above minus the margin):\n"
    yield "| attack | margin | against lira | | TPR / its | against lira-published | | TPR / its |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, budget, margin in setting.claims:
        one = found.get(f"{name}@{budget}")
        if one is None:
            continue  # The study broke off before it.
        cells = [
            f"{_signed(one[f'difference {other}'])} | {_verdict(one[f'difference {other}'], margin)} "
            f"| {_interval(one[f'ratio {other}'], 2)}"
            for other in ("lira", "lira-published")
        ]
        yield f"| {name}@{budget} | {margin:.3f} | {' | '.join(cells)} |"
    yield ""


def _verdict(difference: list, margin: float) -> str:
    low = difference[1]
    if low > 0:
        return "**better**"
    return "**not worse**" if low > -margin else "not shown"


def _field(rows: list[dict]) -> Iterable[str]:
    if not rows:
        return
    yield "The paper's attacks and the field's, on fewer targets and samples for their cost, beside ours on the same:\n"
    ours = [key for key in rows[0] if key.startswith("path")]
    heads = " | ".join(f"AUC of {one}, minus theirs | TPR@1%FPR, times theirs" for one in ours)
    yield f"| attack | targets x samples | queries | AUC | TPR@1%FPR | {heads} | own rows | s |"
    yield "|---|---|---|---|---|" + "---|---|" * len(ours) + "---|---|"
    for one in rows:
        cells = " | ".join(f"{_signed(one[key]['difference'])} | {_interval(one[key]['ratio'], 2)}" for key in ours)
        overhead = f" + {one['overhead']:,} in all" if one["overhead"] else ""
        yield (
            f"| {one['attack']} | {len(one['aucs'])} x {one['samples']} "
            f"| {one['queries']:.1f} ({one['most']}){overhead} "
            f"| {_interval(one['auc'])} | {_interval(one['tpr'])} | {cells} | {one['rows']:,} | {one['seconds']:.0f} |"
        )
    yield ""
    yield from _published(rows)


def _published(rows: list[dict]) -> Iterable[str]:
    yield "What their authors say of them (nobody's figures but the last column's were made by this study):\n"
    yield "| attack | published | source | how the setting differs | here: AUC, TPR@1%FPR |"
    yield "|---|---|---|---|---|"
    for name, one in PUBLISHED.items():
        here = [row for row in rows if row["attack"].split("@")[0] == name]
        if here:
            told = f"{_interval(here[-1]['auc'])}, {_interval(here[-1]['tpr'])}"
            yield f"| {here[-1]['attack']} | {one.claim} | {one.source} | {one.differs} | {told} |"
    yield ""


def _null(rows: list[dict]) -> Iterable[str]:
    if not rows:
        return
    every = np.array([one["z"] for one in rows])
    worst = max(rows, key=lambda one: max(map(abs, one["z"])))
    verdict = "passed" if np.abs(every).max() < NULL_LIMIT else "FAILED"
    yield (
        "Null test (answers from a model that saw none of the pool, membership as the design has it), judged per "
        f"target over {len(rows)} attacks: **{verdict}**; largest |z| {np.abs(every).max():.2f} ({worst['attack']}), "
        f"standard deviation of z {every.std():.2f} where 1 is expected.\n"
    )


def _counts(rows: list[dict]) -> Iterable[str]:
    if not rows:
        return
    names = list(dict.fromkeys(one["attack"] for one in rows))
    yield "AUC / TPR@1%FPR by the number of reference models (half of them trained on a sample):\n"
    yield "| models | " + " | ".join(map(_name, names)) + " |"
    yield "|---|" + "---|" * len(names)
    for models in dict.fromkeys(one["models"] for one in rows):
        here = {one["attack"]: one for one in rows if one["models"] == models}
        cells = (f"{here[n]['auc'][0]:.3f} / {_number(here[n]['tpr'][0])}" if n in here else "-" for n in names)
        yield f"| {models} | " + " | ".join(cells) + " |"
    yield ""


def _mismatched(rows: list[dict]) -> Iterable[str]:
    if not rows:
        return
    names = list(dict.fromkeys(one["attack"] for one in rows))
    yield (
        "AUC / TPR@1%FPR where references and crafters were trained otherwise than the target, on the first targets. "
        "Only exact positions can be standardised; with fewer queries than these take, both rows of path are alike:\n"
    )
    yield "| references and crafters | signals | " + " | ".join(map(_name, names)) + " |"
    yield "|---|---|" + "---|" * len(names)
    for kind in dict.fromkeys((one["models"], one["standardized"]) for one in rows):
        here = {one["attack"]: one for one in rows if (one["models"], one["standardized"]) == kind}
        cells = (f"{here[n]['auc'][0]:.3f} / {_number(here[n]['tpr'][0])}" for n in names)
        yield f"| {kind[0]} | {'standardised' if kind[1] else 'as they are'} | " + " | ".join(cells) + " |"
    yield ""


def _name(attack: str) -> str:
    return f"{attack} *" if attack in SCORES else attack


def _versions(made: dict) -> str:
    return ", ".join(f"{name} {version}" for name, version in made["versions"].items()) + f"; {made['machine']}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(estimate: list, digits: int = 3) -> str:
    value, low, high = estimate
    if value is None:
        return "-"
    ends = "" if low is None or high is None else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{value:.{digits}f}{ends}"


def _signed(estimate: list) -> str:
    value, low, high = estimate
    if value is None:
        return "-"
    return f"{value:+.3f}" + ("" if low is None or high is None else f" [{low:+.3f}, {high:+.3f}]")
