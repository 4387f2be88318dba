"""Writes RESULTS.md from the parts of a benchmark: medians over rounds, every ratio within one round."""

import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from settings import EPOCHS, PEERS, SAMPLES, Part, Task

from hardlabel.metrics.roc import auc

TITLES = {
    "cifar10": "CIFAR-10, the paper's CNN trained on 2,500 images",
    "location": "Location, the paper's fully connected network trained on 1,250 rows (446 values each)",
    "digits": "digits, the fully connected network trained on 300 images",
}
TOOLS = {
    "hardlabel": "**hardlabel**",
    "foolbox": "Foolbox",
    "art": "ART",
    "ladder": "**hardlabel**",
    "raw": "raw forward pass",
}
TIMELESS = ("distance", "memory")  # Parts that a busy machine does not change.
QUIET = 0.1  # Cores that others may use in a run to be trusted.
HEAD = """# The query engine against the model's own speed, and its peers
Made by `make bench` (benchmarks/bench.py; what each tool does and why that is fair: benchmarks/tools.py). Every tool
gets the same frozen network, the first of the same {samples} samples (members and non-members by turns) and about the
same number of queries, each measurement in a process of its own. Rows/s: rows the network received per second of the
attack. Of raw: that rate over the best raw rate (any batch, any memory layout) of the same round. Memory: the most in
use above the loaded network and samples. Distances (L2) and AUC: 0 for samples the network gets wrong. AUC: of the
signal alone, nothing calibrated. Medians of {rounds} rounds where no other number is told; distances of one.
"""

Round = list[dict]
Figure = Callable[[dict, Round], float]


def write(parts: Sequence[Part], folder: Path, path: Path) -> None:
    """Puts what is there into one file."""
    found = [(part, json.loads(kept.read_text())) for part in parts if (kept := folder / f"{part.name}.json").exists()]
    rounds = max((len(part["rounds"]) for _, part in found), default=0)
    lines = [HEAD.format(samples=SAMPLES, rounds=rounds)]
    commits: dict[str, list[str]] = {}
    for _, part in found:
        commits.setdefault(_machine(part["machine"]), []).append(part["machine"]["commit"])
    for made, those in sorted(commits.items()):
        lines.append(f"{made} Commit {', '.join(dict.fromkeys(those))}.\n")
    lines += _quiet(
        {
            part.name: [one for tasks in content["rounds"] for one in tasks]
            for part, content in found
            if part.name.split("-")[0] not in TIMELESS
        }
    )
    sections: dict[str, Callable[[Part, list[Round]], Iterable[str]]] = {
        "compare": _compared,
        "samples": _by_samples,
        "queries": _by_queries,
        "memory": _memory,
        "allocator": _allocators,
        "distance": _distances,
        "floor": _floor,
        "ladder": _ladder,
        "training": _trained,
    }
    for part, content in found:
        lines += ["", *sections[part.name.split("-")[0]](part, content["rounds"])]
        if len(content["rounds"]) < part.rounds:
            lines.append(f"\nOnly {len(content['rounds'])} of {part.rounds} rounds were made.")
    path.write_text("\n".join(lines).rstrip() + "\n")


def rate(one: dict) -> float:
    """Rows per second of a task; NaN of one that failed."""
    if "failed" in one:
        return float("nan")
    return one["rate"] if "rate" in one else one["rows"] / one["seconds"]


def best_raw(tasks: Round) -> float:
    """The best raw rate of a round."""
    return max((one["rate"] for one in tasks if "rate" in one), default=float("nan"))


def over_rounds(rounds: list[Round], place: int, figure: Figure) -> float | None:
    """The median of a figure of the task at `place`, over the rounds in which it did not fail."""
    values = [figure(tasks[place], tasks) for tasks in rounds if "failed" not in tasks[place]]
    return statistics.median(values) if values else None


