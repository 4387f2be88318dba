"""How the work of an audit gets done: where, and in pieces of which size. No result depends on it."""

from dataclasses import dataclass, field

from hardlabel import checks
from hardlabel.executors import Executor, Local
from hardlabel.experiments.chunks import CHUNK


@dataclass(frozen=True, kw_only=True)
class Work:
    """Where pieces are made, and how large they are.

    Attributes:
        executor: Trains and measures the attacker's own models.
        chunk: Samples of a measured piece: what a run that breaks off may lose of one model.

    Raises:
        InvalidInput: `chunk` is below 1.
    """

    executor: Executor = field(default_factory=Local)
    chunk: int = CHUNK

    def __post_init__(self) -> None:
        checks.at_least(1, chunk=self.chunk)


USUAL = Work()
