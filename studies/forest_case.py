"""What the attacker's other records are worth: a forest on telco, references filled up from outside the pool or not.

The target has 1,500 of 3,000 rows; 500 members and 500 others are attacked with 12 references, each trained on 500 of
them and 1,000 further rows. These come from rows that are nobody's, or from the rest of the 3,000: then half of the
target's other training rows are among them. Beside the tool stands a plain likelihood ratio on the probability, with
references of this script's own and the same knowledge.

    python studies/forest_case.py --data FOLDER        prints a table; a minute of one core
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from surrogates import table, telco

import hardlabel

TRAIN, EACH, PAIRS = 1500, 500, 6
ATTACKS = ["gap", "lira", "lira-shrunken", "lira-learned"]


def forest(seed: int) -> RandomForestClassifier:
    return RandomForestClassifier(60, random_state=seed)


def normal_ratio(
    values: NDArray[np.float64], inside: NDArray[np.bool_], shown: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How much likelier what the target shows is with a row in training; a mean for each row, a width for each side."""
    logs = []
    for side in (inside, ~inside):
        mean = (values * side).sum(0) / side.sum(0)
        variance = ((values - mean) ** 2 * side).sum() / side.sum()
        logs.append(-0.5 * np.log(variance) - (shown - mean) ** 2 / 2 / variance)
    return np.asarray(logs[0] - logs[1])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True)
    inputs, labels, domain = telco(arguments.parse_args().data)
    rows = np.unique(inputs.numpy(), axis=0, return_index=True)[1]
    rows = np.random.default_rng(3).permutation(rows)
    x, y = inputs.numpy()[rows], labels.numpy()[rows]
    target, source = forest(0).fit(x[:TRAIN], y[:TRAIN]), np.random.default_rng(5)
    members, others = source.permutation(TRAIN)[:EACH], TRAIN + source.permutation(TRAIN)[:EACH]
    asked, member = np.concatenate([members, others]), np.repeat([True, False], EACH)

    def shown(model: RandomForestClassifier) -> NDArray[np.float64]:
        return np.asarray(model.predict_proba(x[asked])[np.arange(2 * EACH), y[asked]])

    lines = []
    for title, rest in {
        "outside the 3,000": np.arange(2 * TRAIN, len(x)),
        "among the 3,000": np.setdiff1d(np.arange(2 * TRAIN), asked),
    }.items():
        values, inside, drawn = [], [], np.random.default_rng(11)
        for _ in range(PAIRS):
            halves, filler = drawn.permutation(2 * EACH), drawn.permutation(rest)[: 2 * (TRAIN - EACH)]
            for half, further in zip(np.split(halves, 2), np.split(filler, 2), strict=True):
                trained = np.concatenate([asked[half], further])
                values.append(shown(forest(10 + len(values)).fit(x[trained], y[trained])))
                inside.append(np.isin(np.arange(2 * EACH), half))
        plain = roc_auc_score(member, normal_ratio(np.array(values), np.array(inside), shown(target)))
        record = hardlabel.audit(
            target,
            (x[members], y[members]),
            (x[others], y[others]),
            population=(x[rest], y[rest]),
            trainer=forest(1),
            train_size=TRAIN,
            domain=domain,
            attacks=ATTACKS,
            seed=1,
            attacker=hardlabel.Attacker(references=2 * PAIRS),
        )
        auc = {row.name: row.auc for row in record.results.attacks}
        figures = [f"{auc[name].value:.3f} [{auc[name].low:.3f}, {auc[name].high:.3f}]" for name in ATTACKS]
        lines.append([title, f"{plain:.3f}", *figures])
    print(table(["further rows", "plain ratio", *ATTACKS], lines), end="")


if __name__ == "__main__":
    main()
