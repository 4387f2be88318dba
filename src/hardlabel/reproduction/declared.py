"""What an experiment declares: its cells, the attacks on each, what the paper found, and what must hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from hardlabel.runs.settings import ModelSettings

FEWEST_TARGETS = 3  # A cell with fewer targets says so.
PRECISION, OUTLIERS = "precision of ", " on outliers"
TEST_ACCURACY, TRAIN_ACCURACY = "test accuracy", "train accuracy"


@dataclass(frozen=True, kw_only=True)
class Play:
    """Attacks on the same samples, which are therefore compared in pairs.

    Attributes:
        attacks: Names, as `attack_named` reads them.
        samples: Members, and as many non-members, that are attacked.
        mask: A defense of answers that the target wears, with its level; "" for none. The attacker's own models wear
            it too. Figures are shown under "<attack> under <mask>".
        outliers: Share of the samples that are attacked: those with the fewest neighbours; 0 for all. Figures are shown
            under "<attack> on outliers".
    """

    attacks: tuple[str, ...]
    samples: int
    mask: str = ""
    outliers: float = 0.0

    @property
    def suffix(self) -> str:
        """What is added to the names of the attacks in figures."""
        return (f" under {self.mask}" if self.mask else "") + (OUTLIERS if self.outliers else "")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One kind of target, and the attacks on it.

    Attributes:
        name: The cell, in names of files.
        row: The row of the table that shows its figures; cells may share a row.
        settings: Data and training, as `ModelSettings` takes them. The seed is the number of the target.
        plays: The attacks.
        targets: Number of targets: each has its own split, target and shadow model.
        shadow_size: Training samples of the shadow model; None for as many as the target has.
        defense: What the target and the attacker's own models are trained with, as NAME=LEVEL, two joined by "+"; ""
            for nothing.
        pretrain: Data that transfer learning pretrains on; "" for the rest of the cell's own data.
        every_shift: Every image is shown with all its shifts by so many pixels, in every epoch; 0 for no shifts.
        published: The paper's figures in per cent, by attack.
    """

    name: str
    row: str
    settings: Mapping[str, object]
    plays: tuple[Play, ...]
    targets: int = FEWEST_TARGETS
    shadow_size: int | None = None
    defense: str = ""
    pretrain: str = ""
    every_shift: int = 0
    published: Mapping[str, float] = field(default_factory=dict)

    def of_target(self, target: int) -> ModelSettings:
        """The settings of one target. Targets of all cells are trained in float32, so that cells can be compared."""
        return ModelSettings(**{"precision": "float32", **self.settings, "seed": target})

    def identity(self) -> dict[str, object]:
        """All that a target's figures depend on. Fields at their defaults are left out, so that new ones may come."""
        values = _told(self)
        for name in ("row", "targets", "published"):
            values.pop(name, None)
        return {**values, "plays": [_told(play) for play in self.plays], "settings": dict(self.settings)}


def _told(declaration: "Cell | Play") -> dict[str, object]:
    return {
        each.name: value for each in fields(declaration) if (value := getattr(declaration, each.name)) != each.default
    }


@dataclass(frozen=True)
class Figure:
    """A figure of a cell.

    `name` is an attack, for its balanced accuracy; PRECISION and an attack; TEST_ACCURACY or TRAIN_ACCURACY.
    """

    cell: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Something that must hold, judged from the interval of a difference.

    Attributes:
        number: "C1" to "C7", or "" for a statement of a figure that is no claim of its own.
        text: In words.
        left: A figure.
        right: What it is compared with: another figure, or a number in [0, 1].
        rule: "at least": left - right is above -margin; "at most": below margin; "about": within the margin.
        margin: In accuracy, 0 or more; "at least" with 0 means more than the other.
    """

    number: str
    text: str
    left: Figure
    right: Figure | float
    rule: str = "at least"
    margin: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A table or a figure of the paper.

    Attributes:
        name: As `hardlabel reproduce` takes it.
        title: What it shows.
        paper: What the paper found, in a sentence.
        differs: How this experiment differs from the paper's, one sentence each.
        cells: The cells.
        claims: What must hold.
    """

    name: str
    title: str
    paper: str
    differs: Sequence[str] = ()
    cells: Sequence[Cell] = ()
    claims: Sequence[Claim] = ()

    def cell(self, name: str) -> Cell:
        """The cell of this name."""
        return next(cell for cell in self.cells if cell.name == name)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One target of one cell: the smallest thing that is run, kept and skipped.

    Attributes:
        experiment: Name of the experiment.
        cell: The cell.
        target: Number of the target.
    """

    experiment: str
    cell: Cell
    target: int

    @property
    def name(self) -> str:
        """The part in messages."""
        return f"{self.experiment} {self.cell.name}, target {self.target + 1} of {self.cell.targets}"

    @property
    def file(self) -> str:
        """Where its summary is kept, below the folder of the scale."""
        return f"{self.experiment}/{self.cell.name}-{self.target}.json"


def parts_of(experiments: Sequence[Experiment]) -> list[Part]:
    """All parts, the first target of every cell first: a table is then whole as early as possible."""
    parts = [
        Part(experiment=experiment.name, cell=cell, target=target)
        for experiment in experiments
        for cell in experiment.cells
        for target in range(cell.targets)
    ]
    order = {experiment.name: number for number, experiment in enumerate(experiments)}
    return sorted(parts, key=lambda part: (order[part.experiment], part.target))
