"""Fitted scikit-learn classifiers as oracles: labels from `predict`, scores if the classifier has probabilities."""

import pickle
import reprlib
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
from hardlabel.oracles.base import LOWEST, VALUES_IN_MEMORY
from hardlabel.targets.frameworks.base import reason

MOST_ROWS = 2**14  # Most rows per call: kernel methods build a matrix of rows times training samples.
SUM_SLACK = 1e-5  # Error of a sum of float32 probabilities that should be 1.


def of_estimator(model: object, *, classes: int | None = None, role: str = "model") -> "Estimator":
    """The oracle of a fitted classifier: a `ScoreOracle` if and only if the classifier has probabilities.

    Arguments and errors: see `Estimator`.
    """
    shows = hasattr(model, "predict_proba") or hasattr(model, "predict_log_proba")
    return (EstimatorScores if shows else Estimator)(model, classes=classes, role=role)


def is_estimator(thing: object) -> bool:
    """Whether this is a scikit-learn classifier, fitted or not, or another object with `predict` and `classes_`."""
    if isinstance(thing, type):
        return False
    if isinstance(thing, BaseEstimator) and is_classifier(thing):
        return True
    return callable(getattr(thing, "predict", None)) and hasattr(thing, "classes_")


def estimator_hash(model: object) -> str | None:
    """A hash of a classifier's class, parameters and fitted state: 40 hexadecimal digits; None without a pickle.

    The hash stays the same after saving and loading. Two classifiers that answer alike may differ in it: a k-d tree
    counts its queries, a grid search keeps its time. Functions in the state count by name, not by content.
    """
    try:
        # A copy by pickle: some classes change the layout of their arrays at the first loading.
        copy = pickle.loads(pickle.dumps(model))
        return str(joblib.hash(copy, hash_name="sha1"))
    except Exception:  # Every class refuses in its own way.
        return None


