"""Fitted scikit-learn classifiers as oracles: labels from `predict`, scores where the classifier shows them."""

import pickle
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, is_classifier
from torch import Tensor

from hardlabel.checks import InvalidInput
from hardlabel.oracles.base import VALUES_IN_MEMORY

LOWEST = -50.0  # Log probabilities are cut here: those of a forest's zeros and of classes never seen stay finite.
MOST_ROWS = 2**14  # Most rows per call: kernel methods build a matrix of rows times training samples.
SUM_SLACK = 1e-5  # Float32 probabilities that sum to 1 do so within this.


def of_estimator(model: object, *, classes: int | None = None) -> "Estimator":
    """The oracle of a fitted classifier: a `ScoreOracle` if and only if the classifier shows probabilities.

    Arguments and errors: see `Estimator`.
    """
    shows = hasattr(model, "predict_proba") or hasattr(model, "predict_log_proba")
    return (EstimatorScores if shows else Estimator)(model, classes=classes)


def is_estimator(thing: object) -> bool:
    """Whether this is a classifier as scikit-learn means it, fitted or not, or answers like a fitted one."""
    if isinstance(thing, type):
        return False
    if isinstance(thing, BaseEstimator) and is_classifier(thing):
        return True
    return callable(getattr(thing, "predict", None)) and hasattr(thing, "classes_")


def estimator_hash(model: object) -> str | None:
    """Fixed by a classifier's class, parameters and fitted state: 40 hexadecimal digits; None if it has no pickle.

    The same after saving and loading. Two states that answer alike may differ: a k-d tree counts how often it was
    asked, a grid search how long it took. Functions inside count by their names, not by what they do.
    """
    try:
        # A copy by pickle: some classes hold their arrays in another layout before they were ever loaded.
        copy = pickle.loads(pickle.dumps(model))
        return str(joblib.hash(copy, hash_name="sha1"))
    except Exception:  # Every class refuses in its own way.
        return None


class Estimator:
    """A fitted classifier that answers with labels; its classes must be whole numbers from 0 on.

    It is handed copies of the inputs flattened to (q, features), float32, on the CPU; as data frames where it was
    fitted on one.

    Args:
        model: A scikit-learn classifier, or another object with `predict` and `classes_`.
        classes: Number of classes of the task, where the classifier may have missed the last ones; by default one
            more than the highest it knows.

    Raises:
        InvalidInput: It is no classifier, is not fitted, or knows classes other than 0 .. classes - 1.
    """

    def __init__(self, model: object, *, classes: int | None = None) -> None:
        self._model: Any = model
        self._known = _known_classes(model)
        self._classes = int(self._known.max()) + 1 if classes is None else classes
        if int(self._known.max()) >= self._classes:
            raise InvalidInput(f"classes must be above the classifier's highest, {self._known.max()}, got {classes}")

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self._classes

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """Classes of `inputs` (q, *shape), int64 (q,); see `LabelOracle`."""
        del ids
        return self._answers(inputs, self._labels)

    def _answers(self, inputs: Tensor, read: Callable[[Any], Tensor]) -> Tensor:
        if not len(inputs):
            raise InvalidInput("inputs must hold at least one row, got none")
        flat = inputs.flatten(1)
        features = flat.shape[1]
        expected = getattr(self._model, "n_features_in_", features)
        if expected != features:
            raise InvalidInput(f"inputs must have the classifier's {expected} features, got {features}")
        most = min(MOST_ROWS, max(1, VALUES_IN_MEMORY // max(features, self._classes)))
        return torch.cat([read(self._rows(part)) for part in torch.split(flat, most)]).to(inputs.device)

    def _rows(self, inputs: Tensor) -> Any:
        # A copy: a classifier may scale what it is handed in place.
        rows = np.array(inputs.detach().cpu().numpy(), dtype=np.float32)
        names = getattr(self._model, "feature_names_in_", None)
        return rows if names is None else pd.DataFrame(rows, columns=names)

    def _labels(self, rows: Any) -> Tensor:
        # Classes that were floats or truth values are told as such.
        return torch.from_numpy(np.asarray(self._model.predict(rows)).reshape(-1).astype(np.int64))


class EstimatorScores(Estimator):
    """The same classifier with its probabilities shown, for the score-based baselines.

    Labels still come from `predict`, which need not be the class of the highest probability. Log probabilities
    are at least LOWEST, which classes the classifier does not know get.
    """

    def ask_scores(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """Log probabilities of `inputs` (q, *shape), float32 (q, classes); see `ScoreOracle`."""
        del ids
        return self._answers(inputs, self._scores)

    def _scores(self, rows: Any) -> Tensor:
        if hasattr(self._model, "predict_proba"):
            known = _logarithms(np.asarray(self._model.predict_proba(rows), dtype=np.float64))
        else:
            known = np.asarray(self._model.predict_log_proba(rows), dtype=np.float64)
        if known.shape != (len(rows), len(self._known)):
            raise InvalidInput(
                f"a classifier must show probabilities ({len(rows)}, {len(self._known)}), got {known.shape}"
            )
        logs = np.full((len(rows), self._classes), LOWEST)
        logs[:, self._known] = known.clip(LOWEST, 0.0)
        return torch.from_numpy(logs.astype(np.float32))


def _known_classes(model: object) -> NDArray[np.int64]:
    """What `model.classes_` names, in its order.

    Raises:
        InvalidInput: It does not name classes by whole numbers from 0 on.
    """
    if not is_estimator(model):
        raise InvalidInput(f"model must be a scikit-learn classifier, got {type(model).__name__}")
    named = getattr(model, "classes_", None)
    if named is None:
        raise InvalidInput(f"model must be fitted, got {type(model).__name__} without classes_")
    several = isinstance(named, list) and any(np.ndim(one) for one in named)  # So has one with several outputs.
    numbers = np.empty(0) if several else np.asarray(named)
    whole = numbers.ndim == 1 and len(numbers) > 0 and numbers.dtype.kind in "biuf"
    if not whole or bool((numbers < 0).any()) or bool((numbers != numbers.astype(np.int64)).any()):
        raise InvalidInput(
            f"classes_ must be whole numbers from 0 on, got {list(named)[:5]}: fit the classifier on 0, 1, 2, ..."
        )
    return numbers.astype(np.int64)


def _logarithms(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of (q, classes), exact where one class has nearly all.

    Many classifiers compute in float32, where probabilities near 1 all round to 1; what is left for the other
    classes still tells them apart.
    """
    probabilities = probabilities.clip(0.0)  # Rounding may leave them below.
    with np.errstate(divide="ignore"):
        logs = np.log(probabilities)
    rows, highest = np.arange(len(probabilities)), probabilities.argmax(1)
    others = probabilities.copy()
    others[rows, highest] = 0.0
    left = others.sum(1)
    sums_to_one = abs(probabilities[rows, highest] + left - 1) < SUM_SLACK
    sure = sums_to_one & (left < 0.5)
    logs[rows[sure], highest[sure]] = np.log1p(-left[sure])
    return logs
