"""How often a change is "measured" between two models that were trained alike, on the same records.

The interval of a change speaks of other records, not of training once more. Here nothing changes but the seed of the
training, so that every interval that excludes 0 is due to training (and to chance in 5 %). `python studies/changes.py`
prints the table of docs/comparing-runs.md.
"""

import warnings

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

from hardlabel.metrics.changes import Scored, auc_change
from hardlabel.metrics.intervals import auc_interval

SPLITS, SEEDS = 30, 6
SIZES = (100,)  # Members, and as many non-members; up to 800 fit the data.


def models(seed: int) -> dict[str, ClassifierMixin]:
    """A network and a tree, whose training draws at random."""
    return {
        "network": MLPClassifier((32,), max_iter=100, random_state=seed),
        "tree": DecisionTreeClassifier(splitter="random", max_features=0.3, random_state=seed),
    }


def main() -> None:
    """Prints one line for each size, model and attack."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    inputs, labels = load_digits(return_X_y=True)
    inputs = inputs / 16
    print("| members + non-members | model | attack | sd of AUC over trainings | half an interval | excludes 0 |")
    print("|---|---|---|---|---|---|")
    for size in SIZES:
        rng, member, numbers = np.random.default_rng(0), np.arange(2 * size) < size, np.arange(2 * size)
        found: dict[tuple[str, str], list[tuple[float, float, list[bool]]]] = {}
        for _ in range(SPLITS):
            rows = rng.permutation(len(inputs))[: 2 * size]
            sides: dict[tuple[str, str], list[Scored]] = {}
            for seed in range(SEEDS):
                for name, model in models(seed).items():
                    chances = model.fit(inputs[rows[:size]], labels[rows[:size]]).predict_proba(inputs[rows])
                    right = (model.classes_[chances.argmax(1)] == labels[rows]).astype(float)
                    sure = chances[numbers, np.searchsorted(model.classes_, labels[rows]) % chances.shape[1]]
                    for attack, scores in (("gap", right), ("confidence", sure)):
                        side = Scored(scores=scores, member=member, records=numbers)
                        sides.setdefault((name, attack), []).append(side)
            for key, runs in sides.items():
                aucs = [auc_interval(run.scores, member) for run in runs]
                pairs = range(0, SEEDS, 2)
                changes = [auc_change(runs[at], runs[at + 1], own=(aucs[at], aucs[at + 1])) for at in pairs]
                spread = float(np.std([auc.value for auc in aucs], ddof=1))
                half = float(np.mean([(change.high - change.low) / 2 for change in changes]))
                found.setdefault(key, []).append((spread, half, [not c.low <= 0 <= c.high for c in changes]))
        for (name, attack), rows_of in found.items():
            excluded = [one for _, _, these in rows_of for one in these]
            spread, half = (np.mean([row[place] for row in rows_of]) for place in (0, 1))
            share = f"{sum(excluded)} of {len(excluded)}"
            print(f"| {size} + {size} | {name} | {attack} | {spread:.4f} | {half:.4f} | {share} |", flush=True)


if __name__ == "__main__":
    main()
