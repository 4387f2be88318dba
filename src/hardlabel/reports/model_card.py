"""A record as the part of a model card: a section in Markdown, and metadata as Hugging Face reads them."""

import math
from collections.abc import Iterator
from typing import Any

import yaml

from hardlabel import printed
from hardlabel.checks import cut
from hardlabel.metrics.estimate import Estimate
from hardlabel.records.base import Record
from hardlabel.records.canaries import CanaryRecord
from hardlabel.records.defenses import DefendRecord
from hardlabel.reports import wording
from hardlabel.reports.text import table_of
from hardlabel.signals.base import Access

TASK = "membership-inference"
SHOWN = ("auc", "tpr", "balanced_accuracy", "epsilon_at_least", "test_accuracy")
NAMES = {
    "auc": "AUC",
    "tpr": "TPR",
    "balanced_accuracy": "Balanced accuracy",
    "epsilon_at_least": "Epsilon, at least",
    "test_accuracy": "Accuracy on non-members",
}
LONGEST = 200  # Characters of a name in metadata.


def model_card(record: Record[Any]) -> str:
    """The section "Membership inference" of a model card, in Markdown.

    Names in the record are shown as they are: none is read as Markdown or HTML.

    Example:
        >>> import hardlabel
        >>> from hardlabel.reports.model_card import model_card
        >>> print(model_card(hardlabel.load("runs/digits")))
        ## Membership inference
        ...
    """
    results = record.results
    confidence = getattr(results, "confidence", 0.95)
    rows = [
        [owner, access, name, wording.figure(estimate).replace(wording.SPACE, " ")]
        for owner, access, _, name, estimate in _figures(record)
    ]
    lines = ["## Membership inference", "", f"**{printed.cell(record.title)}.**", ""]
    lines += [text for reason in record.reasons for text in (printed.paragraph(reason), "")]
    lines += [printed.paragraph(_what(record)), ""]
    if rows:
        lines += [table_of(["attack", "sees", "figure", f"value [{100 * confidence:g} % interval]"], rows), ""]
    lines += [printed.paragraph(_limits(record)), ""]
    version = results.environment.versions.get("hardlabel", "")
    made = (
        f"Measured by hardlabel {version}".strip()
        + f" on {wording.date(results.environment.started)}, record {record.id}."
    )
    lines.append(printed.paragraph(made))
    return "\n".join(lines)


def metadata(record: Record[Any], *, name: str | None = None) -> dict[str, Any]:
    """The `model-index` of a model card: one result, whose metrics have their intervals in `args`; and the verdict.

    Args:
        record: A record.
        name: Name of the model; None for the target's name in the settings, else for the data's.

    Example:
        >>> import hardlabel
        >>> from hardlabel.reports.model_card import metadata
        >>> index = metadata(hardlabel.load("runs/digits"), name="digits")["model-index"]
        >>> index[0]["results"][0]["metrics"][0]["value"]
        0.61
    """
    results = record.results
    confidence = getattr(results, "confidence", 0.95)
    data = _text(results.data)
    metrics = []
    for owner, access, figure, shown, estimate in _figures(record):
        args: dict[str, object] = {"attack": _text(owner), "sees": access, "confidence": confidence}
        args |= {end: value for end, value in (("low", estimate.low), ("high", estimate.high)) if value is not None}
        told = _text(f"{shown}: {owner}")
        metrics.append({"type": figure, "name": told, "value": estimate.value, "args": args})
    called = record.config.get("target") if name is None else name
    result = {
        "task": {"type": TASK, "name": "Membership inference audit"},
        "dataset": {"name": data, "type": data},
        "metrics": metrics,
    }
    audit = {
        "verdict": _text(record.title),
        "record": record.id,
        "version": _text(results.environment.versions.get("hardlabel", "")),
    }
    return {"model-index": [{"name": _text(str(called or data)), "results": [result]}], "hardlabel": audit}


def card(record: Record[Any]) -> str:
    """The metadata between lines of dashes, then the section: a model card to begin with, or to copy from."""
    block = yaml.safe_dump(metadata(record), sort_keys=False, allow_unicode=True)
    return f"---\n{block}---\n\n{model_card(record)}"


def _figures(record: Record[Any]) -> Iterator[tuple[str, str, str, str, Estimate]]:
    """Whose figure, what the attacker sees, the figure, its name in words, and the figure with its interval."""
    for row in record.figures().to_dict("records"):
        if row["figure"] not in SHOWN or math.isnan(row["value"]):
            continue
        owner = ", ".join(str(row[name]) for name in ("defense", "attack") if row.get(name))
        owner = f"{row['canaries']} canaries" if "canaries" in row else owner
        low, high = (None if math.isnan(row[end]) else float(row[end]) for end in ("low", "high"))
        figure, shown = str(row["figure"]), NAMES[row["figure"]]
        if not math.isnan(row["fpr"]):
            figure, shown = f"{figure}_at_{row['fpr']:g}", f"{shown} at {100 * row['fpr']:g} % FPR"
        yield owner or "the model", str(row["access"]), figure, shown, Estimate(float(row["value"]), low, high)


def _what(record: Record[Any]) -> str:
    """What was done, in a sentence or two."""
    results = record.results
    if isinstance(record, CanaryRecord):
        return f"Training on {results.data} was audited with planted canaries: lower bounds on epsilon."
    if isinstance(record, DefendRecord):
        return f"Defenses were compared on {results.data}, with {results.targets} models each."
    asked = (
        f"{results.members:,} members and {results.nonmembers:,} non-members"
        if hasattr(results, "members")
        else f"{results.samples:,} records by {len(results.targets)} models"
    )
    labels = [attack for attack in results.attacks if attack.access == Access.LABEL]
    return (
        f"An attacker tries to tell members of the training data from other records of {results.data}. {asked} were "
        f"asked about, by {len(labels)} attacks that see labels only and {len(results.attacks) - len(labels)} that see "
        "confidences. An AUC of 0.5 is guessing."
    )


def _limits(record: Record[Any]) -> str:
    if isinstance(record, CanaryRecord):
        return "Limits: a low bound does not prove privacy; only an accountant's guarantee bounds epsilon from above."
    return (
        "Limits: the figures are about average records and known attacks. Future attacks may find more, and single "
        "records can be at higher risk."
    )


def _text(text: str) -> str:
    """A name in one line, not too long."""
    return cut(printed.line(text), LONGEST)
