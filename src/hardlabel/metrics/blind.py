"""The blind baseline: can members be told from non-members without asking any model?

If so, the two groups differ in distribution, and an attack's figures are inflated by what it can tell from
the samples themselves. If the classifier is wrong more often than guessing would be, copies of samples stand in both.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples
from hardlabel.metrics.estimate import Estimate
from hardlabel.metrics.intervals import CONFIDENCE, auc_estimate, auc_with_variance
from hardlabel.metrics.roc import Mask
from hardlabel.randomness import sklearn_seed

Floats = NDArray[np.float64]
FOLDS = 5
FEWEST = 10  # Of either kind, for two samples of each kind in every fold.
COMPONENTS = 50  # Principal components kept of inputs that have more features.
METHOD = (
    f"logistic regression and gradient-boosted trees on the inputs (at most {COMPONENTS} principal components) "
    f"and the one-hot label, their ranks averaged; AUC within each of {FOLDS} folds, averaged"
)


def blind_baseline(
    members: Samples, nonmembers: Samples, *, seed: int, confidence: float = CONFIDENCE
) -> tuple[Estimate, str]:
    """AUC of a classifier trained to tell members from non-members by inputs and labels alone, and its method.

    Scores are compared within a fold only, where the classifier saw none of them: on groups of the same
    distribution each fold's AUC is .5 on average. (Scores pooled over folds would average below it: a sample
    that is out of fold here has pushed the other folds' classifiers away from itself.)

    The folds' classifiers share training samples, so their AUCs agree more than independent ones would. The
    mean's variance is therefore multiplied by 1 + FOLDS / (FOLDS - 1): Nadeau and Bengio (2003), "Inference for
    the generalization error", Machine Learning 52.

    Costs no query. The order of the samples does not matter.

    Args:
        members: Samples said to be in the target's training data.
        nonmembers: Samples said not to be; as many or not.
        seed: Fixes the folds and the classifiers.
        confidence: Of the interval, strictly between 0 and 1.

    Returns:
        The AUC with its interval, and the method in words. Undefined if either kind has fewer than 10 samples.

    Raises:
        InvalidInput: The domains differ, or `confidence` is out of range.
    """
    checks.open_fraction(confidence=confidence)
    if members.domain != nonmembers.domain:
        raise InvalidInput(
            f"members and nonmembers must share one domain, got {members.domain} and {nonmembers.domain}"
        )
    if min(len(members), len(nonmembers)) < FEWEST:
        got = f"got {len(members)} and {len(nonmembers)}"
        return Estimate.undefined(f"needs {FEWEST} members and {FEWEST} non-members, {got}"), METHOD
    inputs, labels, member = _table(members, nonmembers)
    splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=sklearn_seed(seed, "blind folds"))
    values, variances, pairs = [], [], []
    for fold, (train, test) in enumerate(splitter.split(inputs, member)):
        scores = _scores(inputs, labels, member, train, test, seed=sklearn_seed(seed, "blind fit", fold))
        value, variance = auc_with_variance(scores, member[test])
        values.append(value)
        variances.append(variance)
        pairs.append(np.count_nonzero(member[test]) * np.count_nonzero(~member[test]))
    weights = np.array(pairs) / sum(pairs)
    shared = 1 + FOLDS / (FOLDS - 1)
    estimate = auc_estimate(
        float(weights @ values),
        float(weights**2 @ variances) * shared,
        max(1, round(len(members) / shared)),
        max(1, round(len(nonmembers) / shared)),
        confidence=confidence,
    )
    return estimate, METHOD


def differs(estimate: Estimate) -> bool:
    """Whether an AUC's interval excludes .5; an undefined one says nothing."""
    if estimate.low is None or estimate.high is None:
        return False
    return estimate.low > 0.5 or estimate.high < 0.5


def _table(members: Samples, nonmembers: Samples) -> tuple[Floats, Floats, Mask]:
    """Inputs (n, features), one-hot labels (n, classes) and membership (n,), each kind sorted by id."""
    parts = [part.take(part.ids.argsort()) for part in (members, nonmembers)]
    inputs = np.concatenate([part.inputs.flatten(1).cpu().numpy() for part in parts])
    labels = np.concatenate([part.labels.cpu().numpy() for part in parts])
    member = np.repeat([True, False], [len(part) for part in parts])
    one_hot = (labels[:, None] == np.unique(labels)).astype(np.float64)
    return inputs.astype(np.float64), one_hot, member


def _scores(
    inputs: Floats, labels: Floats, member: Mask, train: NDArray[np.int64], test: NDArray[np.int64], *, seed: int
) -> Floats:
    """Blind scores of the samples `test` after training on `train`: only their order means anything."""
    scaler = StandardScaler().fit(inputs[train])
    features = scaler.transform(inputs)
    if features.shape[1] > COMPONENTS:
        kept = min(COMPONENTS, len(train))
        features = PCA(kept, svd_solver="randomized", random_state=seed).fit(features[train]).transform(features)
    features = np.hstack([features, labels])
    ranks = np.zeros(len(test))
    for model in (
        LogisticRegression(C=0.1, max_iter=1000),
        HistGradientBoostingClassifier(max_iter=50, random_state=seed),
    ):
        model.fit(features[train], member[train])
        ranks += rankdata(model.predict_proba(features[test])[:, 1])
    return ranks
