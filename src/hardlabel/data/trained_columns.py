"""Columns whose values are of another sort than those on which a fitted encoder of scikit-learn was trained."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hardlabel.checks import InvalidInput, cut, listed, shown
from hardlabel.data.csv_missing import KEEP, READ_AS_MISSING

MOST_STEPS = 10  # Estimators inside each other.


def check_trained_columns(model: object, groups: Mapping[str, object]) -> None:
    """Refuses frames with numbers where the model's encoders were trained on text, or the other way round.

    Such an encoder may take every value for unknown without a word. It looks into pipelines, transformers of columns,
    searches, votes and calibrations. Other models and inputs are passed.

    Args:
        model: The model, of any sort.
        groups: Inputs by group; "members" are rows on which the model was trained.

    Raises:
        InvalidInput: A column has another type than in training; or members lack values where the model was trained on
            a text such as "NA", which pandas reads as missing.

    Example:
        >>> import pandas as pd
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import OneHotEncoder
        >>> from hardlabel.data.trained_columns import check_trained_columns
        >>> model = make_pipeline(OneHotEncoder()).fit(pd.DataFrame({"zip": ["00501", "94105"]}))
        >>> check_trained_columns(model, {"members": pd.DataFrame({"zip": [501, 94105]})})
        Traceback (most recent call last):
        hardlabel.checks.InvalidInput: target was trained on text in the column 'zip', such as '00501', and members ...
    """
    frames = {group: inputs for group, inputs in groups.items() if isinstance(inputs, pd.DataFrame)}
    if not frames:
        return
    trained = [(name, values, exact) for name, values, exact in _categories(model, None, imputed=False)]
    for group, frame in frames.items():
        of_text = [(name, values) for name, values, _ in trained if name in frame and _sort(values) == "text"]
        of_numbers = [(name, values) for name, values, _ in trained if name in frame and _sort(values) == "numbers"]
        _refuse([(n, v) for n, v in of_text if _holds(frame[n]) == "numbers"], "text", group, "numbers")
        _refuse([(n, v) for n, v in of_numbers if _holds(frame[n]) == "text"], "numbers", group, "text")
    members = frames.get("members")
    for name, values, exact in trained:
        if members is None or name not in members or not exact or pd.isna(values).any():
            continue
        texts = [value for value in values if isinstance(value, str) and value in READ_AS_MISSING]
        if texts and members[name].isna().any():
            raise InvalidInput(
                f"target was trained on the text {listed(map(repr, texts))} in the column {shown(name)}, where "
                f"{int(members[name].isna().sum()):,} members have no value: if a .csv file was read, {KEEP}"
            )


def _refuse(columns: list[tuple[str, Sequence[Any]]], trained: str, group: str, got: str) -> None:
    if columns:
        names = ", ".join(f"{shown(name)}, such as {shown(_first(values))}" for name, values in columns[:3])
        more = f" and {len(columns) - 3} more" if len(columns) > 3 else ""
        raise InvalidInput(
            f"target was trained on {trained} in the column{'s' if len(columns) > 1 else ''} {cut(names, 200)}{more}, "
            f"and {group} hold {got} there: save the table with {trained} there as .parquet, which keeps types"
        )


def _categories(model: Any, names: Sequence[str] | None, *, imputed: bool, depth: int = 0) -> Iterator[Any]:
    """Of each column of a fitted encoder: its name, its categories, and whether these are all values of the training.

    Args:
        model: The model, or a part of it.
        names: The columns that the part gets, if they are known from the part before.
        imputed: Whether missing values were filled in before.
        depth: How many estimators it stands in.
    """
    if depth > MOST_STEPS or model is None or isinstance(model, str):
        return
    own = getattr(model, "feature_names_in_", names)
    categories = getattr(model, "categories_", None)
    if isinstance(categories, list) and own is not None and len(categories) == len(own):
        exact = not imputed and isinstance(getattr(model, "categories", "auto"), str)
        yield from ((str(name), _python(values), exact) for name, values in zip(own, categories, strict=True))
        return
    if isinstance(steps := getattr(model, "steps", None), list):
        for _, step in steps:
            yield from _categories(step, own, imputed=imputed, depth=depth + 1)
            # Imputers keep the columns unless they add some; of other steps it is not known what they return.
            fills = type(step).__name__.endswith("Imputer") and not getattr(step, "add_indicator", False)
            imputed |= fills
            own = own if fills or step is None or isinstance(step, str) else None
        return
    inside = [part[1] for part in _listed(model, "transformers_") if isinstance(part, tuple)]
    inside += [part for part in _listed(model, "estimators_") if hasattr(part, "predict")]
    inside += [getattr(part, "estimator", None) for part in _listed(model, "calibrated_classifiers_")]
    inside += [getattr(model, name, None) for name in ("best_estimator_", "estimator_")]
    for part in inside:
        yield from _categories(part, None, imputed=imputed, depth=depth + 1)


def _listed(model: Any, name: str) -> list[Any]:
    parts = getattr(model, name, None)
    return (
        parts[:1]
        if name == "calibrated_classifiers_" and isinstance(parts, list)
        else (parts if isinstance(parts, list) else [])
    )


def _python(values: Any) -> list[Any]:
    return list(np.asarray(values).tolist())


def _first(values: Sequence[Any]) -> Any:
    return next(value for value in values if not pd.isna(value))


def _sort(values: Sequence[Any]) -> str | None:
    """What categories are, apart from missing ones: "text", "numbers" or anything else."""
    kinds = {type(value) for value in values if not pd.isna(value)}
    return "text" if kinds == {str} else "numbers" if kinds and kinds <= {int, float} else None


def _holds(cells: "pd.Series[Any]") -> str | None:
    """What a column holds, apart from missing cells: "text", "numbers" or anything else."""
    values = cells.cat.categories.to_series() if isinstance(cells.dtype, pd.CategoricalDtype) else cells
    if pd.api.types.is_bool_dtype(values):
        return None
    if pd.api.types.is_numeric_dtype(values):
        return "numbers" if values.notna().any() else None
    return _sort(values.dropna().unique().tolist())
