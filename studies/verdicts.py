"""False alarms of the verdict: audits of targets that saw none of the records, and audits of healthy targets.

Null audits: the target was trained on other records of the same source, so nobody can find members. Every attack that
suits is run. A grade above "none found" is a false alarm; at most 5 % may be.

Healthy audits: the target was trained on the members. Half have no gap, a quarter has classes of 95 to 5, some are
trained by DP-SGD. No verdict, or a change of the target, is a false alarm; at most 2 of 200 may be.

Reruns: the audit of one target and one set of records, again with other seeds. The targets lie at the middle of a grade
and near the border of two.

    python studies/verdicts.py [--null 300] [--healthy 200] [--reruns 100] [--first 0] [--targets "a forest" ...]

It prints the counts with their intervals (docs/metrics.md holds them). Two processes; half an hour on two cores.
"""

import argparse
import collections
import functools
import itertools
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

import hardlabel
from hardlabel.metrics.rates import rate_interval
from hardlabel.records.verdict import MEASURED

Data = tuple[NDArray[np.float32], NDArray[np.int64]]
FEW = hardlabel.Attacker(references=4)
SIZE = 100  # Members, and as many non-members.


@dataclass(frozen=True)
class Source:
    """A source of records: classes around centres, with wrong labels for a share.

    Attributes:
        classes: Number of classes.
        wrong: Share of labels drawn anew.
        rare: Share of class 1, of two classes; 0 for equally frequent classes.
        image: Whether records are images of 8 x 8 pixels, else 8 features.
    """

    classes: int = 3
    wrong: float = 0.3
    rare: float = 0.0
    image: bool = False

    def draw(self, rng: np.random.Generator, count: int) -> Data:
        shape = (1, 8, 8) if self.image else (8,)
        centres = np.random.default_rng(5).normal(size=(self.classes, *shape))
        labels = (rng.random(count) < self.rare).astype(np.int64) if self.rare else rng.integers(0, self.classes, count)
        inputs = centres[labels] + rng.normal(size=(count, *shape))
        if self.image:
            inputs = expit(inputs)
        if not self.rare:
            labels = np.where(rng.random(count) < self.wrong, rng.integers(0, self.classes, count), labels)
        return inputs.astype(np.float32), labels


class PrivateLogistic(LogisticRegression):
    """Logistic regression on two classes by DP-SGD: gradients clipped to length 1 each, and Gaussian noise."""

    def fit(self, inputs: NDArray[np.float32], labels: NDArray[np.int64]) -> "PrivateLogistic":
        rng = np.random.default_rng(0)
        with_one = np.hstack([inputs, np.ones((len(inputs), 1))])
        weights = np.zeros(with_one.shape[1])
        for _ in range(50):
            gradients = (expit(with_one @ weights) - labels)[:, None] * with_one
            gradients /= np.maximum(1.0, np.linalg.norm(gradients, axis=1, keepdims=True))
            weights -= 0.5 * (gradients.sum(0) + rng.normal(0.0, 4.0, len(weights))) / len(inputs)
        self.coef_, self.intercept_, self.classes_ = weights[None, :-1], weights[-1:], np.array([0, 1])
        self.n_features_in_ = inputs.shape[1]
        return self


def tree() -> DecisionTreeClassifier:
    return DecisionTreeClassifier(max_depth=6, random_state=0)


def deep_tree() -> DecisionTreeClassifier:
    return DecisionTreeClassifier(random_state=0)


def forest() -> RandomForestClassifier:
    return RandomForestClassifier(15, random_state=0)


def neighbours() -> KNeighborsClassifier:
    return KNeighborsClassifier(3)


def logistic() -> LogisticRegression:
    return LogisticRegression(C=10.0, max_iter=300)


def fitted(make: Callable, data: Data) -> object:
    return make().fit(data[0].reshape(len(data[0]), -1), data[1])


def null_audit(number: int) -> tuple[str, str, bool]:
    """Grade, title, and whether the target seemed to change, of the audit of a target that saw none of the records."""
    rng = np.random.default_rng([1, number])
    make = (tree, logistic, forest, neighbours)[number % 4]
    source = Source(image=number % 3 == 0)
    own = number % 5 != 0  # Every fifth attacker has no models of its own.
    size = 150
    target = fitted(make, source.draw(rng, size))
    more = {"population": source.draw(rng, 300), "trainer": make()} if own else {}
    record = hardlabel.audit(
        target, source.draw(rng, SIZE), source.draw(rng, SIZE), attacker=FEW, device="cpu", seed=number, **more
    )
    return told(record)


