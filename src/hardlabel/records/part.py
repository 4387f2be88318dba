"""The base class of every part of a record."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict


class RecordPart(BaseModel):
    """A part of a record: frozen, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def contradictions(self) -> Iterable[str]:
        """Where the figures of this part contradict each other, in words; see `records.rules`."""
        return ()
