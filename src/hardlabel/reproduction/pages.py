"""The page of a reproduction, as Markdown and as one HTML file: our figures beside the paper's, and the verdicts."""

import html
from collections.abc import Mapping, Sequence
from importlib import resources

from hardlabel.metrics.estimate import Estimate
from hardlabel.reports.text import table_of
from hardlabel.reproduction.attacks import WHITE_BOX
from hardlabel.reproduction.declared import (
    FEWEST_TARGETS,
    PRECISION,
    TEST_ACCURACY,
    TRAIN_ACCURACY,
    Cell,
    Experiment,
    Figure,
    parts_of,
)
from hardlabel.reproduction.scales import SCALES
from hardlabel.reproduction.summary import PartSummary
from hardlabel.reproduction.verdicts import Judged, Outcome, Summaries, figure_of, judged

CLAIMS = {
    "C1": "labels are enough: attacks on them match attacks that see the confidence vector",
    "C2": "hiding confidences does not protect",
    "C3": "the same holds for outliers",
    "C4": "only differential privacy and strong L2 defeat all attacks",
    "C5": "training on augmented copies leaks more to an attacker who asks about these copies",
    "C6": "transfer learning lowers the leak; dropout and L1 help little",
    "C7": "with few queries noise finds most, with 2,500 the boundary distance",
}
LEFT_OUT = "left out"
FAR = 0.03  # A cell that differs more from the paper is to be explained, or said to be unexplained.
TITLE = "The paper, reproduced"
INTRODUCTION = (
    "The tables and figures of Choquette-Choo, Tramèr, Carlini and Papernot (ICML 2021), Label-Only Membership "
    "Inference Attacks, from our own code. Written by `hardlabel reproduce`: every figure follows from the summaries "
    "of the parts.",
    "A figure is an attack's accuracy in per cent on as many members as non-members, at the threshold that the "
    "attacker's own models chose: the mean over targets, with a 95 % interval over targets and samples. Differences "
    "are paired where both figures are about the same samples of the same targets.",
    "A claim HOLDS if its whole interval lies on the right side of its limit, DOES NOT HOLD if it lies on the other "
    "side, and is NOT RESOLVED otherwise. Claims are judged one by one: of twenty true ones, one may fail by chance. "
    "Nothing was tuned until it passed.",
)
SMOKE = (
    "This scale shows that everything runs: all data sets are scikit-learn's digits, in tiny numbers, and neither "
    "figures nor verdicts mean anything."
)
SHOWN = {"shadow-network": "confidence vector", WHITE_BOX: "white-box limit (Carlini-Wagner)"}

Block = tuple[str, object]  # ("heading", text), ("paragraph", text), ("list", texts) or ("table", (head, rows)).


def markdown(experiments: Sequence[Experiment], summaries: Summaries, *, scale: str) -> str:
    """The page as Markdown.

    Args:
        experiments: What is shown.
        summaries: By cell, as EXPERIMENT/CELL.
        scale: Name of the scale.
    """
    lines = []
    for kind, content in _blocks(experiments, summaries, scale):
        if kind == "list":
            lines.append("\n".join(f"- {item}" for item in content))  # type: ignore[attr-defined]
        elif kind == "table":
            lines.append(table_of(*content))  # type: ignore[misc]
        else:
            lines.append(f"{ {'title': '# ', 'heading': '## '}.get(kind, '') }{content}")
    return "\n\n".join(lines) + "\n"


def page(experiments: Sequence[Experiment], summaries: Summaries, *, scale: str) -> str:
    """The same as one HTML file that needs nothing else."""
    style = resources.files("hardlabel.reports").joinpath("report.css").read_text(encoding="utf-8")
    body = "\n".join(_as_html(kind, content) for kind, content in _blocks(experiments, summaries, scale))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{html.escape(TITLE)}</title>\n'
        f"<style>\n{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def claims(experiments: Sequence[Experiment], summaries: Summaries, *, scale: str) -> str:
    """The part of the page that README shows: how much was run, and for each claim how many statements hold."""
    verdicts = {experiment.name: _judged(experiment, summaries) for experiment in experiments}
    return f"{_state(experiments, summaries, scale)}\n\n{table_of(*_claims_table(verdicts))}"


