"""Records for other tools: MLflow, model cards, and JSON with a published schema."""

import json
import math
import os
import shutil
import subprocess
import sys
import types
import venv
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
import yaml

import hardlabel
from commands import called
from hardlabel.checks import InvalidInput
from hardlabel.handover.evaluator import Evaluator
from hardlabel.handover.tracking import metrics
from hardlabel.kinds import KINDS, kind_of
from hardlabel.records.schema import CONTENTS, file_name, schema, text
from hardlabel.reports.model_card import card, metadata, model_card
from records import changed, choice, make_canary_record, make_defend_record, make_recipe_record, make_record, standout

ROOT = Path(__file__).parent.parent
SCHEMAS = ROOT / "docs" / "schema"
MAKERS = {
    "model": make_record,
    "recipe": make_recipe_record,
    "defenses": make_defend_record,
    "canaries": make_canary_record,
}
HOSTILE = "</td><script>alert(1)</script>|x\n\n# head\n---\nlicense: mit [a](javascript:1) \x1b[2J"


@pytest.fixture(params=MAKERS)
def record(request):
    return MAKERS[request.param]()


# The schema of results as JSON.


@pytest.mark.parametrize("kind", CONTENTS)
def test_the_published_schema_is_that_of_the_code(kind):
    path = SCHEMAS / file_name(kind)
    assert path.exists(), "write it: python -c \"from hardlabel.records.schema import write; write('docs/schema')\""
    assert path.read_text(encoding="utf-8") == text(kind), "the types changed: raise the format, or write the schema"


@pytest.mark.parametrize("kind", CONTENTS)
def test_the_schema_is_a_schema_that_allows_no_unknown_field(kind):
    made = schema(kind)
    jsonschema.Draft202012Validator.check_schema(made)
    assert made["additionalProperties"] is False
    assert made["properties"]["format"]["const"] == CONTENTS[kind][1]


def test_saved_results_fit_the_schema(record, tmp_path):
    kind = kind_of(record).name
    record.save(tmp_path / "run")
    saved = json.loads((tmp_path / "run" / record.file).read_text())
    checker = jsonschema.Draft202012Validator(json.loads((SCHEMAS / file_name(kind)).read_text()))
    checker.validate(saved)
    for wrong in (
        {**saved, "format": 99},
        {**saved, "more": 1},
        {name: saved[name] for name in saved if name != "data"},
    ):
        with pytest.raises(jsonschema.ValidationError):
            checker.validate(wrong)


def test_a_comparison_fits_its_schema(record):
    shown = json.loads(hardlabel.compare(record, record).model_dump_json())
    jsonschema.Draft202012Validator(json.loads((SCHEMAS / file_name("comparison")).read_text())).validate(shown)


def test_every_kind_of_run_has_a_schema():
    contents = {content for content, _ in CONTENTS.values()}
    assert {kind.load("record").content for kind in KINDS.rows.values()} <= contents
    with pytest.raises(InvalidInput, match="known are"):
        schema("models")


# The model card.


def test_the_model_card_has_the_records_figures(record):
    index = metadata(record)["model-index"][0]["results"][0]
    figures = record.figures()
    known = {(row.figure, row.value, row.low) for row in figures.itertuples() if not math.isnan(row.value)}
    assert index["metrics"]
    for metric in index["metrics"]:
        name = metric["type"].partition("_at_0")[0]
        low = metric["args"].get("low", math.nan)
        matches = [one for one in known if one[0] == name and one[1] == metric["value"]]
        assert any(low == one[2] or (math.isnan(low) and math.isnan(one[2])) for one in matches), metric
    assert record.title in model_card(record)
    assert metadata(record)["hardlabel"]["record"] == record.id


def test_hugging_face_reads_the_metadata(record):
    hub = pytest.importorskip("huggingface_hub")
    front = yaml.safe_load(card(record).split("---\n")[1])
    read = hub.ModelCardData(**front)
    assert len(read.eval_results) == len(front["model-index"][0]["results"][0]["metrics"])
    assert all(result.task_type == "membership-inference" for result in read.eval_results)


