"""The ranking names what was measured to be the strongest, and what is said of families is what was measured."""

import json
import re
from pathlib import Path

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.ensemble import RandomForestClassifier

import hardlabel
from hardlabel.attacks import Need, family_of, ladder, shortfall
from hardlabel.attacks.shortfalls import SHORTFALLS
from hardlabel.data.columns import Numeric
from hardlabel.reports.html import model_page, recipe_page

STUDIES = Path(__file__).resolve().parents[1] / "studies"
MEASURED = json.loads((STUDIES / "ranking.json").read_text())
DOMAINS = {
    "mixed table": hardlabel.MixedTable(
        columns=(Numeric(name="age", mean=40.0, scale=10.0, lower=0, upper=90, integer=True),)
    ),
    "binary features": hardlabel.BinaryFeatures(20),
    "image": hardlabel.Box((1, 8, 8)),
}
LABELS_ONLY = {Need.REFERENCE_SCORES: "the references answer with labels only"}
MARGIN = 0.01  # An attack named is not shown to be worse than another by more than this AUC.
FAMILIES = {"forest": ("forest",), "boosted trees": ("xgboost", "boosted"), "network": ("mlp",)}
FAMILIES |= {"nearest neighbours": ("neighbours",)}


def measured_as(attack, budget):
    return f"{attack}-1" if budget == 1 and attack in ("path", "designed") else attack


@pytest.mark.parametrize("missing", [{}, LABELS_ONLY], ids=["confidences", "labels only"])
@pytest.mark.parametrize("budget", [1, 10])
@pytest.mark.parametrize("cell", MEASURED)
def test_nothing_measured_is_shown_to_be_stronger_than_what_is_named(cell, budget, missing):
    found = MEASURED[cell]
    named = ladder.best(DOMAINS[found["domain"]], budget, missing).attack
    rivals = {"gap", "gap-ratio", "path-1", "designed-1"}
    if budget > 1:
        rivals |= {"noise", "noise-ratio", "path", "designed"}
    if missing:
        rivals -= {"designed", "designed-1"}
    name = measured_as(named, budget)
    for rival in rivals - {name}:
        worse = found["differences"][f"{rival} - {name}"]
        assert worse[1] <= (0 if rival in ("gap", "gap-ratio") else MARGIN), (name, rival, worse)


def test_without_the_targets_training_the_ranking_names_what_the_study_of_surrogates_measured():
    rows = re.findall(r"^\| (\w+), (\w+) \| 8 \|(.*)$", (STUDIES / "SURROGATES.md").read_text(), re.MULTILINE)
    assert len(rows) == 9
    for data, _, row in rows:
        named, against_calibrated = row.split("|")[4].split()[0], row.split("|")[6]
        domain = DOMAINS["image" if data == "digits" else "mixed table"]
        assert ladder.best(domain, 10, {Need.ALIKE: "unknown"}).attack == named
        assert float(re.findall(r"[-+][\d.]+", against_calibrated)[2]) > 0  # Not shown to be worse.


@pytest.mark.parametrize("family", SHORTFALLS)
def test_what_is_said_of_a_family_is_what_was_measured_on_the_tables(family):
    cells = [
        MEASURED[cell]
        for cell in MEASURED
        if MEASURED[cell]["domain"] == "mixed table"
        and cell.split("-")[1] in FAMILIES[family]
        and cell.endswith("-101")
    ]
    assert len(cells) >= 2
    best = [max(("lira", "rmia"), key=cell["auc"].get) for cell in cells]
    for title, values in {
        "labels": [cell["auc"]["designed"] for cell in cells],
        "confidences": [cell["auc"][name] for cell, name in zip(cells, best, strict=True)],
        "gap": [cell["differences"][f"{name} - designed"][0] for cell, name in zip(cells, best, strict=True)],
    }.items():
        known = getattr(SHORTFALLS[family], title)
        assert known == pytest.approx((min(values), max(values)), abs=0.0006), title
        assert all(f"{abs(end):.2f}" in shortfall(family) for end in known)


def test_the_family_stands_in_the_record_and_on_the_page():
    rng = np.random.default_rng(0)
    inputs, labels = rng.random((200, 4)).astype(np.float32), rng.integers(0, 2, 200)
    forest = RandomForestClassifier(5, random_state=0)
    of_model = hardlabel.audit(
        forest.fit(inputs[:50], labels[:50]),
        (inputs[:50], labels[:50]),
        (inputs[50:100], labels[50:100]),
        attacks=["gap", "loss"],
    )
    of_recipe = hardlabel.audit_recipe(
        (inputs, labels), RandomForestClassifier(5), train_size=50, repeats=2, samples=20, attacks=["gap", "loss"]
    )
    assert of_model.results.target.family == of_recipe.results.family == family_of(forest) == "forest"
    for page in (model_page(of_model), recipe_page(of_recipe)):
        assert shortfall("forest") in page


@pytest.mark.parametrize("ending", ["ubj", "txt"])
def test_boosted_trees_of_a_file_are_of_their_family_too(ending, tmp_path):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(80, 3))
    labels = (inputs[:, 0] > 0).astype(int)
    if ending == "ubj":
        model = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(inputs, labels), 2)
    else:
        model = lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(inputs, labels), 2)
    model.save_model(tmp_path / f"model.{ending}")
    assert family_of(hardlabel.load_target(tmp_path / f"model.{ending}")) == "boosted trees"
