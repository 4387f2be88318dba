"""Columns of categories as boosters need them: with the categories of their training, not those of the rows asked."""

import re
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from hardlabel.checks import InvalidInput, listed, shown
from hardlabel.targets.frameworks.base import OWN_CODE, comes_from

# The categories of each column of categories, by its place; None where the booster holds codes without categories.
Stored: TypeAlias = Mapping[int, Sequence[Any] | None]

MOST_STEPS = 10  # Estimators inside each other.
ENCODE = f"give numbers, or encode the rows in a function of your own, {OWN_CODE}"
_KNOWN: "WeakKeyDictionary[Any, Stored | None]" = WeakKeyDictionary()


def as_trained(rows: pd.DataFrame, booster: Any, role: str) -> pd.DataFrame:
    """The rows as a booster was trained on them.

    - A column of categories gets the categories of the training.
    - A column of codes whose categories are not stored holds the codes as numbers.
    - Any other column holds numbers, also where the table has them as categories.

    Args:
        rows: A data frame (q, columns) with the columns in the booster's order. It is not changed.
        booster: A native booster of XGBoost or LightGBM.
        role: What errors call it.

    Raises:
        InvalidInput: A column holds what the booster was not trained on: text for numbers, numbers for text, a category
            that XGBoost does not know, or a code that is no whole number from 0 on.

    Example:
        >>> import lightgbm
        >>> import pandas as pd
        >>> from hardlabel.targets.frameworks.categories import as_trained
        >>> rows = pd.DataFrame({"town": ["Rome", "Oslo"] * 20, "age": range(40)})
        >>> data = lightgbm.Dataset(rows.astype({"town": "category"}), [0, 1] * 20)
        >>> booster = lightgbm.train({"objective": "binary", "verbose": -1}, data, 1)
        >>> as_trained(rows[:1], booster, "target")["town"].cat.categories.tolist()
        ['Oslo', 'Rome']
    """
    stored = _stored(booster)
    if stored is None:
        stored = _placed(rows, booster.pandas_categorical, role)
    refuse_unknown = comes_from(booster, "xgboost")
    changed = rows.copy(deep=False)
    for place, name in enumerate(rows.columns):
        cells, where = rows[name], f"in the column {str(name)!r}"
        categories = stored.get(place)
        if categories is not None:
            changed[name] = _matched(cells, categories, where, role, refuse_unknown=refuse_unknown)
        elif place in stored:
            changed[name] = _codes(cells, where, role)
        elif not pd.api.types.is_numeric_dtype(cells):
            changed[name] = _numbers(cells, f"{role} was trained on numbers {where}")
    return changed


def codes_without_categories(booster: Any) -> bool:
    """Whether a booster was trained on codes of categories and does not store what they stand for."""
    return any(categories is None for categories in (_stored(booster) or {}).values())


def boosters_inside(model: Any) -> Iterator[Any]:
    """The estimators of XGBoost and LightGBM that get the rows of a classifier as they are, fitted or not.

    They are the classifier itself, or stand in a search, a vote, a calibration or a pipeline that changes nothing.

    Example:
        >>> from sklearn.pipeline import make_pipeline
        >>> from xgboost import XGBClassifier
        >>> from hardlabel.targets.frameworks.categories import boosters_inside
        >>> [type(part).__name__ for part in boosters_inside(make_pipeline("passthrough", XGBClassifier()))]
        ['XGBClassifier']
    """
    yield from _inside(model, MOST_STEPS)


def native(estimator: Any) -> Any:
    """The booster of an estimator of XGBoost or LightGBM; None before it is fitted."""
    try:
        return estimator.get_booster() if comes_from(estimator, "xgboost") else estimator.booster_
    except Exception:  # Each library refuses in its own way before it is fitted.
        return None


def is_text(cells: "pd.Series[Any]") -> bool:
    """Whether a column of a frame holds text, also with missing values."""
    if isinstance(cells.dtype, pd.CategoricalDtype) or pd.api.types.is_numeric_dtype(cells):
        return False
    values = cells[cells.notna()]
    return len(values) > 0 and all(isinstance(value, str) for value in values)


def _inside(model: Any, steps: int) -> Iterator[Any]:
    if not steps or isinstance(model, str | type):
        return
    if comes_from(model, "xgboost", "lightgbm"):
        yield model
        return
    pipeline = getattr(model, "steps", None)
    if isinstance(pipeline, list) and pipeline:
        if all(step is None or (isinstance(step, str) and step == "passthrough") for _, step in pipeline[:-1]):
            yield from _inside(pipeline[-1][1], steps - 1)
        return
    # As scikit-learn names what stands inside: of a fitted estimator first.
    for name in ("best_estimator_", "estimator_", "calibrated_classifiers_", "estimators_", "estimator", "estimators"):
        parts = getattr(model, name, None)
        if parts is None:
            continue
        parts = parts if isinstance(parts, list) else [parts]
        boosters = [b for part in parts for b in _inside(part[1] if isinstance(part, tuple) else part, steps - 1)]
        if boosters:
            yield from boosters
            return


def _stored(booster: Any) -> Stored | None:
    """The categories that a booster stores; None if it stores some and does not tell of which columns."""
    if booster not in _KNOWN:
        _KNOWN[booster] = _of_xgboost(booster) if comes_from(booster, "xgboost") else _of_lightgbm(booster)
    return _KNOWN[booster]