def test_hostile_names_stay_data_in_a_model_card():
    record = changed(make_record(), data=HOSTILE)
    attacks = [attack.model_copy(update={"name": HOSTILE}) for attack in record.results.attacks[:1]]
    record = changed(record, attacks=attacks, differences=[])
    shown = card(record)
    assert yaml.safe_load(shown.split("\n---\n")[0].removeprefix("---\n")).keys() == {"model-index", "hardlabel"}
    section = shown.split("\n---\n", 1)[1]
    assert "\x1b" not in shown
    assert "<script" not in section
    assert "\n# head" not in shown
    assert "\nlicense" not in shown


def test_show_prints_a_model_card(tmp_path, monkeypatch, capsys):
    record = make_canary_record()
    record.save(tmp_path / "run")
    code, out, _ = called("show", tmp_path / "run", "--model-card", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    assert out.strip() == card(hardlabel.load(tmp_path / "run")).strip()


# MLflow, in whose place stands a stub; the real one is in test_real_mlflow.


class Client:
    """What `to_mlflow` calls of MLflow's client, kept."""

    def __init__(self):
        self.metrics, self.params, self.tags, self.artefacts, self.ended, self.sizes = {}, {}, {}, {}, [], []

    def __call__(self, tracking_uri=None):
        self.uri = tracking_uri
        return self

    def create_run(self, experiment):
        self.experiment = experiment
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id="new"))

    def get_experiment_by_name(self, name):
        return None

    def create_experiment(self, name):
        return f"experiment {name}"

    def log_batch(self, run_id, metrics=(), params=(), tags=()):
        self.run_id = run_id
        self.sizes.append((len(metrics), len(params), len(tags)))
        for kept, items in ((self.metrics, metrics), (self.params, params), (self.tags, tags)):
            assert not {item[0] for item in items} & kept.keys()
            kept.update({item[0]: item[1] for item in items})

    def log_text(self, run_id, text, path):
        self.artefacts[path] = text

    def log_artifact(self, run_id, path, folder):
        self.artefacts[f"{folder}/{Path(path).name}"] = pd.read_parquet(path)

    def set_terminated(self, run_id):
        self.ended.append(run_id)


@pytest.fixture
def client(monkeypatch):
    client = Client()
    entities = types.ModuleType("mlflow.entities")
    entities.Metric, entities.Param, entities.RunTag = (lambda *values: values,) * 3
    fluent = types.ModuleType("mlflow.tracking.fluent")
    fluent._get_experiment_id = lambda: "0"
    models = types.ModuleType("mlflow.models")
    models.EvaluationResult = lambda metrics, artifacts: types.SimpleNamespace(metrics=metrics, artifacts=artifacts)
    mlflow = types.ModuleType("mlflow")
    mlflow.MlflowClient, mlflow.active_run = client, lambda: None
    modules = {"mlflow": mlflow, "mlflow.entities": entities, "mlflow.models": models, "mlflow.tracking.fluent": fluent}
    modules["mlflow.tracking"] = types.ModuleType("mlflow.tracking")
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return client


def test_a_record_becomes_an_mlflow_run(record, client):
    record = without_rows(record)
    assert hardlabel.to_mlflow(record, tracking_uri="file:x") == "new"
    assert client.uri == "file:x"
    assert client.ended == ["new"]
    assert client.metrics == metrics(record)
    assert client.tags["hardlabel.verdict"] == record.title
    assert client.tags["hardlabel.record"] == record.id
    assert client.params["hardlabel.data"] == record.config["data"] if "data" in record.config else True
    assert set(client.artefacts) == {"hardlabel/report.html", f"hardlabel/{record.file}"}
    assert json.loads(client.artefacts[f"hardlabel/{record.file}"])["data"] == record.results.data
    assert all(sizes[0] <= 1000 and sizes[1] <= 100 and sizes[2] <= 100 for sizes in client.sizes)


