"""Writes WORST_CASE.md from the parts of the study of the worst case."""

import json
from collections.abc import Iterable
from pathlib import Path

HEAD = """# The worst case
Made by studies/worst_case.py, seed 0. Points most at risk are chosen for each target by the attacker's other models
alone (`hardlabel.outliers`); calls are made at thresholds those models chose. Every model of 7 complementary pairs
plays target; half of the points asked about are members of each, so guessing has a precision of .5. Precision with 95 %
intervals over targets and points, never narrower than exact ones of as many calls; differences are paired.

Rules, settled beforehand. *Worse off*: the lower end of precision on the few minus that on all lies above 0. *Matches*:
the lower end of the label-only attack's precision minus the score attack's, on the same few, lies above -{margin}.
*Falls short*: the upper end lies below -{margin}. Else *not settled*. Verdicts are about the first share, {share}.
"""


def write(folder: Path, path: Path, *, margin: float) -> None:
    """Puts the parts that are there into one file."""
    text = [HEAD.format(margin=margin, share="1 %")]
    for name, title in (("location", "Location"), ("cifar10", "CIFAR-10")):
        if (part := _part(folder, name)) is not None:
            text += _few(title, part, margin)
    for name, title in (("defended", "Location"), ("defended-cifar10", "CIFAR-10, the fully connected network")):
        if (part := _part(folder, name)) is not None:
            text += _defended(title, part)
    for name, made in (("labels", _labels), ("canaries", _canaries)):
        if (part := _part(folder, name)) is not None:
            text += made(part)
    path.write_text("\n".join(text).rstrip() + "\n")


def _part(folder: Path, name: str) -> dict | None:
    path = folder / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def _few(title: str, part: dict, margin: float) -> Iterable[str]:
    first = part["cases"][0]
    yield f"\n## C3: {title}"
    yield (
        f"{part['description']}; {first['targets']} targets, {first['of']} points; train/test accuracy "
        f"{part['train']:.3f}/{part['test']:.3f}. Neighbours by {first['embedded']}. Near-duplicates among the points: "
        f"{first['repeated']}. {_made(part)}\n"
    )
    for case in part["cases"]:
        yield f"The most at risk {100 * case['share']:g} %:\n"
        yield "| chosen by | attack | sees | right of called | precision | recall | precision over average |"
        yield "|---|---|---|---|---|---|---|"
        for one in case["selections"]:
            for row in one["attacks"]:
                if one["name"] == "average" and case is not first:
                    continue
                yield (
                    f"| {_chosen(one)} | {row['attack']} | {row['access']} | {row['right']:,} of {row['called']:,} "
                    f"| {_interval(row['precision'])} | {_interval(row['recall'])} | {_signed(row['over_average'])} |"
                )
        yield ""
    yield "Verdicts, at the first share:\n"
    yield "| chosen by | attack | worse off than the average | against | difference | |"
    yield "|---|---|---|---|---|---|"
    for one in first["selections"]:
        over = {row["attack"]: row["over_average"] for row in one["attacks"]}
        for pair in one["pairs"]:
            mine = over[pair["first"]]
            risk = "" if one["name"] == "average" else _above(mine)
            yield (
                f"| {_chosen(one)} | {pair['first']} | {risk} | {pair['second']} | {_signed(pair['precision'])} "
                f"| {_matches(pair['precision'], margin)} |"
            )
    yield ""
    yield "Repeated games: every model played target, calls by each attack's own signal at coin-free thresholds; points"
    yield "found exposed at a false discovery rate of 10 % (Benjamini-Hochberg over points):\n"
    yield "| attack | sees | points tested | found |"
    yield "|---|---|---|---|"
    for game in part["games"]:
        yield f"| {game['attack']} | {game['access']} | {game['which']}: {game['points']:,} | {game['found']:,} |"


def _defended(title: str, part: dict) -> Iterable[str]:
    case = part["rows"][0]["case"]
    yield f"\n## C4: outliers under defenses, {title}"
    yield (
        "Adaptive attackers: their own models are trained with the defense, and choose the "
        f"{100 * case['share']:g} % most at risk under it; {case['targets']} targets, {case['of']:,} points. "
        f"{_made(part)}\n"
    )
    ways = [one["name"] for one in part["rows"][0]["case"]["selections"]]
    attacks = [row["attack"] for row in part["rows"][0]["case"]["selections"][0]["attacks"]]
    for attack in attacks:
        yield f"Precision of `{attack}`:\n"
        yield f"| defense | test accuracy | {' | '.join(ways)} |"
        yield "|---" * (len(ways) + 2) + "|"
        for row in part["rows"]:
            cells = []
            for way in row["case"]["selections"]:
                cells += [_interval(one["precision"]) for one in way["attacks"] if one["attack"] == attack]
            bound = "" if row["epsilon"] is None else f" (accountant {row['epsilon']:.3g})"
            yield f"| {row['defense']}{bound} | {row['test']:.3f} | {' | '.join(cells)} |"
        yield ""
    yield "*Defeated*: the interval of precision on the few, chosen in whichever way, holds .5 for every attack.\n"
    yield "| defense | average | the few |"
    yield "|---|---|---|"
    for row in part["rows"]:
        told = [_beaten(row, lambda way: way == "average"), _beaten(row, lambda way: way != "average")]
        yield f"| {row['defense']} | {told[0]} | {told[1]} |"


