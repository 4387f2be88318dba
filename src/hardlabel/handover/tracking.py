"""A record as an MLflow run: settings are parameters, figures with intervals metrics, report and JSON artefacts."""

import math
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.kinds import kind_of, render
from hardlabel.records.base import SCORES, Record
from hardlabel.runs.settings import flat

PREFIX = "hardlabel"
REPORT = "report.html"
LONGEST_NAME, LONGEST_VALUE = 250, 500  # Of MLflow's names, and of values of parameters in its older versions.
MOST = 100  # Parameters or tags in one request; of metrics ten times as many.


def to_mlflow(
    record: Record[Any],
    *,
    run_id: str | None = None,
    tracking_uri: str | None = None,
    experiment: str | None = None,
    scores: bool = False,
    show_records: bool = False,
) -> str:
    """Writes a record to an MLflow run. Names begin with "hardlabel", so that they differ from your training's names.

    - Metrics: "hardlabel/gap/auc", "hardlabel/gap/auc_low", "hardlabel/gap/auc_high", "hardlabel/gap/tpr_at_0.01", and
      "hardlabel/label/..." for the attack that the ranking names. A figure that is undefined has no metric.
    - Parameters: the settings, "hardlabel.budget".
    - Tags: "hardlabel.verdict", "hardlabel.grade", "hardlabel.kind", "hardlabel.record" (the record's id),
      "hardlabel.version".
    - Artefacts in the folder "hardlabel": the report, the results as JSON and, on request, the scores.

    Args:
        record: A record from `audit`, `audit_recipe`, `defend`, `audit_canaries` or `load`.
        run_id: The MLflow run to write to; None for the active run, or a new run if none is active.
        tracking_uri: Where MLflow keeps runs; None for its own setting.
        experiment: Name of the experiment of a new run; None for MLflow's own setting.
        scores: Whether the scores of each sample are written too. Samples are named by pseudonyms alone.
        show_records: Whether a record that shows rows or pictures of samples may be written.

    Returns:
        The id of the MLflow run.

    Raises:
        InvalidInput: MLflow is not installed, or the record would show samples and `show_records` is false.

    Example:
        >>> import hardlabel
        >>> hardlabel.to_mlflow(hardlabel.load("runs/digits"), tracking_uri="sqlite:///mlflow.db")  # doctest: +SKIP
        '9f0c...'
    """
    kind = kind_of(record)
    if not show_records and _shows(record):
        raise InvalidInput(
            "show_records must be True to hand over a record that shows rows or pictures of samples: its report and "
            "results hold them"
        )
    table = _pseudonymous(record) if scores else None
    mlflow = imported()
    client = mlflow.MlflowClient(tracking_uri=tracking_uri)
    active = mlflow.active_run() if run_id is None and tracking_uri is None else None
    new = run_id is None and active is None
    if run_id is None:
        run_id = active.info.run_id if active is not None else _new_run(client, mlflow, experiment)
    assert run_id is not None
    _log(client, run_id, metrics(record), _parameters(record), _tags(record, kind.name))
    client.log_text(run_id, render(record), f"{PREFIX}/{REPORT}")
    client.log_text(run_id, record.results.model_dump_json(indent=1), f"{PREFIX}/{kind.file}")
    if table is not None:
        with tempfile.TemporaryDirectory() as folder:
            table.to_parquet(Path(folder) / SCORES, index=False)
            client.log_artifact(run_id, str(Path(folder) / SCORES), PREFIX)
    if new:
        client.set_terminated(run_id)
    return run_id