def without_rows(record):
    scores = record.scores.drop(columns="row", errors="ignore")
    return replace(record, scores=scores)


def test_metrics_have_intervals_and_the_rankings_attack():
    record = changed(make_record(), choice=choice("boundary"))
    found, auc = metrics(record), record.attack("boundary").auc
    for owner in ("boundary", "label"):
        assert found[f"hardlabel/{owner}/auc"] == auc.value
        assert found[f"hardlabel/{owner}/auc_low"] == auc.low
        assert found[f"hardlabel/{owner}/auc_high"] == auc.high
    assert found["hardlabel/gap/tpr_at_0.1"] == record.attack("gap").tpr_at_fpr["0.1"].value
    assert "hardlabel/gap/tpr_at_0.001" not in found  # Undefined with 300 non-members.
    assert all(math.isfinite(value) for value in found.values())


def test_names_that_mlflow_does_not_allow_are_written_otherwise_and_stay_apart():
    record = make_record()
    names = {"gap": "a|b", "noise": "a<b", "loss": HOSTILE}
    attacks = [
        attack.model_copy(update={"name": names.get(attack.name, attack.name)}) for attack in record.results.attacks
    ]
    found = metrics(changed(record, attacks=attacks))
    assert len(found) == len(metrics(record))
    assert all(
        set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-. /") for name in found
    )
    assert all(len(name) <= 250 for name in found)


def test_scores_are_handed_over_by_pseudonyms_only(client):
    record = make_record()
    with pytest.raises(InvalidInput, match="no pseudonyms"):
        hardlabel.to_mlflow(record, scores=True)
    named = replace(record, scores=record.scores.assign(pseudonym=record.scores["id"].map("{:010x}".format)))
    hardlabel.to_mlflow(named, scores=True, run_id="mine")
    handed_over = client.artefacts["hardlabel/scores.parquet"]
    assert "pseudonym" in handed_over
    assert not {"row", "id"} & set(handed_over)
    assert client.ended == []  # The run was the caller's.
    with pytest.raises(InvalidInput, match="has none"):
        hardlabel.to_mlflow(make_canary_record(), scores=True)


def test_a_record_that_shows_samples_is_not_handed_over_unasked(client):
    record = changed(make_record(), exposed=[standout(1, "<b>")])
    with pytest.raises(InvalidInput, match="show_records must be True"):
        hardlabel.to_mlflow(record)
    assert client.artefacts == {}
    assert hardlabel.to_mlflow(record, show_records=True) == "new"


def test_without_mlflow_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(InvalidInput, match=r"pip install 'hardlabel\[mlflow\]'"):
        hardlabel.to_mlflow(make_canary_record())


@pytest.mark.parametrize(
    ("model_type", "config", "wanted"),
    [
        ("classifier", {"members": ([], [])}, True),
        ("classifier", {"record": "runs/digits"}, True),
        ("classifier", {}, False),
        ("classifier", None, False),
        ("classifier", {"log_model_explainability": False}, False),
        ("regressor", {"members": ([], [])}, False),
    ],
)
def test_the_evaluator_takes_part_only_where_it_is_configured(model_type, config, wanted):
    assert Evaluator.can_evaluate(model_type=model_type, evaluator_config=config, more=1) is wanted