def _beaten(row: dict, which) -> str:
    left = []
    for way in row["case"]["selections"]:
        for one in way["attacks"]:
            low = one["precision"]["low"]
            if which(way["name"]) and low is not None and low > 0.5:
                left.append(f"{one['attack']} by {way['name']}" if way["name"] != "average" else one["attack"])
    return "defeated" if not left else f"finds members: {', '.join(left)}"


def _labels(part: dict) -> Iterable[str]:
    yield "\n## Without true labels, and with wrong ones"
    yield (
        "One target on Location, 1,000 members and 1,000 non-members; the attacker's labels of these points, by which "
        f"it asks and trains its reference models. AUC with 95 % intervals for this one target. {_made(part)}\n"
    )
    names = list(dict.fromkeys(row["attack"] for row in part["rows"]))
    yield f"| labels | {' | '.join(names)} |"
    yield "|---" * (len(names) + 1) + "|"
    for given in dict.fromkeys((row["labels"], row["wrong"]) for row in part["rows"]):
        here = {row["attack"]: row["auc"] for row in part["rows"] if (row["labels"], row["wrong"]) == given}
        title = "the target's answers" if given[0] == "target" else f"{100 * given[1]:g} % wrong"
        yield f"| {title} | {' | '.join(_told(here.get(name)) for name in names)} |"


def _canaries(part: dict) -> Iterable[str]:
    yield "\n## Canaries: lower bounds on epsilon, Location"
    yield (
        "One run, 1,000 canaries each planted by a coin of its own among 1,250 points; a model without any canary is "
        f"taken off. 95 % bounds for all canaries, then for each kind alone. {_made(part)}\n"
    )
    kinds = list(dict.fromkeys(one["kind"] for one in part["rows"][0]["bounds"]))
    yield f"| training | accountant, at most | sees | {' | '.join(f'{kind}, at least' for kind in kinds)} | right |"
    yield "|---" * (len(kinds) + 4) + "|"
    for row in part["rows"]:
        above = row["guarantee"]
        for access in dict.fromkeys(one["access"] for one in row["bounds"]):
            mine = {one["kind"]: one for one in row["bounds"] if one["access"] == access}
            cells = " | ".join(f"{mine[kind]['epsilon']:.2f}" for kind in kinds)
            told = "none" if above is None else f"{above['epsilon']:.3g} (delta {above['delta']:g})"
            right = f"{mine['all']['right']} of {mine['all']['guesses']}"
            yield f"| {row['description']} | {told} | {access} | {cells} | {right} |"
    yield ""
    many = part["many"]
    [kind] = many["canaries"]
    for one in many["bounds"]:
        yield (
            f"Over {many['runs']} runs ({many['description']}, {many['train_size']} points, one {kind} canary in "
            f"{many['planted']} of them), sees {one['access']}: epsilon at least {one['epsilon']:.2f} at delta "
            f"{many['delta']:g}; right in {one['right']} of {one['guesses']} runs, wrong in {one['wrong']} of "
            f"{one['of_wrong']}."
        )


def _chosen(one: dict) -> str:
    return "all points" if one["name"] == "average" else f"{one['name']} ({one['points']})"


def _above(difference: dict) -> str:
    if difference["low"] is None:
        return "-"
    told = "worse off" if difference["low"] > 0 else "less exposed" if difference["high"] < 0 else "not settled"
    return f"{told} {_signed(difference)}"


def _matches(difference: dict, margin: float) -> str:
    if difference["low"] is None:
        return "-"
    if difference["low"] > -margin:
        return "**matches**"
    return "falls short" if difference["high"] < -margin else "not settled"


def _made(part: dict) -> str:
    made = part["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    return f"{made['seconds']:.0f} s; {versions}; {made['machine']}."


def _interval(estimate: dict) -> str:
    if estimate["value"] is None:
        return "-"
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


def _signed(estimate: dict) -> str:
    if estimate["value"] is None:
        return "-"
    return f"{estimate['value']:+.3f} [{estimate['low']:+.3f}, {estimate['high']:+.3f}]"


def _told(auc: list | None) -> str:
    return "-" if auc is None else f"{auc[0]:.3f} [{auc[1]:.3f}, {auc[2]:.3f}]"