def audit_of(
    make: Callable,
    source: Source,
    rng: np.random.Generator,
    *,
    references: int = FEW.references,
    private: bool = False,
    seed: int,
) -> tuple[str, str, bool]:
    """The same of a target that was trained on the members, audited by an attacker who trains in the same way."""
    members = source.draw(rng, SIZE)
    record = hardlabel.audit(
        fitted(make, members),
        members,
        source.draw(rng, SIZE),
        population=source.draw(rng, 300),
        trainer=make(),
        budget=10,
        focus=hardlabel.Focus(private=private),
        attacker=hardlabel.Attacker(references=references),
        device="cpu",
        seed=seed,
    )
    return told(record)


def healthy_audit(number: int) -> tuple[str, str, bool]:
    """The same of the audit of a healthy target, trained on the members."""
    rng = np.random.default_rng([2, number])
    rare = 0.05 if number % 4 == 0 else 0.0
    private = number % 10 == 5
    if private:
        make, source = PrivateLogistic, Source(classes=2, wrong=0.1)
    else:
        gap = number % 2 == 0
        make = (deep_tree, forest)[number // 2 % 2] if gap else logistic
        source = Source(classes=2 if rare else 3, wrong=0.3 if gap else 0.1, rare=rare)
    return audit_of(make, source, rng, private=private, seed=number)


RERUN: dict[str, tuple[Callable, float]] = {  # The model and the share of wrong labels of its records.
    "a tree that knows all its records by heart": (deep_tree, 0.5),
    "a forest": (forest, 0.3),
    "a tree of six levels": (tree, 0.1),
    "logistic regression": (logistic, 0.1),
}


def rerun(title: str, references: int, seed: int) -> tuple[str, str, bool]:
    """The same of an audit of the same target and records, with a seed of its own."""
    make, wrong = RERUN[title]
    rng, source = np.random.default_rng([3, list(RERUN).index(title)]), Source(wrong=wrong)
    return audit_of(make, source, rng, references=references, seed=seed)


def told(record: hardlabel.AuditRecord) -> tuple[str, str, bool]:
    verdict = record.results.verdict
    why = "; ".join(reason.finding for reason in verdict.reasons)
    return str(verdict.grade), f"{verdict.title} {why}", record.results.checks.changed


def many(audit: Callable[[int], tuple[str, str, bool]], count: int, *, first: int = 0) -> list[tuple[str, str, bool]]:
    """The results of `count` audits, two at a time."""
    with ProcessPoolExecutor(2, initializer=_one_thread) as pool:
        return list(pool.map(audit, range(first, first + count)))


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def false_grades(results: list[tuple[str, str, bool]]) -> int:
    return sum(grade in {str(level) for level in MEASURED} for grade, _, _ in results)


def false_alarms(results: list[tuple[str, str, bool]]) -> int:
    return sum(grade == "no verdict" or changed for grade, _, changed in results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--null", type=int, default=300)
    parser.add_argument("--healthy", type=int, default=200)
    parser.add_argument("--reruns", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="Number of the first audit: other records, other targets.")
    parser.add_argument("--targets", nargs="+", choices=RERUN, default=list(RERUN), help="Of the reruns.")
    given = parser.parse_args()
    for title, audit, count, wrong in (
        ("null audits, graded above none found", null_audit, given.null, false_grades),
        ("healthy audits, no verdict or a changed target", healthy_audit, given.healthy, false_alarms),
    ):
        if count == 0:
            continue
        started = time.time()
        results = many(audit, count, first=given.first)
        alarms = wrong(results)
        print(f"{title}: {alarms} of {count}, {rate_interval(alarms, count)} ({time.time() - started:.0f} s)")
        for grade, number in collections.Counter(grade for grade, _, _ in results).most_common():
            print(f"  {grade}: {number}")
        for place, (grade, why, changed) in enumerate(results, start=given.first):
            if wrong([(grade, why, changed)]):
                print(f"  audit {place}: {why}")
    for title, references in itertools.product(given.targets, (4, 12) if given.reruns else ()):
        results = many(functools.partial(rerun, title, references), given.reruns, first=given.first)
        counts = collections.Counter(grade for grade, _, _ in results).most_common()
        print(f"reruns of {title}, {references} references:", ", ".join(f"{grade} {times}" for grade, times in counts))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
