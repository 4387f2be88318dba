"""A defense: confidences are shown as "sure" or "unsure", and nothing in between."""

from dataclasses import dataclass

from hardlabel.checks import InvalidInput
from hardlabel.defenses.guarded import GuardedScores, with_scores
from hardlabel.defenses.table import Row


@dataclass(frozen=True, kw_only=True)
class Blunt:
    """Shows `sure` for the label where the model is as sure, else 1/2; the rest is spread evenly. Keeps labels."""

    sure: float

    def __post_init__(self):
        if not 0.5 < self.sure < 1:
            raise InvalidInput(f"sure must lie between 0.5 and 1, got {self.sure}")

    def check(self, defender): ...  # It needs nothing of the defender.

    def guard(self, model, members, defender, *, seed):
        return GuardedScores(with_scores(model, "blunt"), self.masked)

    def masked(self, inputs, confidences):  # (q, classes), float64.
        highest, label = confidences.max(1, keepdim=True)
        top = (highest >= self.sure) * (self.sure - 0.5) + 0.5
        rest = (1 - top) / (confidences.shape[1] - 1)
        return rest.expand_as(confidences).scatter(1, label, top)


DEFENSE = Row(
    name="blunt",
    summary="confidences are sure or unsure",
    source="an example",
    knob="sure from",
    levels=(0.9, 0.7),
    cost="confidences",
    build=lambda level: Blunt(sure=level),
    keeps_labels=True,
    trains=False,
    guards=True,
)
