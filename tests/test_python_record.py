"""Records in Python: the verdict, every figure as a table, plots, notebooks; and the progress of library calls."""

import io
import json
import sys
import types
from dataclasses import replace
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
from rich.console import Console

import hardlabel
from hardlabel.audits.arguments import checked
from hardlabel.audits.game.execution import USUAL, Execution
from hardlabel.checks import InvalidInput
from hardlabel.kinds import markdown, render
from hardlabel.records.exposure import Games, Named
from hardlabel.records.verdict import Grade
from hardlabel.reports.summary import verdict_lines
from hardlabel.runs.bar import Bar, Growing
from hardlabel.runs.progress import SILENT
from hardlabel.targets import registry  # noqa: F401  # Loads what a call needs before stderr is replaced.
from records import CALIBRATED, changed, make_canary_record, make_defend_record, make_recipe_record, make_record

matplotlib.use("Agg")
KINDS = [
    make_record(CALIBRATED),
    make_recipe_record(),
    make_defend_record(),
    make_canary_record(promise=4.0),
]
IDS = ["model", "recipe", "defenses", "canaries"]
HOSTILE = "<script>alert(1)</script>$\\alpha$|`\n"


def hostile(record):
    first = record.results.attacks[0].model_copy(update={"name": HOSTILE})
    return changed(record, attacks=[first, *record.results.attacks[1:]])


# --- one verdict everywhere ---


@pytest.mark.parametrize("record", KINDS, ids=IDS)
def test_every_output_gives_the_same_verdict(record):
    title = record.verdict.title
    told = [str(record), repr(record), record._repr_html_(), markdown(record), render(record), record.title]
    assert [title in text for text in told] == [True] * len(told)
    assert verdict_lines(record)[0].startswith(title)
    if hasattr(record.results, "verdict"):
        assert record.results.verdict == record.verdict
        assert json.loads(record.results.model_dump_json())["verdict"]["title"] == title


@pytest.mark.parametrize("record", KINDS, ids=IDS)
def test_a_saved_record_has_the_verdict_of_the_one_in_memory(record, tmp_path):
    if not record.scores.empty:
        record = replace(record, scores=record.scores)
    record.save(tmp_path / "run")
    seen = type(record).without_scores(tmp_path / "run")
    assert (seen.verdict, seen.brief) == (record.verdict, record.brief)
    assert len(seen.brief) <= 20


def test_the_verdict_of_a_comparison_is_its_recommendation():
    assert make_defend_record().verdict.grade is Grade.NONE
    assert make_defend_record().brief == "l2 0.02 helps"


# --- figures ---


def test_the_figures_of_a_model_are_those_of_the_record():
    record = KINDS[0]
    figures = record.figures()
    assert list(figures) == ["attack", "access", "figure", "fpr", "value", "low", "high", "note"]
    for attack in record.results.attacks:
        rows = figures[figures["attack"] == attack.name].set_index(["figure", "fpr"])
        assert rows.loc[("auc", np.nan), ["value", "low", "high"]].tolist() == [
            attack.auc.value,
            attack.auc.low,
            attack.auc.high,
        ]
        for fpr, estimate in attack.tpr_at_fpr.items():
            row = figures.query(
                "attack == @attack.name and figure == 'tpr' and fpr == @fpr_",
                local_dict={"attack": attack, "fpr_": float(fpr)},
            ).iloc[0]
            assert (row["value"] == estimate.value) or (np.isnan(row["value"]) and row["note"] == estimate.note)
    assert figures.query("figure == 'train_accuracy'")["value"].tolist() == [record.results.target.train_accuracy.value]


@pytest.mark.parametrize("record", KINDS, ids=IDS)
def test_every_figure_of_the_main_table_is_among_the_figures(record):
    values = set(record.figures()["value"].dropna().round(9))
    table = record.table()
    for name in ("auc", "test_accuracy", "epsilon", "spread"):
        if name in table:
            assert set(table[name].dropna().round(9)) <= values, name
    missing = record.figures()
    assert (missing[missing["value"].isna()]["note"] != "").all()


# --- notebooks ---


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("record", [hostile(KINDS[0]), hostile(KINDS[1]), *KINDS[2:]], ids=IDS)
def test_a_notebook_shows_verdict_and_table_and_runs_nothing(record):
    parsed = Tags()
    parsed.feed(record._repr_html_())
    tags = {tag for tag, _ in parsed.seen}
    assert {"strong", "table"} <= tags
    assert tags <= {"div", "p", "strong", "table", "thead", "tbody", "tr", "th", "td"}
    assert not any("src" in attrs or "href" in attrs for _, attrs in parsed.seen)
    assert record.title in parsed.text
    if hasattr(record.results, "attacks"):
        assert "<script>" in parsed.text  # As text.


# --- plots ---


@pytest.fixture(autouse=True)
def _closed():
    yield
    from matplotlib import pyplot

    pyplot.close("all")


@pytest.mark.parametrize("record", KINDS[:2], ids=IDS[:2])
def test_roc_curves_are_those_of_the_record(record):
    lines = {line.get_label(): line for line in record.plot("roc").get_lines()}
    assert set(lines) == {attack.name for attack in record.results.attacks} | {"guessing"}
    for attack in record.results.attacks:
        fpr, tpr = lines[attack.name].get_data()
        area = float(np.trapezoid(tpr, fpr))
        if hasattr(attack, "roc"):
            assert list(fpr) == attack.roc.fpr
            assert area == pytest.approx(attack.auc.value)
        else:  # Over all targets together.
            assert area == pytest.approx(attack.auc.value, abs=0.05)


