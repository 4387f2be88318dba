"""Models in the caller's own terms: they get what the caller gave, and answer with its labels.

Everything else in an audit sees points of a domain and classes from 0 on. Only here are they turned into each other.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.metaestimators import available_if
from torch import Tensor, nn

from hardlabel.checks import InvalidInput
from hardlabel.data.codecs.base import Codec
from hardlabel.data.codecs.frames import FrameCodec
from hardlabel.data.codecs.labels import ClassNames
from hardlabel.oracles.base import LabelOracle, ScoreOracle
from hardlabel.targets.estimators import is_estimator
from hardlabel.targets.frameworks.base import check_columns, comes_from
from hardlabel.targets.frameworks.categories import as_trained, boosters_inside, is_text, native
from hardlabel.targets.frameworks.table import plain
from hardlabel.targets.padded import width


@dataclass(frozen=True, kw_only=True)
class Coding:
    """The terms in which the caller gives samples and labels.

    Attributes:
        inputs: Between samples as given and points; None where points are given.
        labels: Between labels as given and classes; None where classes are given.
    """

    inputs: Codec | None = None
    labels: ClassNames | None = None

    def decode(self, points: Tensor) -> Any:
        """What points (n, *shape) stand for; a copy of the points, on the CPU, where points are given."""
        return points.detach().cpu().clone() if self.inputs is None else self.inputs.decode(points)

    def decode_labels(self, classes: Tensor) -> Any:
        """The labels of classes (n,) as an array; the classes where these are given."""
        return classes.cpu().numpy().copy() if self.labels is None else self.labels.decode(classes)

    def classes(self, answers: object, *, role: str) -> Any:
        """The classes (n,) that answers stand for. Where classes are given, the answers as they are."""
        return answers if self.labels is None else self.labels.encode(answers, f"answers of {role}")


class CodedEstimator(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A scikit-learn classifier in the caller's own terms, as a classifier of points.

    Args:
        inside: The classifier. It is cloned before it is fitted.
        coding: The terms.
        role: What errors call the classifier.
        random_state: Given to every part of the classifier that has one; None leaves them as they are.
    """

    def __init__(self, inside: Any, coding: Coding, *, role: str = "model", random_state: int | None = None) -> None:
        self.inside, self.coding, self.role, self.random_state = inside, coding, role, random_state

    @classmethod
    def of(cls, fitted: Any, coding: Coding, *, role: str) -> "CodedEstimator":
        """A classifier that is fitted already."""
        made = cls(fitted, coding, role=role)
        made.fitted_ = fitted
        if made._turned():
            made.turned_ = True  # Answers kept without it may be to other columns.
        return made

    def fit(self, points: NDArray[np.float32], classes: NDArray[np.int64]) -> "CodedEstimator":
        """Fits a clone on what points (n, features) stand for and on the labels of their classes (n,)."""
        fresh = clone(self.inside)
        if self.random_state is not None:
            names = [name for name in fresh.get_params() if name.rpartition("__")[2] == "random_state"]
            fresh.set_params(**dict.fromkeys(names, self.random_state))
        rows = self._rows(points)
        if isinstance(rows, pd.DataFrame) and any(boosters_inside(fresh)):
            rows = self._with_categories(rows)
        self.fitted_ = fresh.fit(rows, self.coding.decode_labels(torch.from_numpy(classes)))
        return self

    @property
    def classes_(self) -> Any:
        """The classes of the labels that the classifier knows, in its own order."""
        known = getattr(self.fitted_, "classes_", None)
        if known is None:
            raise AttributeError("classes_")
        return np.asarray(self.coding.classes(known, role=self.role))

    def predict(self, points: NDArray[np.float32]) -> Any:
        """Classes (n,) of points (n, features)."""
        return np.asarray(self.coding.classes(self.fitted_.predict(self._asked(points)), role=self.role))

    @available_if(lambda self: hasattr(getattr(self, "fitted_", self.inside), "predict_proba"))  # type: ignore[untyped-decorator]
    def predict_proba(self, points: NDArray[np.float32]) -> Any:
        """Probabilities (n, known) of points (n, features), in the order of `classes_`."""
        return self.fitted_.predict_proba(self._asked(points))

    @available_if(lambda self: hasattr(self.fitted_, "predict_log_proba"))  # type: ignore[untyped-decorator]
    def predict_log_proba(self, points: NDArray[np.float32]) -> Any:
        """Log probabilities (n, known) of points (n, features), in the order of `classes_`."""
        return self.fitted_.predict_log_proba(self._asked(points))

    def _asked(self, points: NDArray[np.float32]) -> Any:
        """What points stand for, as the classifier was fitted on it: its columns in its order, with its categories."""
        rows = self._rows(points)
        return self._as_fitted(rows) if isinstance(rows, pd.DataFrame) else rows

    def _as_fitted(self, rows: pd.DataFrame) -> pd.DataFrame:
        booster = next((found for found in map(native, boosters_inside(self.fitted_)) if found is not None), None)
        names = _names(self.fitted_)
        if names is not None:
            order = _order(rows, names)
            if order is not None:
                # LightGBM goes by the place of a column, and scikit-learn refuses another order.
                rows = rows if order == list(rows.columns) else rows[order]
            elif isinstance(self.fitted_, BaseEstimator):
                check_columns(rows, len(names), [str(name) for name in names], self.role)
        return rows if booster is None else as_trained(rows, booster, self.role)

    def _turned(self) -> bool:
        """Whether the classifier is asked about columns in another order, or of other types, than the table has."""
        inputs = self.coding.inputs
        if not isinstance(inputs, FrameCodec):
            return False
        rows = inputs.decode(torch.zeros(0, *inputs.domain.shape))
        try:
            asked = self._as_fitted(rows)
        except InvalidInput:  # It is raised when the classifier is asked.
            return False
        return list(asked.columns) != list(rows.columns) or [*map(_sort, asked.dtypes)] != [*map(_sort, rows.dtypes)]

    def _with_categories(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows with columns of text as categories, of which boosters are fitted; all of the table's categories."""
        changed = rows.copy(deep=False)
        for form in getattr(self.coding.inputs, "forms", ()):
            cells = getattr(form, "cells", ())
            if is_text(rows[form.name]):
                texts = sorted(cell for cell in cells if isinstance(cell, str))
                changed[form.name] = pd.Categorical(rows[form.name], categories=texts or None)
        return changed

    def _rows(self, points: NDArray[np.float32]) -> Any:
        inputs = self.coding.inputs
        if inputs is None:
            return points
        rows = inputs.decode(torch.from_numpy(points).reshape(-1, *inputs.domain.shape))
        if isinstance(rows, Tensor):
            rows = rows.numpy()
        # Classifiers of pixels and series take flat rows.
        return rows.reshape(len(rows), -1) if isinstance(rows, np.ndarray) and rows.ndim > 2 else rows


def _names(fitted: Any) -> Any:
    """The columns that a classifier was fitted on, in its order; None if it knows none."""
    for part in (fitted, *boosters_inside(fitted)):
        names = getattr(part, "feature_names_in_", None)
        if names is None and comes_from(part, "catboost"):
            names = getattr(part, "feature_names_", None)
        if names is not None:
            return names
    return None


def _order(rows: pd.DataFrame, names: Iterable[object]) -> list[Any] | None:
    """The columns of the rows in the order of the names; None where others are named."""
    for called in (str, _underlined):
        place = {called(column): column for column in rows.columns}
        wanted = list(map(called, names))
        if len(place) == len(rows.columns) and set(place) == set(wanted):
            return [place[name] for name in wanted]
    return None


def _sort(dtype: Any) -> tuple[object, bool]:
    """The type of a column's values, and whether they are categories."""
    category = isinstance(dtype, pd.CategoricalDtype)
    return (dtype.categories.dtype if category else dtype), category


def _underlined(name: object) -> str:
    return str(name).replace(" ", "_")  # So LightGBM names its columns.


class CodedModule(nn.Module):
    """A torch module in the caller's own terms, as a module of points.

    Pixels and series reach the module as floats, since a network computes with floats; ids of tokens as int64. Of a
    table whose columns are all numbers or booleans it gets floats (q, columns), in the table's order.
    """

    own_types = True  # The module casts its inputs itself: an id would not survive float16.

    def __init__(self, network: nn.Module, inputs: Codec) -> None:
        super().__init__()
        self.network, self.inputs = network, inputs

    def extra_repr(self) -> str:
        # Part of the key of kept answers: another codec asks other questions.
        return f"{type(self.inputs).__name__} {joblib.hash(self.inputs)}"

    def forward(self, points: Tensor) -> Any:
        floats = (weight.dtype for weight in self.network.parameters() if weight.is_floating_point())
        tensor = getattr(self.inputs, "tensor", None)
        if tensor is not None:
            # With gradients: attacks craft questions on such modules.
            return self.network(tensor(points).to(next(floats, torch.float32)))
        given = self.inputs.decode(points)
        if isinstance(given, pd.DataFrame) and all(map(pd.api.types.is_numeric_dtype, given.dtypes)):
            given = given.to_numpy(dtype=np.float32, na_value=np.nan)
        if not isinstance(given, np.ndarray | Tensor):
            raise InvalidInput(
                f"a torch module must take tensors, got {self.inputs.summary}: give an object with ask(inputs, ids) "
                "that makes tensors of them, or numbers for all columns"
            )
        batch = torch.as_tensor(given).to(points.device)
        return self.network(batch.long() if not batch.is_floating_point() else batch.to(next(floats, batch.dtype)))


class CodedLabels:
    """A `LabelOracle` in the caller's own terms, as an oracle of points."""

    def __init__(self, inner: Any, coding: Coding, *, role: str) -> None:
        self._inner, self._coding, self._role = inner, coding, role

    @property
    def fingerprint(self) -> Any:
        """What the oracle tells itself apart by, or None."""
        return getattr(self._inner, "fingerprint", None)

    def ask(self, inputs: Tensor, ids: Tensor) -> Any:
        """Classes (q,) of points (q, *shape)."""
        return self._coding.classes(self._inner.ask(self._coding.decode(inputs), ids), role=self._role)


class CodedScores:
    """A `ScoreOracle` in the caller's own terms; log probabilities stand in the order of the classes."""

    def __init__(self, inner: Any, coding: Coding) -> None:
        self._inner, self._coding = inner, coding

    def ask_scores(self, inputs: Tensor, ids: Tensor) -> Any:
        """Log probabilities (q, classes) of points (q, *shape)."""
        return self._inner.ask_scores(self._coding.decode(inputs), ids)


class _CodedBoth(CodedLabels, CodedScores):
    """An oracle with both."""


def coded(model: object, coding: Coding, *, role: str) -> object:
    """The model, in the caller's own terms, as a model of points and classes.

    Args:
        model: A torch module, a fitted classifier or an oracle; see `plain`.
        coding: The terms.
        role: What errors call the model.

    Raises:
        InvalidInput: The model is of another sort, and gets anything else than points and classes.

    Example:
        >>> from sklearn.dummy import DummyClassifier
        >>> from hardlabel.data.codecs.labels import ClassNames
        >>> from hardlabel.targets.coded import Coding, coded
        >>> always_yes = DummyClassifier().fit([[0.0], [1.0]], ["yes", "yes"])
        >>> model = coded(always_yes, Coding(labels=ClassNames(("no", "yes"))), role="target")
        >>> model.predict([[0.5]])
        array([1])
    """
    if coding == Coding():
        return model
    if isinstance(model, nn.Module):
        return model if coding.inputs is None else CodedModule(model, coding.inputs)
    if is_estimator(model):
        return CodedEstimator.of(model, coding, role=role)
    if isinstance(model, LabelOracle) and isinstance(model, ScoreOracle):
        return _CodedBoth(model, coding, role=role)
    if isinstance(model, LabelOracle):
        return CodedLabels(model, coding, role=role)
    if isinstance(model, ScoreOracle):
        return CodedScores(model, coding)
    raise InvalidInput(f"{role} of type {type(model).__name__} must be given arrays and classes from 0 on")


@dataclass(frozen=True, eq=False)
class CodedFunction:
    """A function that trains a model in the caller's own terms, as one of points and classes.

    Attributes:
        function: `function(inputs, labels, *, seed) -> model`.
        coding: The terms.
    """

    function: Callable[..., object]
    coding: Coding

    def __post_init__(self) -> None:
        # `inspect` finds the signature and the text of the caller's function.
        object.__setattr__(self, "__wrapped__", self.function)
        object.__setattr__(self, "__name__", getattr(self.function, "__name__", type(self.function).__name__))

    def __call__(self, points: Tensor, classes: Tensor, *, seed: int) -> object:
        model = self.function(self.coding.decode(points), self.coding.decode_labels(classes), seed=seed)
        role = "a model of the trainer's"
        return coded(plain(model, role=role), self.coding, role=role)


def outputs_of(model: object, device: torch.device) -> Callable[[Tensor, Coding], int] | None:
    """What tells the number of outputs of a torch module; None for other models.

    The function asks the module about one point (1, *shape).
    """
    if not isinstance(model, nn.Module):
        return None

    def outputs(point: Tensor, coding: Coding) -> int:
        module = coded(model, coding, role="target")
        assert isinstance(module, nn.Module), "a module stays one"
        return width(module, point, device=device, role="target")

    return outputs
