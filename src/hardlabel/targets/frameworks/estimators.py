"""Objects with `predict`: which of them are classifiers with one label for each row, and what the others are."""

from typing import Any

import numpy as np

from hardlabel.checks import InvalidInput
from hardlabel.targets.frameworks.base import OWN_CODE, comes_from, not_classifier

BOOSTERS = ("xgboost", "lightgbm", "catboost")


def is_predictor(model: object) -> bool:
    """Whether this is an object with `predict`, or of scikit-learn; no class."""
    return not isinstance(model, type) and (
        callable(getattr(model, "predict", None)) or comes_from(model, "sklearn", *BOOSTERS)
    )


def plain_predictor(model: Any, role: str) -> object:
    """The object itself, if it is a classifier with one label for each row: rows (q, columns) become labels (q,).

    Raises:
        InvalidInput: It is a regressor, has several outputs or labels for each row, does not predict, or is not fitted.

    Example:
        >>> from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
        >>> from hardlabel.targets.frameworks.estimators import plain_predictor
        >>> tree = DecisionTreeClassifier().fit([[0.0], [1.0]], ["no", "yes"])
        >>> plain_predictor(tree, "target").predict([[1.0]]).tolist()
        ['yes']
        >>> plain_predictor(DecisionTreeRegressor().fit([[0.0], [1.0]], [0.5, 0.7]), "target")
        Traceback (most recent call last):
        hardlabel.checks.InvalidInput: target must be a classifier that answers each row with one class, ...
    """
    name = type(model).__name__
    last = _last(model)
    kind = _kind(model)
    if kind == "regressor":
        raise not_classifier(role, f"the regressor {name}")
    try:
        classes = model.classes_
    except Exception as error:  # Each class refuses in its own way before it is fitted.
        if kind == "classifier":
            raise InvalidInput(f"{role} must be fitted, got {name} without classes_: call fit(...) first") from error
        raise not_classifier(
            role, f"{name} without classes_", f"give a classifier, or a function of your own, {OWN_CODE}"
        ) from error
    if _labels(last, classes) > 1:
        raise not_classifier(role, f"{name} with several labels for each row", "audit one classifier for each label")
    if not callable(getattr(model, "predict", None)):
        raise InvalidInput(f"{role} must have predict(rows), got {name} without it")
    return model


def _last(model: Any) -> Any:
    """The estimator that predicts, inside pipelines and searches."""
    for _ in range(10):
        steps, best = getattr(model, "steps", None), getattr(model, "best_estimator_", None)
        if isinstance(steps, list) and steps:
            model = steps[-1][1]
        elif best is not None:
            model = best
        else:
            break
    return model


def _kind(model: object) -> str | None:
    """ "classifier", "regressor", another kind of scikit-learn's, or None."""
    try:
        tags = model.__sklearn_tags__()  # type: ignore[attr-defined]
    except Exception:  # Models of other packages have none, or lack what scikit-learn's ask for.
        return getattr(model, "_estimator_type", None)
    kind = getattr(tags, "estimator_type", None)
    return None if kind is None else str(kind)


def _labels(last: Any, classes: Any) -> int:
    """Number of labels for each row; 2 for several."""
    if isinstance(classes, list) and any(np.ndim(output) for output in classes):
        return 2
    binarizer = getattr(last, "_label_binarizer", None)
    several = (
        str(getattr(binarizer, "y_type_", "")).startswith("multilabel")
        or getattr(last, "multilabel_", False) is True
        # With a binarizer, a perceptron's, these are its output units: one for each class.
        or (binarizer is None and int(getattr(last, "n_outputs_", 1) or 1) > 1)
        or getattr(last, "outputs_2d_", False) is True
        or _outputs(last) > 1
    )
    return 2 if several else 1


def _outputs(last: Any) -> int:
    """Number of outputs of XGBoost's classifier, which keeps it in its settings only."""
    if not comes_from(last, "xgboost"):
        return 1
    import json

    learner = json.loads(last.get_booster().save_config())["learner"]
    return int(learner["learner_model_param"].get("num_target", 1))
