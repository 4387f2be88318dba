"""Runs the parts of a reproduction one after another, skips finished ones, and plans what they cost."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from hardlabel.audits.game.execution import Execution
from hardlabel.checks import InvalidInput
from hardlabel.reproduction.declared import Part
from hardlabel.reproduction.play import Cost, cost_of, played, staged
from hardlabel.reproduction.summary import kept, save
from hardlabel.store import Store


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A part and its cost.

    Attributes:
        part: The part.
        done: Whether its summary is there.
        cost: Its cost; None if it is done or cannot be run.
        problem: Why it cannot be run; "" if it can.
    """

    part: Part
    done: bool
    cost: Cost | None = None
    problem: str = ""


def plan(
    parts: Sequence[Part], folder: Path, *, device: torch.device, store: Store, execution: Execution
) -> list[Planned]:
    """What is left to do. Loads the data and times the networks for a second, but trains nothing.

    The first target of a cell stands for the others.
    """
    costs: dict[tuple[str, str], Cost | str] = {}
    rows = []
    for part in parts:
        if kept(part, folder) is not None:
            rows.append(Planned(part=part, done=True))
            continue
        key = part.experiment, part.cell.name
        if key not in costs:
            try:
                costs[key] = cost_of(staged(part, device=device, store=store, execution=execution), execution)
            except InvalidInput as error:
                costs[key] = str(error)
        cost = costs[key]
        if isinstance(cost, str):
            rows.append(Planned(part=part, done=False, problem=cost))
        else:
            rows.append(Planned(part=part, done=False, cost=cost))
    return rows


def run(
    parts: Sequence[Part],
    folder: Path,
    *,
    device: torch.device,
    store: Store,
    execution: Execution,
    minutes: float | None = None,
    say: Callable[[str], None] = lambda words: None,
) -> list[str]:
    """Runs the parts that have no summary yet; returns one line for each part that could not be run.

    Several processes may run the same parts at the same time: each part is run by one of them.

    Args:
        parts: The parts, in this order.
        folder: Where summaries are kept.
        device: Where models run.
        store: Keeps models and measurements.
        execution: Where pieces of work are done, and who sees progress.
        minutes: No part begins after so many minutes; None for no limit.
        say: Is told of every part.
    """
    started, problems = time.monotonic(), []
    for part in parts:
        if minutes is not None and time.monotonic() - started >= 60 * minutes:
            say(f"{minutes:g} minutes are over; the same command goes on with {part.name}")
            break
        with _held(part, folder) as mine:
            if not mine:
                say(f"{part.name}: another process runs it")
                continue
            if kept(part, folder) is not None:
                continue
            say(part.name)
            try:
                stage = staged(part, device=device, store=store, execution=execution)
            except InvalidInput as error:  # Such as data that are not at hand.
                problems.append(f"{part.name}: {error}")
                say(f"{problems[-1]} (left out)")
                continue
            summary = played(stage, execution)
            save(summary, folder / part.file)
            say(f"{part.name}: done in {summary.seconds / 60:.1f} min")
    return problems


@contextmanager
def _held(part: Part, folder: Path) -> Iterator[bool]:
    """Whether this process may run the part: no other process runs it."""
    lock = folder / ".locks" / part.file.replace("/", "-")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock, timeout=0):
            yield True
    except Timeout:
        yield False
    except OSError as error:
        raise InvalidInput(f"out must be a folder that can be written to, got {str(folder)!r}: {error}") from error
