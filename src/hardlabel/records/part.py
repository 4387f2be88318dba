"""The base class of every part of a record."""

from pydantic import BaseModel, ConfigDict


class RecordPart(BaseModel):
    """A part of a record: frozen, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