class Estimator:
    """A fitted classifier that answers with labels; its classes must be whole numbers from 0 on.

    The classifier gets copies of the inputs, flattened to (q, features), float32, on the CPU. If it was fitted on a
    data frame, it gets data frames.

    Args:
        model: A scikit-learn classifier, or another object with `predict` and `classes_`.
        classes: Number of classes of the task, if the classifier may not know the last classes; by default its highest
            class plus one.
        role: What errors call the classifier.

    Raises:
        InvalidInput: The model is no classifier, is not fitted, or knows classes other than 0 .. classes - 1. On
            asking: `predict` answers with other things than the classes in `classes_`, one for each row, or
            probabilities are NaN or infinite. The error says how many are wrong and which is the first.
    """

    def __init__(self, model: object, *, classes: int | None = None, role: str = "model") -> None:
        self._model: Any = model
        self._role = role
        self._known = _known_classes(model, role)
        self._classes = int(self._known.max()) + 1 if classes is None else classes
        if int(self._known.max()) >= self._classes:
            raise InvalidInput(f"classes must be above the classifier's highest, {self._known.max()}, got {classes}")

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self._classes

    def padded(self, classes: int) -> "Estimator":
        """The same classifier for a task of `classes` classes, of which it may not know the last."""
        return type(self)(self._model, classes=max(classes, self._classes), role=self._role)

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """Classes of `inputs` (q, *shape), int64 (q,); see `LabelOracle`."""
        del ids
        told = self._answers(inputs, self._labels)
        # NaN and fractions are no classes either.
        self._refuse(~np.isin(told, self._known), told, f"predict must answer with its classes {self._listed}, got")
        return torch.from_numpy(told.astype(np.int64)).to(inputs.device)

    @property
    def _listed(self) -> str:
        return f"[{', '.join(map(str, self._known[:5]))}{', ...' if len(self._known) > 5 else ''}]"

    def _refuse(self, bad: NDArray[np.bool_], values: NDArray[np.float64], problem: str) -> None:
        """Refuses the answers if some of the rows are `bad` (q,)."""
        if bad.any():
            first = int(bad.argmax())
            raise InvalidInput(
                f"{self._role}: {problem} others for {int(bad.sum())} of {len(bad)} inputs (the first is row {first}: "
                f"{np.array2string(values[first], threshold=5)}): is it a classifier, and did its training end well?"
            )

    def _answers(self, inputs: Tensor, read: Callable[[Any], NDArray[np.float64]]) -> NDArray[np.float64]:
        if not len(inputs):
            raise InvalidInput("inputs must hold at least one row, got none")
        flat = inputs.flatten(1)
        features = flat.shape[1]
        expected = getattr(self._model, "n_features_in_", features)
        if expected != features:
            raise InvalidInput(f"inputs must have the classifier's {expected} features, got {features}")
        size = min(MOST_ROWS, max(1, VALUES_IN_MEMORY // max(features, self._classes)))
        return np.concatenate([read(self._rows(batch)) for batch in torch.split(flat, size)])

    def _rows(self, inputs: Tensor) -> Any:
        # A copy: a classifier may scale its inputs in place.
        rows = np.array(inputs.detach().cpu().numpy(), dtype=np.float32)
        names = getattr(self._model, "feature_names_in_", None)
        return rows if names is None else pd.DataFrame(rows, columns=names)

    def _labels(self, rows: Any) -> NDArray[np.float64]:
        # Predictions have the type of the fitted labels, perhaps float or bool.
        told = self._numbers(self._told(rows, "predict"), "predict")
        if told.shape not in ((len(rows),), (len(rows), 1)):
            raise InvalidInput(f"{self._role}: predict must answer {len(rows)} inputs ({len(rows)},), got {told.shape}")
        return told.reshape(-1)

    def _told(self, rows: Any, method: str) -> Any:
        """What the classifier answers; that it cannot take the rows is told in one line."""
        try:
            return getattr(self._model, method)(rows)
        except InvalidInput:
            raise
        except (ValueError, TypeError, KeyError, IndexError) as error:  # As scikit-learn and pandas refuse rows.
            raise InvalidInput(f"{self._role} cannot take these rows: {reason(error)}") from error

    def _numbers(self, told: Any, method: str) -> NDArray[np.float64]:
        try:
            answers = np.asarray(told)
            if answers.dtype.kind in "OSUV" and any(
                not isinstance(one, int | float | np.number | np.bool_) for one in answers.flat
            ):
                raise ValueError
            return answers.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise InvalidInput(
                f"{self._role}: {method} must answer with numbers, got {reprlib.repr(told)} (from row 0 on)"
            ) from error


class EstimatorScores(Estimator):
    """The same classifier, with probabilities for the score-based baselines.

    Labels still come from `predict`, which may differ from the class with the highest probability. Log probabilities
    are at least LOWEST; classes that the classifier does not know have LOWEST. Where several of its classes mean one,
    their probabilities are added up.
    """

    def ask_scores(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """Log probabilities of `inputs` (q, *shape), float32 (q, classes); see `ScoreOracle`."""
        del ids
        told = self._answers(inputs, self._scores)
        if self._probable:
            bad = np.logical_or.reduce(~np.isfinite(told), axis=1)
            self._refuse(bad, told, "predict_proba must answer with finite numbers, got")
            told = _logarithms(told)
        else:
            bad = np.logical_or.reduce(np.isnan(told) | np.isposinf(told), axis=1)
            self._refuse(bad, told, "predict_log_proba must answer with numbers, none NaN nor infinity, got")
        logs = np.full((self._classes, len(told)), -np.inf)
        np.logaddexp.at(logs, self._known, told.clip(LOWEST, 0.0).T)  # Several answers may mean one class.
        return torch.from_numpy(logs.T.clip(LOWEST, 0.0).astype(np.float32)).to(inputs.device)

    @property
    def _probable(self) -> bool:
        return hasattr(self._model, "predict_proba")

    def _scores(self, rows: Any) -> NDArray[np.float64]:
        """What the classifier answers for the classes that it knows, (q, known)."""
        method = "predict_proba" if self._probable else "predict_log_proba"
        told = self._numbers(self._told(rows, method), method)
        if told.shape != (len(rows), len(self._known)):
            raise InvalidInput(
                f"{self._role} must show probabilities ({len(rows)}, {len(self._known)}), one for each of its "
                f"classes_, got {told.shape}"
            )
        return told


def _known_classes(model: object, role: str) -> NDArray[np.int64]:
    """The classes in `model.classes_`, in its order.

    Raises:
        InvalidInput: The model is no fitted classifier, or its classes are not whole numbers from 0 on.
    """
    if not is_estimator(model):
        raise InvalidInput(f"{role} must be a scikit-learn classifier, got {type(model).__name__}")
    named = getattr(model, "classes_", None)
    if named is None:
        raise InvalidInput(f"{role} must be fitted, got {type(model).__name__} without classes_")
    several_outputs = isinstance(named, list) and any(np.ndim(output) for output in named)
    numbers = np.empty(0) if several_outputs else np.asarray(named)
    whole = numbers.ndim == 1 and len(numbers) > 0 and numbers.dtype.kind in "biuf"
    if not whole or bool((numbers < 0).any()) or bool((numbers != numbers.astype(np.int64)).any()):
        raise InvalidInput(
            f"{role}: classes_ must be whole numbers from 0 on, got {list(named)[:5]}: fit the classifier on 0, 1, 2, "
            "..."
        )
    return numbers.astype(np.int64)


def _logarithms(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of probabilities (q, classes), exact also if one class has a probability near 1.

    Many classifiers compute in float32, which rounds probabilities near 1 to 1. The sum of the other probabilities
    stays exact, so the logarithm is computed from this sum.
    """
    probabilities = probabilities.clip(0.0)  # Rounding may make them negative.
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
