"""The sections of a page: findings by number, appendices by letter."""

from collections.abc import Sequence
from dataclasses import dataclass

FINDINGS = {
    "findings": ("findings", "Findings"),
    "risk": ("who is at risk", "Who is at risk"),
    "limits": ("limits", "Limits: what these figures do not prove"),
}
APPENDICES = {
    "attacks": ("attacks compared", "Attacks compared"),
    "method": ("method and cost", "Method and cost"),
    "reproduce": ("settings", "Settings, and how to reproduce"),
    "glossary": ("glossary", "Words used"),
    "signature": ("signature", "Signature"),
}


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section: its id on the page, its number or letter, its name in the contents, and its heading."""

    name: str
    mark: str
    short: str
    title: str


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What frames the page of one kind of record.

    Attributes:
        kind: The kind of page, for the title of the window.
        kicker: The kind of page, for the line above the heading.
        badge: What the heading is: a verdict or a recommendation.
        without: Sections that this kind does not have.
        terms: The words that the glossary explains; see `glossary.TERMS`.
    """

    kind: str
    kicker: str
    badge: str = "Verdict"
    without: Sequence[str] = ()
    terms: Sequence[str]


def sections(without: Sequence[str] = ()) -> dict[str, Section]:
    """All sections in their order on the page, by name."""
    numbered = [name for name in FINDINGS if name not in without]
    lettered = [name for name in APPENDICES if name not in without]
    marks = {name: str(place) for place, name in enumerate(numbered, start=1)}
    marks |= {name: chr(ord("A") + place) for place, name in enumerate(lettered)}
    return {
        name: Section(name=name, mark=mark, short=short, title=title)
        for name, mark in marks.items()
        for short, title in [(FINDINGS | APPENDICES)[name]]
    }
