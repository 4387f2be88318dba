"""Plots of a record by Matplotlib, for notebooks and papers: `record.plot("roc")`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hardlabel import printed
from hardlabel.checks import InvalidInput, one_of
from hardlabel.metrics.roc import roc
from hardlabel.records.base import Record
from hardlabel.records.model import AuditRecord
from hardlabel.records.recipe import RecipeRecord
from hardlabel.signals.base import Access

STYLES = {Access.LABEL: "-", Access.SCORES: "--"}  # The same meaning as on the page: dashes see confidences.
MARKERS = {Access.LABEL: "o", Access.SCORES: "s"}


def draw(record: Record[Any], what: str, *, ax: Any = None) -> Any:
    """Draws a plot of a record on Matplotlib axes; see `Record.plot`.

    Args:
        record: A record of any kind.
        what: "roc", "queries" or "exposed".
        ax: The axes; None for axes of a new figure.

    Returns:
        The axes.

    Raises:
        InvalidInput: The plot is unknown, this record has no such plot, or Matplotlib is not installed.

    Example:
        >>> import hardlabel
        >>> from hardlabel.reports.plots import draw
        >>> draw(hardlabel.load("runs/digits"), "queries").get_xscale()
        'log'
    """
    one_of(PLOTS, what=what)
    if not isinstance(record, AuditRecord | RecipeRecord):
        kind = type(record).__name__
        raise InvalidInput(f"what must be a plot that a {kind} has, which are none yet, got {what!r}: see figures()")
    if not record.results.attacks:
        raise InvalidInput(f"record must hold an attack to be drawn as {what!r}, got none")
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise InvalidInput("plot needs Matplotlib: pip install 'hardlabel[plot]'") from error
    content = PLOTS[what](record)
    if ax is None:
        _, ax = pyplot.subplots()
    content(ax)
    return ax


def _roc(record: AuditRecord | RecipeRecord) -> Callable[[Any], None]:
    curves = {attack.name: _curve(record, attack.name) for attack in record.results.attacks}
    most = max(len(fpr) for fpr, _ in curves.values())
    if not most:
        raise InvalidInput("record must hold scores to draw ROC curves, got none: load it from its run folder")

    def drawn(ax: Any) -> None:
        for attack in record.results.attacks:
            fpr, tpr = curves[attack.name]
            ax.plot(fpr, tpr, STYLES[Access(attack.access)], label=_plain(attack.name))
        ax.plot([0, 1], [0, 1], ":", color="gray", label="guessing")
        ax.set(xlabel="false-positive rate", ylabel="true-positive rate", xlim=(0, 1), ylim=(0, 1))
        _legend(ax)

    return drawn


def _curve(record: AuditRecord | RecipeRecord, name: str) -> tuple[Sequence[float], Sequence[float]]:
    """The ROC curve of an attack; of a recipe, with one threshold for the scores of all targets."""
    if isinstance(record, AuditRecord):
        stored = record.attack(name).roc
        return stored.fpr, stored.tpr
    if record.scores.empty:
        return [], []
    rows = record.scores[record.scores["attack"] == name]
    curve = roc(rows["score"].to_numpy(dtype=float), rows["member"].to_numpy(dtype=bool))
    return curve.fpr.tolist(), curve.tpr.tolist()


def _queries(record: AuditRecord | RecipeRecord) -> Callable[[Any], None]:
    attacks = [attack for attack in record.results.attacks if attack.auc.value is not None]
    if not attacks:
        raise InvalidInput("record must hold an attack with an AUC to draw it against queries, got none")

    def drawn(ax: Any) -> None:
        for attack in attacks:
            auc, queries = attack.auc, max(attack.queries_per_sample.mean, 0.1)
            assert auc.value is not None, "attacks without an AUC are left out"
            low, high = (auc.value if end is None else end for end in (auc.low, auc.high))
            reach = [[max(0.0, auc.value - low)], [max(0.0, high - auc.value)]]
            marker = MARKERS[Access(attack.access)]
            ax.errorbar([queries], [auc.value], yerr=reach, fmt=marker, capsize=3, label=_plain(attack.name))
        ax.axhline(0.5, linestyle=":", color="gray", label="guessing")
        ax.set(xlabel="queries per record (mean)", ylabel="AUC", xscale="log")
        _legend(ax)

    return drawn


def _exposed(record: AuditRecord | RecipeRecord) -> Callable[[Any], None]:
    """Records that each attack names, right and wrong ones; of a recipe, those that repeated games find exposed."""
    if isinstance(record, AuditRecord):
        named = [(_plain(row.attack), row.right, row.named - row.right) for row in record.results.named if row.named]
        words = ("members", "no members", "records named as members")
    else:
        named = [
            (_plain(f"{row.attack}: {row.which}"), row.found, row.points - row.found) for row in record.results.games
        ]
        words = ("found exposed", "not found exposed", "records tested")
    if not named:
        raise InvalidInput("record must hold exposed records to draw them, got none that an attack names")

    def drawn(ax: Any) -> None:
        names = [name for name, _, _ in named]
        right, wrong = [row[1] for row in named], [row[2] for row in named]
        places = range(len(named))
        ax.barh(places, right, label=words[0])
        ax.barh(places, wrong, left=right, color="lightgray", label=words[1])
        ax.set_yticks(list(places), labels=names)
        ax.invert_yaxis()
        ax.set(xlabel=words[2])
        _legend(ax)

    return drawn


def _plain(name: str) -> str:
    """A name that Matplotlib shows as it is: "$" begins no formula, "_" hides no entry of the legend."""
    text = printed.line(name).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def _legend(ax: Any) -> None:
    ax.legend(fontsize="small", frameon=False)


PLOTS: Mapping[str, Callable[[Any], Callable[[Any], None]]] = {"roc": _roc, "queries": _queries, "exposed": _exposed}
