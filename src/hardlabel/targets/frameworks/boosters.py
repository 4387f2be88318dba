"""Boosters of XGBoost and LightGBM in their native form, as objects with `predict`, `predict_proba` and `classes_`."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardlabel.checks import InvalidInput, shown
from hardlabel.targets.frameworks.base import (
    check_columns,
    comes_from,
    not_classifier,
    package,
    reason,
    softmax,
    two_columns,
)
from hardlabel.targets.frameworks.categories import as_trained, codes_without_categories

WAY_OUT = "train it with objective binary:logistic or multi:softprob"
LIGHTGBM_WAY_OUT = "train it with objective binary or multiclass"


class XGBoostRows:
    """A native booster of XGBoost for classes 0, 1, 2, ...

    Columns of a data frame get the categories of the training, where the booster was trained on categories. Where it
    was trained on codes, they hold the codes. See `as_trained`.

    Args:
        booster: Trained with objective binary:*, multi:softmax or multi:softprob.
        role: What errors call it.

    Raises:
        InvalidInput: It was trained for something else than one class for each row.
    """

    def __init__(self, booster: Any, *, role: str = "target") -> None:
        self._booster, self._role = booster, role
        learner = json.loads(booster.save_config())["learner"]
        self._objective = str(learner["objective"]["name"])
        classes = int(learner["learner_model_param"]["num_class"])
        targets = int(learner["learner_model_param"].get("num_target", 1))
        if targets > 1:
            raise not_classifier(role, f"an XGBoost model of {targets} outputs", "audit one model for each output")
        if not self._objective.startswith(("binary:", "multi:")):
            raise not_classifier(role, f"an XGBoost model with objective {self._objective}", WAY_OUT)
        self.classes_ = np.arange(max(2, classes))
        self.n_features_in_ = int(booster.num_features())
        self._rounds = _rounds(booster)
        if booster.feature_names:
            self.feature_names_in_ = np.array(booster.feature_names, dtype=object)
        if codes_without_categories(booster):
            self._codes = True  # Answers kept without it may be to other codes.

    def predict(self, rows: Any) -> NDArray[np.int64]:
        """Classes of rows, an array (q, columns) or a data frame; int64 (q,)."""
        if self._objective == "binary:hinge":
            return self._raw(rows, margin=False).reshape(-1).astype(np.int64)
        chances = self.predict_proba(rows)
        # As XGBoost's own classifier: class 1 above one half.
        labels = chances[:, 1] > 0.5 if len(self.classes_) == 2 else chances.argmax(1)
        return np.asarray(labels, dtype=np.int64)

    def predict_proba(self, rows: Any) -> NDArray[np.float64]:
        """Probabilities (q, classes)."""
        if self._objective == "binary:hinge":
            raise InvalidInput(f"{self._role} has no probabilities: objective binary:hinge gives labels only")
        if self._objective == "binary:logistic":
            return two_columns(self._raw(rows, margin=False).reshape(-1))
        if self._objective == "multi:softprob":
            return self._raw(rows, margin=False).astype(np.float64)
        margin = self._raw(rows, margin=True)
        if self._objective.startswith("multi:"):
            return softmax(margin)
        return softmax(np.stack([np.zeros(len(margin)), margin.reshape(-1)], 1))

    def _raw(self, rows: Any, *, margin: bool) -> NDArray[Any]:
        xgboost = package("xgboost", "boosters", self._role)
        names, kinds = self._booster.feature_names, self._booster.feature_types
        check_columns(rows, self.n_features_in_, names, self._role)
        if hasattr(rows, "columns"):
            if names is not None:
                rows = rows[list(names)]
            rows = as_trained(rows, self._booster, self._role)
            options: dict[str, Any] = {"feature_types": kinds} if hasattr(self, "_codes") else {}
        else:
            rows = np.asarray(rows).reshape(len(rows), -1)
            options = {"feature_names": names, "feature_types": kinds}
        try:
            matrix = xgboost.DMatrix(rows, enable_categorical=True, **options)
            answers = self._booster.predict(matrix, output_margin=margin, iteration_range=self._rounds)
        except (ValueError, TypeError, xgboost.core.XGBoostError) as error:
            raise InvalidInput(f"{self._role} cannot take these rows: {reason(error)}") from error
        return np.asarray(answers)


class LightGBMRows:
    """A native booster of LightGBM for classes 0, 1, 2, ...

    Columns of a data frame get the categories of the training. See `as_trained`.

    Args:
        booster: Trained with objective binary, multiclass or multiclassova.
        role: What errors call it.

    Raises:
        InvalidInput: It was trained for something else than one class for each row.
    """

    def __init__(self, booster: Any, *, role: str = "target") -> None:
        self._booster, self._role = booster, role
        model = booster.dump_model(num_iteration=1)
        objective = str(model.get("objective", "none"))
        if objective.partition(" ")[0] not in ("binary", "multiclass", "multiclassova"):
            raise not_classifier(role, f"a LightGBM model with objective {shown(objective)}", LIGHTGBM_WAY_OUT)
        self.classes_ = np.arange(max(2, int(model["num_class"])))
        self.n_features_in_ = int(booster.num_feature())
        names = list(booster.feature_name())
        if names != [f"Column_{place}" for place in range(len(names))]:  # So LightGBM calls columns without names.
            self.feature_names_in_ = np.array(names, dtype=object)

    def predict(self, rows: Any) -> NDArray[np.int64]:
        """Classes of rows, an array (q, columns) or a data frame; int64 (q,)."""
        return np.asarray(self.predict_proba(rows).argmax(1), dtype=np.int64)

    def predict_proba(self, rows: Any) -> NDArray[np.float64]:
        """Probabilities (q, classes)."""
        lightgbm = package("lightgbm", "boosters", self._role)
        names = getattr(self, "feature_names_in_", None)
        if hasattr(rows, "columns"):
            # LightGBM replaces white space in names.
            renamed = rows.set_axis(["_".join(str(name).split(" ")) for name in rows.columns], axis=1)
            check_columns(renamed, self.n_features_in_, None if names is None else list(names), self._role)
            rows = as_trained(renamed if names is None else renamed[list(names)], self._booster, self._role)
        else:
            check_columns(rows, self.n_features_in_, None, self._role)
            rows = np.asarray(rows).reshape(len(rows), -1)
        try:
            answers = np.asarray(self._booster.predict(rows))
        except (ValueError, TypeError, lightgbm.basic.LightGBMError) as error:
            raise InvalidInput(f"{self._role} cannot take these rows: {reason(error)}") from error
        return answers.astype(np.float64) if answers.ndim == 2 else two_columns(answers)


def is_booster(model: object) -> bool:
    """Whether this is a native booster of XGBoost or LightGBM."""
    return comes_from(model, "xgboost", "lightgbm") and any(kind.__name__ == "Booster" for kind in type(model).__mro__)


def plain_booster(model: Any, role: str) -> object:
    """The booster as an object with `predict`, `predict_proba` and `classes_`.

    Rows (q, columns) become labels (q,) and probabilities (q, classes).

    Raises:
        InvalidInput: It is no classifier.

    Example:
        >>> import numpy, xgboost
        >>> from hardlabel.targets.frameworks.boosters import plain_booster
        >>> rows, labels = numpy.array([[0.0], [0.1], [0.9], [1.0]]), [0, 0, 1, 1]
        >>> settings = {"objective": "binary:logistic", "min_child_weight": 0, "nthread": 1}
        >>> booster = xgboost.train(settings, xgboost.DMatrix(rows, labels), num_boost_round=2)
        >>> plain_booster(booster, "target").predict(rows)
        array([0, 0, 1, 1])
    """
    return XGBoostRows(model, role=role) if comes_from(model, "xgboost") else LightGBMRows(model, role=role)


def _rounds(booster: Any) -> tuple[int, int]:
    """The rounds that answer; (0, 0) for all. A file saved by XGBoost's own classifier stops at its best round."""
    attributes = booster.attributes()
    if "scikit_learn" in attributes and "best_iteration" in attributes:
        return 0, int(attributes["best_iteration"]) + 1
    return 0, 0
