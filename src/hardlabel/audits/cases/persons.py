"""Several rows of one person: the audit is about persons, so each counts once."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardlabel.audits.cases.repeats import MOST_SHARED
from hardlabel.checks import InvalidInput
from hardlabel.data.given import Given
from hardlabel.randomness import derive


def one_of_each(given: Given, *, seed: int) -> Given:
    """The samples with one row of each person, drawn at random, and no person in two groups.

    A person who is a member and a non-member at once is in neither. A population loses the persons of both. Each
    person then counts once in every figure, so that all intervals are by person, and no split divides a person.

    Args:
        given: Samples with `groups`: whose row each is.
        seed: Fixes the draws.

    Raises:
        InvalidInput: Members and non-members share more than MOST_SHARED of the persons of a group.
    """
    assert given.groups is not None, "somebody said whose rows they are"
    persons = {name: np.asarray([str(value) for value in values]) for name, values in given.groups.items()}
    members, nonmembers = set(persons["members"]), set(persons["nonmembers"])
    both = members & nonmembers
    for name, group in (("members", members), ("nonmembers", nonmembers)):
        if len(both) > MOST_SHARED * len(group):
            raise InvalidInput(
                f"members and nonmembers must not share persons, got {len(both)} in both, of {len(group)} in {name}: "
                f"at most {MOST_SHARED:.0%} are dropped, more is likely a mistake: put each person into one group"
            )
    chosen = {
        name: _drawn(values, without=both if name != "population" else members | nonmembers, seed=derive(seed, name))
        for name, values in persons.items()
    }
    rows, kept = sum(map(len, persons.values())), sum(map(len, chosen.values()))
    note = f"Each person counts once: of {rows:,} rows, {kept:,} were taken, one of each person, drawn at random."
    if both:
        note += f" Persons who are members and non-members at once were dropped: {len(both)}."
    population = given.population
    if population is not None and len(chosen["population"]):
        population = _taken(population, chosen["population"])
    elif population is not None:
        population = None
    return replace(
        given,
        members=_taken(given.members, chosen["members"]),
        nonmembers=_taken(given.nonmembers, chosen["nonmembers"]),
        population=population,
        groups=None,
        slices=_sliced(given.slices, chosen),
        notes=(*given.notes, note),
    )


def _drawn(persons: NDArray[Any], *, without: set[str], seed: int) -> NDArray[np.int64]:
    """One row of each person, in the order of the rows."""
    order = np.random.default_rng(seed).permutation(len(persons))
    _, first = np.unique(persons[order], return_index=True)
    rows = np.sort(order[first])
    return rows[[person not in without for person in persons[rows]]] if len(rows) else rows


def _taken(pair: tuple[Any, Any], rows: NDArray[np.int64]) -> tuple[Any, Any]:
    inputs, labels = pair
    if hasattr(inputs, "iloc"):
        return inputs.iloc[rows], labels[rows]
    return ([inputs[row] for row in rows] if isinstance(inputs, list) else inputs[rows]), labels[rows]


def _sliced(
    slices: Mapping[str, tuple[Any, Any]], chosen: Mapping[str, NDArray[np.int64]]
) -> dict[str, tuple[Any, Any]]:
    return {
        name: (inside[chosen["members"]], outside[chosen["nonmembers"]]) for name, (inside, outside) in slices.items()
    }