def _as_html(kind: str, content: object) -> str:
    if kind == "list":
        items = "".join(f"<li>{html.escape(str(item))}</li>" for item in content)  # type: ignore[attr-defined]
        return f"<ul>{items}</ul>"
    if kind == "table":
        head: Sequence[str]
        rows: Sequence[Sequence[str]]
        head, rows = content  # type: ignore[misc]
        heads = "".join(f"<th scope='col'>{html.escape(cell)}</th>" for cell in head)
        lines = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>'
    element = {"title": "h1", "heading": "h2"}.get(kind, "p")
    return f"<{element}>{html.escape(str(content))}</{element}>"


def _blocks(experiments: Sequence[Experiment], summaries: Summaries, scale: str) -> list[Block]:
    blocks: list[Block] = [("title", TITLE), *(("paragraph", text) for text in INTRODUCTION)]
    verdicts = {experiment.name: _judged(experiment, summaries) for experiment in experiments}
    blocks += [
        ("paragraph", _state(experiments, summaries, scale)),
        ("heading", "The claims"),
        ("table", _claims_table(verdicts)),
    ]
    for experiment in experiments:
        blocks += _experiment(experiment, summaries, verdicts[experiment.name])
    return [*blocks, *_made_by(summaries)]


def _state(experiments: Sequence[Experiment], summaries: Summaries, scale: str) -> str:
    parts, done = len(parts_of(experiments)), sum(map(len, summaries.values()))
    words = f"Scale `{scale}`: {done} of {parts} parts were run."
    return f"{words} {SMOKE}" if SCALES[scale].smoke else words


def _experiment(experiment: Experiment, summaries: Summaries, verdicts: Sequence[Judged]) -> list[Block]:
    blocks: list[Block] = [("heading", experiment.title), ("paragraph", f"The paper: {experiment.paper}")]
    if experiment.differs:
        blocks.append(("list", [f"Differs: {text}" for text in experiment.differs]))
    if experiment.cells:
        blocks.append(("table", _figures_table(experiment, summaries)))
    few = _few(experiment, summaries)
    if few:
        blocks.append(("paragraph", few))
    left_out = _left_out(experiment, summaries)
    if left_out:
        blocks.append(("list", left_out))
    far = _far(experiment, summaries)
    if far:
        blocks.append(("paragraph", far))
    if verdicts:
        blocks.append(("table", _verdicts_table(verdicts)))
    return blocks


def _judged(experiment: Experiment, summaries: Summaries) -> list[Judged]:
    own = _own(experiment, summaries)
    return [judged(claim, own) for claim in experiment.claims]


def _own(experiment: Experiment, summaries: Summaries) -> Mapping[str, Sequence[PartSummary]]:
    """The summaries of an experiment, by the names of its cells."""
    return {cell.name: summaries.get(f"{experiment.name}/{cell.name}", ()) for cell in experiment.cells}


def _rows(experiment: Experiment) -> list[tuple[Cell, str]]:
    """Each cell with the figures that its table shows: accuracies of the model once for each row, then attacks."""
    rows, seen = [], set()
    for cell in experiment.cells:
        names = [TRAIN_ACCURACY, TEST_ACCURACY]
        for play in cell.plays:
            shown = [attack + play.suffix for attack in play.attacks]
            names += shown
            if any(other.outliers for other in cell.plays):
                names += [PRECISION + name for name in shown]
        for name in dict.fromkeys(names):
            if (cell.row, name) not in seen:
                seen.add((cell.row, name))
                rows.append((cell, name))
    return rows


def _figures_table(experiment: Experiment, summaries: Summaries) -> tuple[list[str], list[list[str]]]:
    head = ["target", "figure", "queries", "ours, %", "the paper's, %", "difference, points", "targets"]
    own, rows = _own(experiment, summaries), []
    for cell, name in _rows(experiment):
        estimate, targets = figure_of(Figure(cell.name, name), own)
        published = cell.published.get(name)
        rows.append(
            [
                cell.row,
                _shown(name),
                _queries(own[cell.name], name),
                LEFT_OUT if own[cell.name] and not targets else _percent(estimate),
                "" if published is None else f"{published:.1f}",
                _points(estimate, published),
                str(targets or ""),
            ]
        )
    return head, rows


def _queries(parts: Sequence[PartSummary], name: str) -> str:
    counts = [play.attacks[name].queries for part in parts for play in part.plays if name in play.attacks]
    known = [count for count in counts if count is not None]
    return f"{sum(known) / len(known):,.0f}" if known else ""