def _of_xgboost(booster: Any) -> Stored:
    kinds = booster.feature_types or []
    places = [place for place, kind in enumerate(kinds) if kind == "c"]
    if not places:
        return {}
    kept: list[Any] = []
    if hasattr(booster, "get_categories"):  # From version 3.1 on.
        categories = booster.get_categories(export_to_arrow=True)
        kept = [] if categories.empty() else [cells for _, cells in categories.to_arrow()]
    found: dict[int, Sequence[Any] | None] = dict.fromkeys(places)
    for place in places:
        if place < len(kept) and kept[place] is not None:
            found[place] = kept[place].to_numpy(zero_copy_only=False)
    return found


def _of_lightgbm(booster: Any) -> Stored | None:
    """LightGBM stores the categories in the order of the columns, without the columns."""
    kept = booster.pandas_categorical or []
    if not kept:
        return {}
    text = booster.model_to_string(num_iteration=1)
    declared = re.search(r"^\[categorical_feature: ([0-9,]+)\]$", text, re.MULTILINE)
    infos = re.search(r"^feature_infos=(.*)$", text, re.MULTILINE)
    ranges = infos[1].split(" ") if infos else []
    # "[0:3]" of numbers, "0:2:1" of categories, "none" of a column with one value.
    codes = {place: info for place, info in enumerate(ranges) if info[:1] not in ("[", "n")}
    places = sorted(set(codes) | set(map(int, declared[1].split(",") if declared else [])))
    if len(places) != len(kept):
        return None
    stored = dict(zip(places, kept, strict=True))
    if any(max(map(int, info.split(":"))) >= len(stored[place]) for place, info in codes.items()):
        return None
    return stored


def _placed(rows: pd.DataFrame, kept: Sequence[Sequence[Any]], role: str) -> Stored:
    """Of which columns the categories are: as LightGBM, of those that hold categories or text, in their order."""
    places = [
        place
        for place, name in enumerate(rows.columns)
        if isinstance(rows[name].dtype, pd.CategoricalDtype) or is_text(rows[name])
    ]
    if len(places) != len(kept):
        raise InvalidInput(
            f"{role} was trained on {len(kept)} columns of categories and does not store which, the table has "
            f"{len(places)}: give these columns as text, or encode the rows in a function of your own, {OWN_CODE}"
        )
    return dict(zip(places, kept, strict=True))


def _matched(
    cells: "pd.Series[Any]", categories: Sequence[Any], where: str, role: str, *, refuse_unknown: bool
) -> "pd.Categorical[Any]":
    """The cells (q,) among the categories; missing where they are none of them."""
    place = {value: number for number, value in enumerate(categories)}
    codes, values = pd.factorize(cells)
    places = np.full(len(values) + 1, -1)  # The last is for missing cells, whose code is -1.
    for number, value in enumerate(values):
        key = next((key for key in _readings(value) if key in place), None)
        if key is not None:
            places[number] = place[key]
        elif not any(isinstance(category, str) == isinstance(value, str) for category in categories):
            raise InvalidInput(
                f"{role} was trained on the categories {listed([*map(_plain, categories)])} {where}, got "
                f"{_plain(value)!r}: give the column the type that it had in training, as a Parquet file keeps it"
            )
        elif refuse_unknown:
            raise InvalidInput(
                f"{role} knows no category {_plain(value)!r} {where}, and XGBoost answers for known ones only: leave "
                "out the rows that hold it"
            )
    return pd.Categorical.from_codes(places[codes], dtype=pd.CategoricalDtype(pd.Index(categories)))


def _readings(value: Any) -> Iterator[Any]:
    """A value, and the texts that a table may have read it from: 7 from "7", also where it became 7.0."""
    yield value
    if not isinstance(value, str):
        yield str(value)
        if isinstance(value, Real) and float(value).is_integer():
            yield f"{float(value):.0f}"


def _codes(cells: "pd.Series[Any]", where: str, role: str) -> "pd.Series[Any]":
    """Codes (q,) of categories, as numbers."""
    rule = f"{role} was trained on codes of categories {where} and stores no categories"
    if isinstance(cells.dtype, pd.CategoricalDtype):
        values = cells.cat.categories
        # Otherwise nobody can tell whether the values were the codes, or their places.
        if list(values) != [*range(len(values))]:
            raise InvalidInput(f"{rule}, got the categories {listed(map(_plain, values))}: {ENCODE}")
    codes = cells if pd.api.types.is_numeric_dtype(cells) else _numbers(cells, rule)
    numbers = codes.to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = (numbers < 0) | (numbers != np.round(numbers)) & ~np.isnan(numbers)
    if wrong.any():
        raise InvalidInput(f"{rule}, got {_plain(cells[wrong].iloc[0])}: codes are whole numbers from 0 on")
    return codes


def _numbers(cells: "pd.Series[Any]", rule: str) -> "pd.Series[Any]":
    """The numbers (q,) in a column of categories or objects; NaN where they are missing."""
    values = cells.astype(object)
    absent = values.isna()
    other = next((value for value in values[~absent] if not isinstance(value, Real | np.bool_)), None)
    if other is not None:
        raise InvalidInput(f"{rule}, got {shown(other)}: {ENCODE}")
    return values.where(~absent, np.nan).astype(np.float64)


def _plain(value: Any) -> Any:
    """A value of NumPy's as Python's, which is shown without its type."""
    return value.item() if isinstance(value, np.generic) else value
