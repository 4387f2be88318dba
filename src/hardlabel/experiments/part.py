"""What every part of a record is."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of a record: frozen, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