def _compared(part: Part, rounds: list[Round]) -> Iterable[str]:
    first = part.tasks[0]
    yield f"## {TITLES[first.target]}; {_where(first)}"
    raws = [one for one in rounds[0] if "rate" in one]
    best = max(raws, key=rate)
    raw = statistics.median(best_raw(tasks) for tasks in rounds)
    drift = max(abs(1 - min(map(rate, two)) / max(map(rate, two))) for two in _raws(rounds))
    yield (
        f"Raw forward pass: {raw:,.0f} rows/s at batch {best['batch']:,} ({best['layout']}); first and last of a round "
        f"differ by {drift:.0%} at most.\n"
    )
    yield "| attack | tool | samples | queries per sample | rows/s | of raw | s | memory, MB |"
    yield "|---|---|---|---|---|---|---|---|"
    for place, task in enumerate(part.tasks):
        if task.tool == "raw":
            continue
        failed = next((tasks[place]["failed"] for tasks in rounds if "failed" in tasks[place]), None)
        if failed is not None and all("failed" in tasks[place] for tasks in rounds):
            yield f"| {task.attack} | {_named(task)} | failed: {failed} | | | | | |"
            continue
        cells = _cells(
            rounds,
            place,
            (lambda one, _: one["rows"] / len(one["values"]), ",.0f"),
            (lambda one, _: rate(one), ",.0f"),
            (lambda one, tasks: rate(one) / best_raw(tasks), ".2f"),
            (lambda one, _: one["seconds"], ",.1f"),
            (_mebibytes, ",.0f"),
        )
        yield f"| {task.attack} | {_named(task)} | {task.samples} | {' | '.join(cells)} |"
    yield ""
    yield from _beside(part, rounds)
    if first.target == "location":
        yield (
            "Location's vectors are bits; the boundary searches take them as points of the box [0, 1], which no real "
            "attack may: those rows compare speed only. Noise and path ask legal vectors."
        )


def _beside(part: Part, rounds: list[Round]) -> Iterable[str]:
    """The peers' boundary search over ours, within rounds, and what stands beside the attacks."""
    searches = [(place, task) for place, task in enumerate(part.tasks) if task.attack == "boundary"]
    # The last, with as many samples as a peer takes at once.
    ours = max(place for place, task in searches if task.tool == "hardlabel")
    for place, task in searches:
        times = over_rounds(rounds, place, lambda one, tasks: rate(tasks[ours]) / rate(one))
        if task.tool in PEERS and times is not None:
            yield f"Boundary, rows/s of hardlabel over {_named(task)}: {times:.1f}. "
    told = []
    for place, task in enumerate(part.tasks):
        if task.tool == "hardlabel":
            probe = over_rounds(rounds, place, lambda one, _: one.get("probe seconds", 0.0))
            made = over_rounds(rounds, place, lambda one, _: one.get("prepare", 0.0))
            batch = over_rounds(rounds, place, lambda one, _: one.get("batch", 0))
            if probe is not None and made is not None and batch is not None:
                told.append(
                    f"{task.attack} {probe:.1f} s (batch {batch:,.0f}){f', routes {made:.1f} s' * (made > 0.05)}"
                )
    if told:
        yield f"hardlabel finds its batch once per model, told apart as in an audit: {'; '.join(told)}."


def _ladder(part: Part, rounds: list[Round]) -> Iterable[str]:
    """The ladder's attack beside ART's, on the same samples, and what is paid for it once per recipe."""
    art = part.tasks[0]
    yield f"## The ladder beside ART: {art.samples} samples of {TITLES[art.target]}; {_where(art)}"
    yield "AUC: of ART's distances, and of the ladder's scores, calibrated on reference models.\n"
    yield "| attack | tool | queries per sample | s on the target | AUC |"
    yield "|---|---|---|---|---|"
    for place, task in enumerate(part.tasks):
        cells = _cells(
            rounds,
            place,
            (lambda one, _: one["rows"] / len(one["values"]), ",.0f"),
            (lambda one, _: one["seconds"], ",.2f"),
            (lambda one, _: _auc(one), ".3f"),
        )
        yield f"| {task.attack} | {_named(task)} | {' | '.join(cells)} |"
    times = over_rounds(rounds, 1, lambda one, tasks: tasks[0].get("seconds", np.nan) / one["seconds"])
    yield f"\nTarget time of ART over the ladder's: {_told(times, ',.0f')}. "
    count, trained, crafted, asked = _cells(
        rounds,
        1,
        (lambda one, _: one["references"], ".0f"),
        (lambda one, _: one["training"], ",.0f"),
        (lambda one, _: one["crafting"], ",.0f"),
        (lambda one, _: one["asking"], ",.1f"),
    )
    yield (
        f"Once per recipe, kept in the store: {count} reference models, {trained} s to train, and {crafted} s for "
        f"networks that make the paths. Asking the reference models about these samples: {asked} s."
    )


def _trained(part: Part, rounds: list[Round]) -> Iterable[str]:
    """Shadow models together over one after another."""
    task = part.tasks[0]
    yield f"## Training {task.samples} shadow models, {EPOCHS} epochs each: {TITLES[task.target]}; {_where(task)}"
    yield ""
    yield "| way | s | images/s | memory, MB | mean training loss |"
    yield "|---|---|---|---|---|"
    for place, way in enumerate(("one after another", "together")):
        cells = _cells(
            rounds,
            place,
            (lambda one, _: one["seconds"], ",.2f"),
            (lambda one, _: rate(one), ",.0f"),
            (_mebibytes, ",.0f"),
            (lambda one, _: one["loss"], ".3f"),
        )
        yield f"| {way} | {' | '.join(cells)} |"
    times = over_rounds(rounds, 1, lambda one, tasks: tasks[0]["seconds"] / one["seconds"])
    yield f"\nTogether they are trained {_told(times, '.1f')} times faster."


