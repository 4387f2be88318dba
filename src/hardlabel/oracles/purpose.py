"""What a question is asked for: an attack, or a part of the audit itself.

Oracles are asked through several layers. The purpose passes all of them beside the question, from the account that pays
to the ledger that writes it down.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(frozen=True, eq=False)
class Purpose:
    """What questions are asked for.

    Attributes:
        name: An attack's name, or another word such as "accuracy".
        limited: Whether the budget per sample holds for it. It does for attacks.
        replayed: Whether an answer in the ledger will do. It will not where the question is whether the model changed.
        incomplete: Ids of the samples about which some rows have no answer, because rows of unknown fate used up their
            budget. An oracle that keeps a ledger adds to it.
    """

    name: str
    limited: bool = False
    replayed: bool = True
    incomplete: set[int] = field(default_factory=set)


_CURRENT: ContextVar[Purpose] = ContextVar("purpose")


@contextmanager
def asked_for(purpose: Purpose) -> Iterator[None]:
    """Within this block, this thread asks for `purpose`.

    Example:
        >>> from hardlabel.oracles.purpose import Purpose, asked_for, current
        >>> with asked_for(Purpose("noise", limited=True)):
        ...     current().name
        'noise'
    """
    token = _CURRENT.set(purpose)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current() -> Purpose:
    """What this thread asks for; "audit" outside of `asked_for`."""
    return _CURRENT.get(None) or Purpose("audit")