def _few(experiment: Experiment, summaries: Summaries) -> str:
    own = _own(experiment, summaries)
    few = [cell.name for cell in experiment.cells if 0 < len(own[cell.name]) < FEWEST_TARGETS]
    return f"Fewer than {FEWEST_TARGETS} targets: {', '.join(few)}." if few else ""


def _left_out(experiment: Experiment, summaries: Summaries) -> list[str]:
    parts = [part for each in _own(experiment, summaries).values() for part in each]
    reasons = [(name, reason) for part in parts for play in part.plays for name, reason in play.left_out.items()]
    return [f"Left out: {_shown(name)}: {reason}." for name, reason in dict.fromkeys(reasons)]


def _far(experiment: Experiment, summaries: Summaries) -> str:
    own, far = _own(experiment, summaries), []
    for cell in experiment.cells:
        for name, published in cell.published.items():
            value = figure_of(Figure(cell.name, name), own)[0].value
            if value is not None and abs(value - published / 100) > FAR:
                far.append(f"{cell.row}: {_shown(name)}")
    return f"More than {100 * FAR:g} points off the paper, and unexplained so far: {'; '.join(far)}." if far else ""


def _verdicts_table(verdicts: Sequence[Judged]) -> tuple[list[str], list[list[str]]]:
    head = ["claim", "statement", "difference, points", "limit", "targets", "verdict", "what would resolve it"]
    rows = []
    for verdict in verdicts:
        claim = verdict.claim
        words = "" if verdict.paired or verdict.outcome is Outcome.NOT_RUN else " (not paired)"
        rows.append(
            [
                claim.number,
                claim.text,
                _difference(verdict.difference) + words,
                _limit(claim.rule, claim.margin),
                str(verdict.targets or ""),
                str(verdict.outcome),
                verdict.resolve,
            ]
        )
    return head, rows


def _claims_table(verdicts: Mapping[str, Sequence[Judged]]) -> tuple[list[str], list[list[str]]]:
    """How many statements of each claim hold."""
    numbers = sorted({verdict.claim.number for each in verdicts.values() for verdict in each if verdict.claim.number})
    head = ["claim", "what it says", *map(str, Outcome)]
    rows = []
    for number in numbers:
        outcomes = [verdict.outcome for each in verdicts.values() for verdict in each if verdict.claim.number == number]
        rows.append([number, CLAIMS[number], *(str(outcomes.count(outcome)) for outcome in Outcome)])
    return head, rows


def _made_by(summaries: Summaries) -> list[Block]:
    parts = [part for each in summaries.values() for part in each]
    if not parts:
        return []
    machines = sorted({part.machine for part in parts})
    versions = sorted({f"{name} {version}" for part in parts for name, version in part.versions.items()})
    cards = sorted({f"{part.experiment} {part.cell}" for part in parts if not part.device.startswith("cpu")})
    hours = sum(part.seconds for part in parts) / 3600
    lines = [
        f"Machine: {'; '.join(machines)}.",
        f"Versions: {', '.join(versions)}.",
        f"Time of all parts: {hours:.1f} hours. Seeds: the number of each target, from 0.",
        f"Made on a graphics card: {', '.join(cards)}." if cards else "Nothing was made on a graphics card.",
        *sorted({note for part in parts for note in part.notes}),
    ]
    return [("heading", "How it was made"), ("list", lines)]


def _shown(name: str) -> str:
    for attack, words in SHOWN.items():
        name = name.replace(attack, words)
    return name


def _percent(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return str(Outcome.NOT_RUN)
    low, high = max(0.0, estimate.low), min(1.0, estimate.high)
    return f"{100 * estimate.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _points(estimate: Estimate, published: float | None) -> str:
    return "" if published is None or estimate.value is None else f"{100 * estimate.value - published:+.1f}"


def _difference(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return ""
    return f"{100 * estimate.value:+.1f} [{100 * estimate.low:+.1f}, {100 * estimate.high:+.1f}]"


def _limit(rule: str, margin: float) -> str:
    points = f"{100 * margin:g}"
    return {
        "at least": f"above -{points}" if margin else "above 0",
        "at most": f"below {points}",
        "about": f"within {points}",
    }[rule]