def _floor(part: Part, rounds: list[Round]) -> Iterable[str]:
    """What is left for a search where the network is as fast as its own arithmetic."""
    task = part.tasks[1]
    told = _cells(
        rounds,
        1,
        (lambda one, _: rate(one), ",.0f"),
        (lambda one, tasks: 1 / (1 / rate(one) + 1 / best_raw(tasks)), ",.0f"),
        (lambda one, tasks: 1 / (1 + best_raw(tasks) / rate(one)), ".2f"),
    )
    yield f"## The floor: a boundary search's own arithmetic, {TITLES[task.target]}; {_threads(task)}"
    yield (
        "Each probe is a direction scaled, moved to its sample and clipped, and a part of a signed sum; the directions "
        f"are drawn once for all {task.samples} samples, so that a query costs 1 / {task.samples} of a row of random "
        f"numbers where the peers draw a row. That alone, without any network, makes {told[0]} rows/s. With the raw "
        f"forward pass on top no search of this kind passes {told[1]} rows/s, {told[2]} of raw."
    )


def _distances(part: Part, rounds: list[Round]) -> Iterable[str]:
    """Every search beside ours at the budget nearest to its own, sample by sample."""
    task = part.tasks[0]
    yield f"## How near: {TITLES[task.target]}, {task.samples} samples"
    yield (
        "Median L2 of the samples the network gets right; nearer: in how many of them this search came nearer than "
        "HopSkipJump of ours within the same budget. DeepFool and Carlini & Wagner see gradients.\n"
    )
    yield "| search | tool | queries per sample, mean (most) | median L2 | nearer | AUC |"
    yield "|---|---|---|---|---|---|"
    ours = {task.queries: place for place, task in enumerate(part.tasks) if _is_ours(task)}
    for place, task in enumerate(part.tasks):
        if (one := rounds[0][place]).get("failed"):
            yield f"| {task.attack} | {TOOLS[task.tool]} | failed: {one['failed']} | | | |"
            continue
        base = rounds[0][ours[task.queries]] if task.queries in ours and not _is_ours(task) else None
        right, values = np.array(one["right"]), np.array(one["values"])
        nearer = "" if base is None else f"{(values[right] < np.array(base['values'])[right]).mean():.0%}"
        asked = f"{one['rows'] / len(values):,.0f}" + (f" ({task.queries:,})" if task.tool == "hardlabel" else "")
        if not task.queries:
            asked = "gradients"
        told = f"{_median_distance(one):.3f} | {nearer} | {_auc(one):.3f}"
        yield f"| {task.attack} | {TOOLS[task.tool]} | {asked} | {told} |"


def _where(task: Task) -> str:
    return "on the graphics card" if task.device == "cuda" else _threads(task)


def _named(task: Task) -> str:
    """The tool; of a peer on a processor also whose memory settings it had."""
    if task.tool not in PEERS or task.device == "cuda":
        return TOOLS[task.tool]
    return TOOLS[task.tool] + {"default": "", "kept": " with our allocator"}[task.allocator]


def _threads(task: Task) -> str:
    return f"{task.threads} thread{'s' * (task.threads > 1)}"


def _is_ours(task: Task) -> bool:
    return task.tool == "hardlabel" and task.attack == "boundary"


def _by_samples(part: Part, rounds: list[Round]) -> Iterable[str]:
    task = part.tasks[1]
    yield f"## Samples at once: noise at {task.queries} queries, {TITLES[task.target]}; {_threads(task)}"
    yield from _scaled(part, rounds, "samples", lambda task: task.samples)


def _by_queries(part: Part, rounds: list[Round]) -> Iterable[str]:
    task = part.tasks[1]
    yield f"## Time against queries: boundary, {task.samples} samples, {TITLES[task.target]}; {_threads(task)}"
    yield from _scaled(part, rounds, "queries at most", lambda task: task.queries)


