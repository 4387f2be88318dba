"""The evaluator that MLflow finds: `mlflow.models.evaluate(..., evaluators="hardlabel", evaluator_config={...})`.

MLflow loads this file whenever it is imported, so it imports nothing large.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from hardlabel.records.base import Record


class Evaluator:
    """Audits a classifier as a part of MLflow's evaluation, and writes the record to the run.

    The data that MLflow evaluates on are the non-members: samples that the model was not trained on. The configuration
    has `members`, a pair (features, labels) of samples that the model was trained on, and any keyword arguments of
    `hardlabel.audit`, such as `population`, `trainer` or `budget`. With `record`, a record or a run folder, that record
    is written and nothing is audited. Without either, the evaluator takes no part, also where MLflow runs all
    evaluators.

    Example:
        >>> import mlflow  # doctest: +SKIP
        >>> mlflow.models.evaluate(  # doctest: +SKIP
        ...     model_uri, test, targets="income", model_type="classifier", evaluators="hardlabel",
        ...     evaluator_config={"members": (x_train, y_train)},
        ... ).metrics["hardlabel/gap/auc"]
        0.61
    """

    @classmethod
    def can_evaluate(cls, *, model_type: str | None, evaluator_config: dict[str, Any] | None, **_: Any) -> bool:
        """Whether the model is a classifier, and the configuration says whose membership is audited."""
        given = evaluator_config or {}
        return model_type in (None, "classifier") and ("members" in given or "record" in given)

    def evaluate(
        self,
        *,
        dataset: Any,
        run_id: str,
        evaluator_config: dict[str, Any] | None,
        model: Any = None,
        predictions: str | None = None,
        **_: Any,
    ) -> Any:
        """Audits the model, or takes the record given, and writes it to the run.

        Args:
            dataset: MLflow's data: features, and labels that are the true classes.
            run_id: The MLflow run.
            evaluator_config: See the class.
            model: MLflow's model, with `predict`.
            predictions: The column of the model's output that holds the class.

        Raises:
            InvalidInput: The configuration is not enough for an audit, or see `hardlabel.audit`.
        """
        from mlflow.models import EvaluationResult

        from hardlabel.handover.tracking import metrics, to_mlflow
        from hardlabel.kinds import load

        settings = dict(evaluator_config or {})
        handed_over = {name: settings.pop(name) for name in ("scores", "show_records") if name in settings}
        record = settings.pop("record", None)
        if record is None:
            record = _audited(dataset, model, predictions, settings)
        elif isinstance(record, str | Path):
            record = load(record)
        to_mlflow(record, run_id=run_id, **handed_over)
        return EvaluationResult(metrics=metrics(record), artifacts={})


def _audited(dataset: Any, model: Any, predictions: str | None, settings: dict[str, Any]) -> "Record[Any]":
    from hardlabel.audits.target import audit
    from hardlabel.checks import InvalidInput

    if "members" not in settings:
        raise InvalidInput("evaluator_config must have members, a pair (features, labels) the model was trained on")
    if model is None:
        raise InvalidInput("model must be given: an audit asks it about inputs of its own")
    if not dataset.has_targets:
        raise InvalidInput("targets must name the true classes of the data")
    members = settings.pop("members")
    nonmembers = dataset.features_data, dataset.labels_data
    if not (isinstance(members, list | tuple) and len(members) == 2):
        raise InvalidInput(f"members must be a pair (features, labels), got {type(members).__name__}")
    target = _Answers(model, predictions, [members, nonmembers])
    return audit(target, tuple(members), nonmembers, **settings)


class _Answers:
    """MLflow's model as a classifier that answers with classes."""

    def __init__(self, model: Any, column: str | None, pairs: list[Any]) -> None:
        import numpy as np

        self._model, self._column = model, column
        self.classes_ = np.unique(np.concatenate([np.asarray(labels) for _, labels in pairs]))
        names = getattr(pairs[0][0], "columns", None)
        if names is not None:
            self.feature_names_in_ = np.asarray(names, dtype=object)

    def predict(self, rows: "pd.DataFrame | NDArray[Any]") -> "NDArray[np.generic]":
        """The class of each row, (n,).

        Raises:
            InvalidInput: The model answers with more than one column, and none is named.
        """
        import numpy as np

        from hardlabel.checks import InvalidInput

        answers = self._model.predict(rows)
        if self._column is not None:
            answers = answers[self._column]
        found = np.asarray(answers)
        if found.ndim == 2 and found.shape[1] == 1:
            found = found[:, 0]
        if found.ndim != 1:
            raise InvalidInput(
                f"model must answer with one class for each row, got shape {found.shape}: name the column"
            )
        return found