def metrics(record: Record[Any]) -> dict[str, float]:
    """The figures of a record by the names that MLflow gets; see `to_mlflow`."""
    found: dict[str, float] = {}
    choice = getattr(record.results, "choice", None)
    for row in record.figures().to_dict("records"):
        owner = [str(row[name]) for name in ("defense", "canaries") if name in row]
        owner += [str(row["attack"])] if row.get("attack") else []
        owner += [str(row["access"])] if "canaries" in row else []
        name = str(row["figure"])
        if not math.isnan(row["fpr"]):
            name = f"{name}_at_{row['fpr']:g}"
        owners = [owner]
        if choice is not None and row.get("attack") == choice.attack:
            owners.append(["label"])
        for each in owners:
            for ending, value in (("", row["value"]), ("_low", row["low"]), ("_high", row["high"])):
                if math.isfinite(value):
                    key = "/".join(_named(part) for part in (PREFIX, *each, name + ending))
                    found[_free(key, found)] = float(value)
    return found


def imported() -> ModuleType:
    """MLflow.

    Raises:
        InvalidInput: It is not installed.
    """
    try:
        import mlflow
    except ImportError as error:
        raise InvalidInput(
            f"mlflow must be installed to hand over a record: pip install 'hardlabel[mlflow]' ({error})"
        ) from error
    module: ModuleType = mlflow
    return module


def _log(
    client: Any, run_id: str, figures: Mapping[str, float], parameters: Mapping[str, str], tags: Mapping[str, str]
) -> None:
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    for some in _parts(figures, 10 * MOST):
        client.log_batch(run_id, metrics=[Metric(name, value, now, 0) for name, value in some])
    for part in _parts(parameters, MOST):
        client.log_batch(run_id, params=[Param(name, value) for name, value in part])
    client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])


def _parts(items: Mapping[str, Any], size: int) -> Iterator[list[tuple[str, Any]]]:
    pairs = list(items.items())
    for start in range(0, len(pairs), size):
        yield pairs[start : start + size]


def _new_run(client: Any, mlflow: ModuleType, experiment: str | None) -> str:
    if experiment is None:
        from mlflow.tracking.fluent import _get_experiment_id

        number = _get_experiment_id()
    else:
        known = client.get_experiment_by_name(experiment)
        number = client.create_experiment(experiment) if known is None else known.experiment_id
    run_id: str = client.create_run(number).info.run_id
    return run_id


def _parameters(record: Record[Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in flat(record.config).items():
        if value is not None:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            found[_free(f"{PREFIX}.{_named(name)}", found)] = checks.cut(text, LONGEST_VALUE)
    return found


def _tags(record: Record[Any], kind: str) -> dict[str, str]:
    verdict = getattr(record.results, "verdict", None)
    tags = {
        "verdict": record.title,
        "grade": "" if verdict is None else str(verdict.grade),
        "kind": kind,
        "record": record.id,
        "version": record.results.environment.versions.get("hardlabel", ""),
        "data": record.results.data,
    }
    return {f"{PREFIX}.{name}": checks.cut(value, LONGEST_VALUE) for name, value in tags.items()}


def _named(text: str) -> str:
    """The text with an underscore for every character that MLflow allows in no name."""
    return re.sub(r"[^A-Za-z0-9_\-. ]", "_", text).strip() or "_"


def _free(name: str, taken: Mapping[str, object]) -> str:
    """A name that is not taken: names of attacks may differ in characters only that MLflow does not allow."""
    name, number = name[: LONGEST_NAME - 4], 2
    free = name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free


def _shows(record: Record[Any]) -> bool:
    """Whether the results show rows of samples, or the samples themselves."""
    exposed = getattr(record.results, "exposed", [])
    return any(point.shown is not None or point.row is not None for point in exposed)


def _pseudonymous(record: Record[Any]) -> pd.DataFrame:
    """The scores with pseudonyms and without rows.

    Raises:
        InvalidInput: The record has no scores, or no pseudonyms.
    """
    if not len(record.scores):
        raise InvalidInput("scores must be False: this record has none")
    if "pseudonym" not in record.scores:
        raise InvalidInput("scores must be False: this record names samples by no pseudonyms")
    return record.scores.drop(columns=["row", "id"], errors="ignore")