def test_the_evaluator_audits_a_model(client):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(80, 3)), columns=["a", "b", "c"])
    labels = (frame["a"] > 0).astype(int).to_numpy()
    known = {tuple(row) for row in frame[:40].round(4).to_numpy()}

    class Model:
        """Right on its members only."""

        def predict(self, rows):
            inside = [tuple(row) in known for row in np.round(np.asarray(rows, dtype=float), 4)]
            return np.where(inside, np.asarray(rows)[:, 0] > 0, np.asarray(rows)[:, 0] <= 0).astype(int)

    dataset = types.SimpleNamespace(features_data=frame[40:], labels_data=labels[40:], has_targets=True)
    arguments = {"dataset": dataset, "run_id": "theirs", "model": Model(), "model_type": "classifier"}
    result = Evaluator().evaluate(
        evaluator_config={"members": (frame[:40], labels[:40]), "attacks": ["gap"]}, **arguments
    )
    assert result.metrics["hardlabel/gap/auc"] == 1
    assert client.run_id == "theirs"
    assert client.ended == []
    with pytest.raises(InvalidInput, match="members"):
        Evaluator().evaluate(evaluator_config={}, **arguments)


def test_the_evaluator_hands_over_a_record(client, tmp_path):
    make_canary_record().save(tmp_path / "run")
    arguments = {"dataset": None, "run_id": "theirs", "model": None, "model_type": "classifier"}
    result = Evaluator().evaluate(evaluator_config={"record": str(tmp_path / "run")}, **arguments)
    assert result.metrics == metrics(make_canary_record())


REAL = """
import sys
import mlflow, numpy as np, pandas as pd
from sklearn.svm import SVC
import hardlabel
mlflow.set_tracking_uri("sqlite:///" + sys.argv[1] + "/mlflow.db")
number = mlflow.create_experiment("audit", artifact_location="file://" + sys.argv[1] + "/artefacts")
rng = np.random.default_rng(0)
frame = pd.DataFrame(rng.normal(size=(240, 4)), columns=list("abcd"))
labels = pd.Series(rng.integers(0, 2, 240))
members, test = (frame[:120], labels[:120]), frame[120:].assign(target=labels[120:])
model = SVC(gamma=10.0).fit(*members)
with mlflow.start_run(experiment_id=number) as run:
    uri = mlflow.sklearn.log_model(model, name="model").model_uri
    arguments = {"targets": "target", "model_type": "classifier"}
    found = mlflow.models.evaluate(
        uri, test, evaluators="hardlabel", evaluator_config={"members": members, "attacks": ["gap"]}, **arguments
    )
    assert found.metrics["hardlabel/gap/auc_low"] > 0.6, found.metrics
    usual = mlflow.models.evaluate(uri, test, evaluator_config={"log_model_explainability": False}, **arguments)
    assert not [name for name in usual.metrics if name.startswith("hardlabel")]
client = mlflow.MlflowClient()
kept = client.get_run(run.info.run_id).data
assert kept.metrics["hardlabel/gap/auc"] == found.metrics["hardlabel/gap/auc"]
assert "leakage" in kept.tags["hardlabel.verdict"]
paths = [file.path for file in client.list_artifacts(run.info.run_id, "hardlabel")]
assert paths == ["hardlabel/report.html", "hardlabel/results.json"], paths
record = hardlabel.audit(model, members, (test[list("abcd")], labels[120:]), attacks=["gap"])
run_id = hardlabel.to_mlflow(record, scores=True, experiment="other")
assert client.get_run(run_id).info.status == "FINISHED"
print("mlflow", mlflow.__version__)
"""


@pytest.mark.long
def test_real_mlflow(tmp_path):
    """In an environment of its own, since MLflow's pins may differ: installs both, evaluates a model, reads it back."""
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    source = tmp_path / "source"
    source.mkdir()
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    torch = f"torch=={version('torch')}"  # With its local part, so that no other build is downloaded.
    subprocess.run([python, "-m", "pip", "install", "-q", torch, f"{source}[mlflow]"], check=True)
    environment = {**os.environ, "HARDLABEL_STORE": str(tmp_path / "store"), "HARDLABEL_SECRET": "0123456789abcdef0123"}
    found = subprocess.run(
        [python, "-c", REAL, str(tmp_path)], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    assert found.returncode == 0, found.stderr[-3000:]
    assert "mlflow " in found.stdout
