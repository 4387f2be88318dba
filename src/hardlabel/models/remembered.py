"""Models of a function that are asked for several times, and that no store may be able to keep."""

from collections.abc import Callable
from dataclasses import dataclass, field

from hardlabel.data.samples import Samples
from hardlabel.models.model_store import content_hash
from hardlabel.models.train import EpochReport
from hardlabel.models.trainers import FunctionTrainer, Made


@dataclass(frozen=True, kw_only=True, eq=False)
class RememberedTrainer(FunctionTrainer):
    """Calls the user's function once for the same samples and seed, and remembers the model in this process.

    Whoever asks twice gets the same model, even if the function draws at random or its models cannot be pickled.
    """

    _models: dict[tuple[str, int], Made] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, trainer: FunctionTrainer) -> "RememberedTrainer":
        """The same way of training, with a memory."""
        return cls(function=trainer.function, arrays=trainer.arrays, name=trainer.name, store=trainer.store)

    def fit(self, samples: Samples, seed: int, on_epoch: Callable[[EpochReport], None] | None = None) -> Made:
        """See `Trainer`."""
        place = content_hash(samples), seed
        if place not in self._models:
            self._models[place] = super().fit(samples, seed, on_epoch)
        return self._models[place]