def _scaled(part: Part, rounds: list[Round], head: str, what: Callable) -> Iterable[str]:
    yield ""
    yield f"| {head} | rows | s | s per million rows | rows/s | of raw | memory, MB |"
    yield "|---|---|---|---|---|---|---|"
    for place, task in enumerate(part.tasks):
        if task.tool == "raw":
            continue
        cells = _cells(
            rounds,
            place,
            (lambda one, _: one["rows"], ",.0f"),
            (lambda one, _: one["seconds"], ",.2f"),
            (lambda one, _: 1e6 / rate(one), ",.2f"),
            (lambda one, _: rate(one), ",.0f"),
            (lambda one, tasks: rate(one) / best_raw(tasks), ".2f"),
            (_mebibytes, ",.0f"),
        )
        yield f"| {what(task):,} | {' | '.join(cells)} |"


def _memory(part: Part, rounds: list[Round]) -> Iterable[str]:
    task = part.tasks[0]
    yield f"## Memory against queries: boundary, {task.samples:,} samples, {TITLES[task.target]}"
    yield ""
    yield "| queries at most | rows | memory, MB |"
    yield "|---|---|---|"
    for place, task in enumerate(part.tasks):
        cells = _cells(
            rounds,
            place,
            (lambda one, _: one["rows"], ",.0f"),
            (_mebibytes, ",.0f"),
        )
        yield f"| {task.queries:,} | {' | '.join(cells)} |"


def _allocators(part: Part, rounds: list[Round]) -> Iterable[str]:
    """Each task under glibc's defaults, with its variables set, and with mallopt: the command line's way."""
    yield f"## What glibc's allocator costs: {TITLES[part.tasks[0].target]}, {part.tasks[0].threads} thread"
    yield (
        "Default: as glibc comes. Variables: MALLOC_TRIM_THRESHOLD_, MALLOC_MMAP_THRESHOLD_ and MALLOC_TOP_PAD_ set "
        "for the process. Kept: `hardlabel.keep_memory()`, which the command line calls. Pages: what the system "
        "handed out per row.\n"
    )
    yield "| task | default, rows/s (pages) | variables | kept | kept over default |"
    yield "|---|---|---|---|---|"
    kinds = ("default", "variables", "kept")
    tasks = [task for task in part.tasks if task.allocator == kinds[0]]
    for number, task in enumerate(tasks):
        places = {kind: number + order * len(tasks) for order, kind in enumerate(kinds)}
        cells = [
            f"{_told(over_rounds(rounds, places[kind], lambda one, _: rate(one)), ',.0f')} "
            f"({_told(over_rounds(rounds, places[kind], lambda one, _: _faults(one)), '.2f')})"
            for kind in kinds
        ]
        default = places["default"]
        gain = over_rounds(rounds, places["kept"], lambda one, tasks, default=default: rate(one) / rate(tasks[default]))
        name = f"forward pass, batch {task.batch:,}" if task.tool == "raw" else f"boundary, {task.queries} queries"
        yield f"| {name} | {' | '.join(cells)} | {_told(gain, '.2f')} |"


def _cells(rounds: list[Round], place: int, *figures: tuple[Figure, str]) -> list[str]:
    """Medians over rounds of some figures of the task at `place`, each in its form."""
    return [_told(over_rounds(rounds, place, figure), form) for figure, form in figures]


def _mebibytes(one: dict, _: Round) -> float:
    return one["memory"] / 2**20 if one["memory"] is not None else float("nan")


def _faults(one: dict) -> float:
    return one["faults per row"] if "rate" in one else one["faults"] / one["rows"]


def _median_distance(one: dict) -> float:
    """The median distance of the samples the network gets right; NaN where an attack measures something else."""
    if "right" not in one:
        return float("nan")
    return float(np.median(np.array(one["values"])[np.array(one["right"])]))


def _auc(one: dict) -> float:
    return auc(np.array(one["values"]), np.array(one["member"]))


def _raws(rounds: list[Round]) -> list[list[dict]]:
    return [[one for one in tasks if "rate" in one] for tasks in rounds]


def _quiet(parts: dict[str, list[dict]]) -> list[str]:
    # The system counts in hundredths of a second: of less than a second it says nothing. Raw passes are shorter, and
    # the best of many counts.
    busiest = {
        name: max((one.get("others") or 0.0 for one in tasks if one.get("seconds", 0) >= 1), default=0.0)
        for name, tasks in parts.items()
    }
    disturbed = [f"{name} ({others:.2f} cores)" for name, others in busiest.items() if others > QUIET]
    if not disturbed:
        return [f"Other programs used {max(busiest.values(), default=0.0):.2f} cores at most during any attack."]
    return [f"**Other programs ran during attacks of {', '.join(disturbed)}: do not trust their timings.**"]


def _machine(made: dict) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    card = f", {made['card']}" if made["card"] else ""
    return f"{made['processor']}, {made['cores']} cores{card}, {made['libc']}; {versions}."


def _told(value: float | None, form: str) -> str:
    if value is None:
        return "-"
    return "" if value != value else format(value, form)