@pytest.mark.parametrize("record", KINDS[:2], ids=IDS[:2])
def test_aucs_stand_above_the_queries_they_cost(record):
    from matplotlib import pyplot

    _, own = pyplot.subplots()
    assert record.plot("queries", ax=own) is own
    for attack, drawn in zip(record.results.attacks, own.containers, strict=True):
        [x], [y] = drawn.lines[0].get_data()
        assert (x, y) == (attack.queries_per_sample.mean, attack.auc.value)
        low, high = drawn.lines[2][0].get_segments()[0][:, 1]
        assert (low, high) == pytest.approx((attack.auc.low, attack.auc.high))


def test_exposed_records_are_drawn_right_and_wrong():
    found = Named(attack="path", access="label", rate=0.1, known=50, asked=150, named=88, right=85)
    bars = changed(KINDS[0], named=[found]).plot("exposed").patches
    assert [bar.get_width() for bar in bars] == [85, 3]
    games = {"targets": 8, "points": 50, "rate": 0.1, "found": 7, "confidence": 0.95, "top": []}
    record = changed(KINDS[1], games=[Games(attack="path", access="label", which="random", **games)])
    assert [bar.get_width() for bar in record.plot("exposed").patches] == [7, 43]


def test_names_are_text_and_no_formula():
    axes = hostile(KINDS[0]).plot("queries")
    axes.figure.canvas.draw()
    assert any("script" in text.get_text() for text in axes.get_legend().get_texts())


@pytest.mark.parametrize(
    ("record", "what", "rule"),
    [
        (KINDS[0], "rok", "what 'rok' is unknown: did you mean 'roc'"),
        (KINDS[0], "exposed", "record must hold exposed records"),
        (KINDS[2], "roc", "a plot that a DefendRecord has"),
        (KINDS[3], "queries", "a plot that a CanaryRecord has"),
        (replace(KINDS[1], scores=KINDS[1].scores.iloc[:0]), "roc", "record must hold scores"),
        (make_record(()), "roc", "record must hold an attack"),
    ],
)
def test_a_plot_that_cannot_be_had_is_one_line(record, what, rule):
    with pytest.raises(InvalidInput) as caught:
        record.plot(what)
    assert rule in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_matplotlib_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InvalidInput, match=r"needs Matplotlib: pip install 'hardlabel\[plot\]'"):
        KINDS[0].plot("roc")


# --- progress ---


class Terminal(io.StringIO):
    def isatty(self):
        return True


@checked()
def call(*, execution: Execution = USUAL):
    """A library call that does ten units of work."""
    execution.watch.stage("training", 10, "models")
    execution.watch.advance(10)
    execution.watch.say("done")
    return execution.watch


def test_a_library_call_shows_progress_at_a_terminal(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(call(), Bar)
    assert "training" in screen.getvalue()
    assert "done" in screen.getvalue()


def test_a_library_call_shows_progress_in_a_notebook(monkeypatch):
    class ZMQInteractiveShell: ...

    stream = io.StringIO()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=ZMQInteractiveShell))
    monkeypatch.setattr(sys, "stderr", stream)
    assert isinstance(call(), Growing)
    assert "training: 0 of 10 models" in stream.getvalue()
    assert "done\n" in stream.getvalue()


def test_a_library_call_is_silent_elsewhere_and_where_it_is_told_to_be(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    assert call() is SILENT
    assert stream.getvalue() == ""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    assert call(execution=Execution(watch=hardlabel.SILENT)) is SILENT
    monkeypatch.setenv("TERM", "dumb")
    assert call() is SILENT
    assert screen.getvalue() == ""


STAGES = [
    ("training the models of all defenses", 12_345, "models", "last one: 12.3 s, 17 of 20 epochs"),
    ("boundary-random on the shadow model", 123_456_789, "queries", ""),
    ("loading /a/very/long/path/" + "folder/" * 20 + "patients.csv", 1, "files", ""),
    ("path", 10, "queries", "loss 0.123, accuracy 1.000"),
]


@pytest.mark.parametrize(("title", "total", "unit", "detail"), STAGES)
@pytest.mark.parametrize("width", [40, 80, 200])
def test_progress_is_one_whole_line(title, total, unit, detail, width):
    bar = Bar(Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None, legacy_windows=False))
    bar.stage(title, total, unit)
    bar.advance(total // 3)
    bar.detail(detail)
    [task] = bar._progress.tasks
    for seconds in range(5):  # A speed, and so a time left.
        task._progress.append(types.SimpleNamespace(timestamp=seconds, completed=total / 7))
    screen = Console(width=width, file=io.StringIO())
    screen.print(bar._progress.get_renderable())
    [line] = screen.file.getvalue().splitlines()
    assert len(line) <= width
    assert f"{total // 3:,} of {total:,} {unit}" in line
    if width >= 80 and len(title) < 40:
        assert line.startswith(title)
        assert "…" not in line
    if width == 200 and len(title) < 40:
        assert detail in line
        assert " left" in line
