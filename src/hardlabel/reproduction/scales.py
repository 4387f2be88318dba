"""The scales of a reproduction: how many samples, queries and targets each experiment takes."""

from dataclasses import dataclass

from hardlabel.reproduction.declared import FEWEST_TARGETS
from hardlabel.signals.boundary import MINIMUM_QUERIES


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Sizes of all experiments.

    Attributes:
        name: As `--scale` takes it.
        smoke: Whether scikit-learn's digits take the place of every data set, to show that everything runs.
        many: Members, and as many non-members, that cheap attacks are about.
        few: The same for boundary searches.
        fewest: The same for combined searches.
        searched: The same for boundary searches of figures, which have many cells.
        boundary, combined, noise, little_noise: Queries per sample of these attacks.
        targets: Targets of a cell.
        costly_targets: Targets of a cell with combined searches.
        references: Reference models of attacks that are calibrated per record.
    """

    name: str
    smoke: bool = False
    many: int
    few: int
    fewest: int
    searched: int
    boundary: int = 2500
    combined: int = 12500
    noise: int = 10000
    little_noise: int = 100
    targets: int = FEWEST_TARGETS
    costly_targets: int = FEWEST_TARGETS
    references: int = 12

    def settings(self, data: str, train_size: int, **others: object) -> dict[str, object]:
        """Settings of a cell; at the scale smoke those of a tiny network on digits, with the same training else."""
        if not self.smoke:
            return {"data": data, "train_size": train_size, "references": self.references, **others}
        kept = {name: value for name, value in others.items() if name in ("augment", "weight_decay")}
        size = min(train_size, 100)
        return {
            "data": "digits", "train_size": size, "references": self.references, "arch": "fc", "max_epochs": 15, **kept
        }  # fmt: skip

    @property
    def names(self) -> dict[str, str]:
        """The names of the attacks that the scale fixes: their queries, and at smoke a single set of copies."""
        return {
            "augmentation": "shift=1" if self.smoke else "augmentation",
            "boundary": f"boundary@{self.boundary}",
            "combined": f"combined@{self.combined}",
            "noise": f"noise@{self.noise}",
            "little_noise": f"noise@{self.little_noise}",
        }


SCALES = {
    scale.name: scale
    for scale in (
        Scale(
            name="smoke",
            smoke=True,
            many=40,
            few=20,
            fewest=20,
            searched=20,
            boundary=2 * MINIMUM_QUERIES,
            combined=5 * MINIMUM_QUERIES,
            noise=20,
            little_noise=5,
            targets=1,
            costly_targets=1,
            references=4,
        ),
        Scale(name="cpu", many=1000, few=150, fewest=100, searched=75, costly_targets=2, references=8),
        Scale(name="paper", many=1000, few=500, fewest=500, searched=500),
    )
}
