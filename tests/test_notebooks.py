"""The notebooks run, what their texts say is so, they are kept without outputs, and the site shows them."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from scripts import loaded
from test_words import found

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
SECONDS = 600  # Of a cell: a notebook that hangs fails.


@pytest.fixture
def executed(tmp_path, monkeypatch):
    """Runs a notebook in a folder of its own; returns it, and the values of expressions at its end."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "TMPDIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))

    def execute(name, **expressions):
        notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
        values = ", ".join(f"{key!r}: {expression}" for key, expression in expressions.items())
        end = nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({{{values}}}))")
        notebook.cells.append(end)
        work = {"metadata": {"path": str(tmp_path)}}
        NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=work).execute()
        return notebook, json.loads(end.outputs[0].text)

    return execute


def shown(notebook, kind="text/plain"):
    """All outputs of a kind, as a reader sees them: "text/plain", "text/html", "image/png", or "stream" (printed)."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    if kind == "stream":
        return "".join(output.text for output in outputs if output.output_type == "stream")
    return "\n".join(output.data[kind] for output in outputs if kind in output.get("data", {}))


# --- they run, and what they say is so ---


@pytest.mark.slow
def test_quick_start_finds_the_leak_and_nothing_where_there_is_nothing(executed):
    notebook, end = executed(
        "quick-start",
        grade="record.verdict.grade",
        earned="record.verdict.earned",
        control="check.verdict.grade",
        aucs="[record.attack(name).auc.value for name in ('gap', 'path', 'lira')]",
        low="record.attack('path').auc.low",
        report="(folder / 'report.html').stat().st_size",
    )
    assert end["grade"] == "clear"
    assert end["earned"] == ["path"]
    assert end["control"] == "none found"  # The model never saw these records.
    assert end["aucs"] == sorted(end["aucs"])
    assert end["low"] > 0.5
    assert end["report"] > 10_000
    assert "<strong>Clear leakage was measured</strong>" in shown(notebook, "text/html")
    assert "<strong>No leakage was found</strong>" in shown(notebook, "text/html")
    assert "grade=<Grade.CLEAR: 'clear'>" in shown(notebook)
    assert shown(notebook, "image/png")


@pytest.mark.long
def test_the_table_tells_less_with_larger_leaves(executed):
    notebook, end = executed(
        "scikit-learn-table",
        grades="{name: record.brief for name, record in records.items()}",
        earned="records['leaves of 10'].verdict.earned",
        named="[record.results.choice.attack for record in records.values()]",
        change="comparison.later[0].change('designed', 'auc').model_dump()",
        right="{name: [model.score(*members), model.score(*nonmembers)] for name, model in models.items()}",
    )
    assert end["grades"] == {"full": "clear", "leaves of 10": "at least slight"}
    assert end["earned"] == ["gap"]
    assert end["named"] == ["designed", "designed"]
    assert end["change"]["paired"]
    assert end["change"]["change"]["high"] < 0
    full, pruned = end["right"].values()
    assert full[0] == 1 > pruned[0]
    assert pruned[1] >= full[1]  # "It costs no accuracy here."
    assert "at least slight" in shown(notebook)


@pytest.mark.long
def test_the_network_leaks_though_it_is_good_and_labels_tell_as_much_as_confidences(executed):
    notebook, end = executed(
        "cnn",
        grade="record.verdict.grade",
        earned="record.verdict.earned",
        right="right",
        aucs="{name: record.attack(name).auc.value for name in ('gap', 'path', 'lira')}",
        first="[bool(labels[row] == label) for row, label in first[['row', 'label']].to_numpy()]",
    )
    assert end["grade"] == "clear"
    assert end["earned"] == ["path"]
    assert end["right"][0] == 1
    assert end["right"][1] > 0.9
    assert end["first"] == [True] * 6  # The images shown are those that were scored.
    assert end["aucs"]["path"] - end["aucs"]["gap"] > 0.1
    assert end["aucs"]["path"] == pytest.approx(end["aucs"]["lira"], abs=0.05)
    assert "needs 10000 non-members, got 120" in shown(notebook)


@pytest.mark.long
def test_the_endpoint_leaks_by_labels_and_both_sides_count_the_same_rows(executed):
    notebook, end = executed(
        "endpoint",
        grade="record.verdict.grade",
        sent="sum(sent)",
        access="sorted({attack.access for attack in record.results.attacks})",
        most="max(attack.queries_per_sample.max for attack in record.results.attacks)",
        low="record.attack('noise-ratio').auc.low",
    )
    assert end["grade"] == "clear"
    assert end["access"] == ["label"]
    assert end["most"] <= 10
    assert end["low"] > 0.5
    [bill] = re.findall(r"The target was sent ([\d,]+) rows: ([\d,]+) were answered, 0 refused", shown(notebook))
    assert set(bill) == {f"{end['sent']:,}"}
    assert 0 < end["sent"] <= 3300  # What the dry run said.
    assert "3,300 rows in about" in shown(notebook, "stream")


@pytest.mark.long
def test_of_the_defenses_strong_weight_decay_helps_at_a_price_and_hiding_confidences_does_not(executed):
    notebook, end = executed(
        "choosing-a-defense",
        title="record.verdict.title",
        effects="dict(zip(table['name'], table['effect']))",
        hidden="[attack.change.value for attack in record.defense('label-only').attacks]",
        keeps="record.defense('label-only').keeps_labels",
        price="record.defense('l2 0.1').accuracy_change.high",
        weak="[record.defense('l2 0.01').accuracy_change.low, record.defense('l2 0.01').accuracy_change.high]",
    )
    assert end["title"] == "l2 0.1 helps, at a price"
    no = "does not help by 0.02 or more"
    assert end["effects"] == {"none": "", "label-only": no, "l2 0.01": no, "l2 0.1": "helps"}
    assert end["keeps"]
    assert set(end["hidden"]) == {0.0}  # No label changed.
    assert end["price"] < -0.02
    assert end["weak"][0] < 0 < end["weak"][1]
    assert "'l2 0.1 helps, at a price'" in shown(notebook)


# --- how they are kept ---


def outputs_of(notebook):
    """What a notebook holds that a run left behind, in words."""
    left = [] if notebook.metadata == METADATA else ["metadata"]
    for cell in notebook.cells:
        left += [f"metadata of {cell.id}"] if cell.metadata else []
        if cell.cell_type == "code":
            left += [f"outputs of {cell.id}"] if cell.outputs else []
            left += [f"count of {cell.id}"] if cell.execution_count is not None else []
    return left


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs_and_ends_with_the_verdict(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert outputs_of(notebook) == []
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert texts[0].startswith("# ")
    assert texts[-2] == "## The verdict, and how to read it"
    assert texts[-1].startswith("- **")
    assert notebook.cells[-1].source == texts[-1]
    assert found("\n".join(texts)) == ""  # Plain English.
    assert max(len(line) for cell in notebook.cells for line in cell.source.splitlines()) <= 150


def test_what_a_run_leaves_behind_would_be_seen():
    ran = nbformat.v4.new_code_cell("1", execution_count=1, outputs=[nbformat.v4.new_output("stream", text="1")])
    ran["id"], ran.metadata["scrolled"] = "a", True
    notebook = nbformat.v4.new_notebook(
        cells=[ran], metadata={**METADATA, "language_info": {"name": "python", "version": "3.11.7"}}
    )
    assert outputs_of(notebook) == ["metadata", "metadata of a", "outputs of a", "count of a"]


# --- on the site ---


@pytest.fixture(scope="module")
def hook():
    pytest.importorskip("mkdocs")
    return loaded(FOLDER.parent / "hooks" / "notebooks.py")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_page_shows_every_cell_and_the_list_and_the_navigation_have_it(path, hook):
    page = hook.page(path)
    for cell in nbformat.read(path, as_version=4).cells:
        assert cell.source in page
    assert page.startswith(f"# {page[2:].partition(chr(10))[0]}\n")
    assert page.count("```") == 2 * sum(cell.cell_type == "code" for cell in nbformat.read(path, as_version=4).cells)
    assert f"]({path.name})" in page
    assert f"]({path.name})" in (FOLDER / "index.md").read_text()
    assert f"notebooks/{path.stem}.md" in (FOLDER.parents[1] / "mkdocs.yml").read_text()


def test_links_to_notebooks_lead_to_their_pages_and_only_a_page_leads_to_its_own_file(hook):
    class Page:
        class file:  # noqa: N801
            src_uri = "notebooks/cnn.md"

    text = "[file](cnn.ipynb) [other](quick-start.ipynb#data) [far](../notebooks/endpoint.ipynb) `x.ipynb`"
    assert hook.on_page_markdown(text, Page, None, None) == (
        "[file](cnn.ipynb) [other](quick-start.md#data) [far](../notebooks/endpoint.md) `x.ipynb`"
    )
