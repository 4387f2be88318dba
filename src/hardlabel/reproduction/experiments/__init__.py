"""The experiments: one file for each table or figure of the paper."""

from collections.abc import Sequence
from dataclasses import replace

from hardlabel import checks
from hardlabel.reproduction.declared import Experiment
from hardlabel.reproduction.experiments import (
    figure1,
    figure2,
    figure3,
    figure4,
    figure5,
    figure6,
    outliers,
    table1,
    table2,
)
from hardlabel.reproduction.scales import SCALES

NAMES = {
    "table1": table1.experiment,
    "table2": table2.experiment,
    "figure1": figure1.experiment,
    "figure2": figure2.experiment,
    "figure3": figure3.experiment,
    "figure4": figure4.experiment,
    "figure5": figure5.experiment,
    "figure6": figure6.experiment,
    "outliers": outliers.experiment,
}


def experiments_at(scale: str, names: Sequence[str] = ()) -> list[Experiment]:
    """The experiments of these names at a scale, in the paper's order; all of them for no name or "all".

    Raises:
        InvalidInput: There is no such experiment or scale.

    Example:
        >>> from hardlabel.reproduction.experiments import experiments_at
        >>> [experiment.name for experiment in experiments_at("cpu", ["table2", "table1"])]
        ['table1', 'table2']
    """
    checks.one_of(SCALES, scale=scale)
    for name in names:
        checks.one_of([*NAMES, "all"], experiment=name)
    everything = not names or "all" in names
    chosen = [make(SCALES[scale]) for name, make in NAMES.items() if everything or name in names]
    return [_on_digits(experiment) for experiment in chosen] if SCALES[scale].smoke else chosen


def _on_digits(experiment: Experiment) -> Experiment:
    """The experiment without the paper's figures, which are not about digits."""
    return replace(experiment, cells=[replace(cell, published={}) for cell in experiment.cells])
