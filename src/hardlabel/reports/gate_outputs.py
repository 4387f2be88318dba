"""The outcome of a gate for build servers: JUnit XML, a Markdown summary, GitHub's annotations.

Names in a record are data: none of them is read as XML, Markdown or a workflow command.
"""

import re
from typing import Literal
from xml.etree import ElementTree

from hardlabel import printed
from hardlabel.records.gate import Decision, GateResult, Outcome

Undecided = Literal["pass", "fail"] | None

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # Characters that XML 1.0 cannot hold.
_MARKS = {Outcome.PASSED: "✅", Outcome.TRIPPED: "❌", Outcome.UNDECIDED: "❔"}
_LINKS = re.compile(r"@(?=\w)|#(?=\d)|(?<=[A-Za-z])://|\bwww\.", re.IGNORECASE)  # What GitHub makes a link.
_EXIT = {Outcome.PASSED: 0, Outcome.TRIPPED: 3, Outcome.UNDECIDED: 4}


def exit_code(outcome: Outcome, undecided: Undecided = None) -> int:
    """The exit code of a gate: 0 passed, 3 tripped, 4 undecided; or 0 or 3 for undecided, as the user wants it.

    Example:
        >>> from hardlabel.records.gate import Outcome
        >>> from hardlabel.reports.gate_outputs import exit_code
        >>> exit_code(Outcome.UNDECIDED), exit_code(Outcome.UNDECIDED, "pass")
        (4, 0)
    """
    if outcome is Outcome.UNDECIDED and undecided is not None:
        outcome = Outcome.PASSED if undecided == "pass" else Outcome.TRIPPED
    return _EXIT[outcome]


def junit(result: GateResult, *, undecided: Undecided = None) -> str:
    """JUnit XML with a test case for each condition.

    A tripped condition is a failure. An undecided condition is an error, or what `undecided` makes of it: a skipped
    test, or a failure.
    """
    outcomes = [decision.outcome for decision in result.conditions]
    parts = {
        Outcome.TRIPPED: "failure",
        Outcome.UNDECIDED: {None: "error", "pass": "skipped", "fail": "failure"}[undecided],
    }
    told = [parts.get(outcome, "") for outcome in outcomes]
    counts = {
        "tests": str(len(told)),
        "failures": str(told.count("failure")),
        "errors": str(told.count("error")),
        "skipped": str(told.count("skipped")),
    }
    suites = ElementTree.Element("testsuites", {"name": "hardlabel", **counts})
    suite = ElementTree.SubElement(suites, "testsuite", {"name": "hardlabel gate", **counts})
    for decision, part in zip(result.conditions, told, strict=True):
        case = ElementTree.SubElement(suite, "testcase", classname="hardlabel.gate", name=_xml(decision.condition))
        words = _xml(_sentence(decision))
        if part:
            kinds = {} if part == "skipped" else {"type": str(decision.outcome)}
            ElementTree.SubElement(case, part, {"message": words, **kinds})
        ElementTree.SubElement(case, "system-out").text = words
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=False) + "\n"


def summary(result: GateResult, *, title: str) -> str:
    """The outcome as Markdown for a pull request: a heading, the verdict, a row for each condition.

    Args:
        result: The outcome.
        title: The record's answer in a few words.
    """
    rows = [
        f"| {_MARKS[decision.outcome]} {decision.outcome} | {_cell(decision.condition)} | {_cell(decision.figure)} "
        f"| {_cell(decision.reason)} |"
        for decision in result.conditions
    ]
    head = ["| | must not be | figure | why |", "|---|---|---|---|"]
    return "\n".join(
        [f"### {_MARKS[result.outcome]} Gate {result.outcome}", "", f"{_cell(title)}.", "", *head, *rows, ""]
    )


def annotations(result: GateResult, *, undecided: Undecided = None) -> list[str]:
    """GitHub's workflow commands, a line for each condition: an error, a warning or a notice."""
    levels = {
        Outcome.PASSED: "notice",
        Outcome.TRIPPED: "error",
        Outcome.UNDECIDED: {None: "error", "pass": "warning", "fail": "error"}[undecided],
    }
    return [
        f"::{levels[decision.outcome]} title={_property(f'hardlabel gate {decision.outcome}')}::"
        f"{_message(f'{decision.condition}: {_sentence(decision)}')}"
        for decision in result.conditions
    ]


def plain(result: GateResult) -> list[str]:
    """Lines for a terminal or the log of a build server; no line is a workflow command of GitHub's.

    Such a command begins a line with two colons, or stands anywhere as "##[".
    """
    lines = [f"gate {result.outcome}", *map(str, result.conditions)]
    return [line.replace("##[", "# #[") for line in lines]


def _sentence(decision: Decision) -> str:
    figure = f"{decision.figure}: " if decision.figure else ""
    return f"{decision.outcome}: {figure}{decision.reason}"


def _xml(text: str) -> str:
    """The text in one line, without what XML cannot hold. Quotes and brackets are the writer's to escape."""
    return _NO_XML.sub("\ufffd", printed.line(text))


def _cell(text: str) -> str:
    """The text in a cell, where it mentions nobody and links nowhere: an empty comment parts what would."""
    return _LINKS.sub(lambda part: _parted(part[0]), printed.cell(text))


def _paragraph(text: str) -> str:
    return _LINKS.sub(lambda part: _parted(part[0]), printed.paragraph(text))


def _parted(text: str) -> str:
    return f"{text[:-1]}<!-- -->{text[-1]}" if len(text) > 1 else f"{text}<!-- -->"


def _message(text: str) -> str:
    return printed.line(text).replace("%", "%25")  # Line ends are written out already.


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
