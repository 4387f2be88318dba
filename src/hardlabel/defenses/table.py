"""The table of defenses: names, papers, knobs and their usual strengths, costs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.defenses.adversarial_regularization import AdversarialRegularization
from hardlabel.defenses.augmentation import Augmentation
from hardlabel.defenses.base import DataDefense, Defense, InferenceDefense, TrainingDefense
from hardlabel.defenses.double_dip import DoubleDip
from hardlabel.defenses.dp_sgd import DPSGD
from hardlabel.defenses.dropout import Dropout
from hardlabel.defenses.early_stopping import EarlyStopping
from hardlabel.defenses.hamp import HAMP, HAMPOutput
from hardlabel.defenses.l1 import L1
from hardlabel.defenses.l2 import L2
from hardlabel.defenses.label_noise import LabelNoise
from hardlabel.defenses.label_only import LabelOnly
from hardlabel.defenses.label_smoothing import LabelSmoothing
from hardlabel.defenses.ldl import LDL
from hardlabel.defenses.memguard import MemGuard
from hardlabel.defenses.memguard_ideal import IdealMemGuard
from hardlabel.defenses.mixup import Mixup
from hardlabel.defenses.moved_copies import MovedCopies
from hardlabel.defenses.noisy_copies import NoisyCopies
from hardlabel.defenses.private_transfer import PrivateTransfer
from hardlabel.defenses.randomized_response import RandomizedResponse
from hardlabel.defenses.relaxloss import RelaxLoss
from hardlabel.defenses.rounding import Rounding
from hardlabel.defenses.selena import SELENA
from hardlabel.defenses.selena_labels import SELENALabels
from hardlabel.defenses.temperature import Temperature
from hardlabel.defenses.top_k import TopK
from hardlabel.defenses.transfer_learning import TransferLearning
from hardlabel.plugins import Registry


@dataclass(frozen=True, kw_only=True)
class Row:
    """A defense and its strengths.

    Attributes:
        name: How users ask for it.
        summary: What it does, in one line.
        source: Paper.
        knob: What a level means, in words; empty where there is no strength to choose.
        levels: Usual strengths, weakest first; empty where there is no strength to choose.
        cost: The cost other than accuracy, in words.
        build: The defense at a level; raises InvalidInput where it is out of range. The level is None without a knob.
        whole: Whether levels are whole numbers.
        keeps_labels: Whether every answer's label stays the undefended model's.
        trains: Whether it changes the training, which must be that of our networks.
        prepares: Whether it changes the training data; any training will do.
        guards: Whether it wraps the model.
        shows_scores: Whether its models show confidences, masked or not, as well as labels.

    Example:
        >>> from hardlabel.defenses.table import TABLE
        >>> row = TABLE["l2"]
        >>> row.build(0.01)
        L2(decay=0.01)
        >>> row.knob, row.suits
        ('weight decay', 'our networks')
    """

    name: str
    summary: str
    source: str
    knob: str
    levels: tuple[float, ...]
    cost: str
    build: Callable[[float], Defense]
    whole: bool = False
    keeps_labels: bool = False
    trains: bool = True
    prepares: bool = False
    guards: bool = False
    shows_scores: bool = True

    @property
    def suits(self) -> str:
        """The training that the defense suits: "our networks" or "any"."""
        return "our networks" if self.trains else "any"


@dataclass(frozen=True, kw_only=True)
class Strength:
    """A defense at one level.

    Attributes:
        row: Its row.
        level: Its strength, or None where it has no knob.
        defense: The object.
    """

    row: Row
    level: float | None
    defense: Defense

    @property
    def name(self) -> str:
        """Defense and level: "l2 0.01"."""
        return self.row.name if self.level is None else f"{self.row.name} {self.level:g}"

    @property
    def training(self) -> TrainingDefense | None:
        """The defense, if it changes the training."""
        return self.defense if isinstance(self.defense, TrainingDefense) else None

    @property
    def data(self) -> DataDefense | None:
        """The defense, if it changes the training data."""
        return self.defense if isinstance(self.defense, DataDefense) else None

    @property
    def inference(self) -> InferenceDefense | None:
        """The defense, if it wraps the model."""
        return self.defense if isinstance(self.defense, InferenceDefense) else None


def _data(
    name: str,
    summary: str,
    source: str,
    *,
    knob: str,
    levels: tuple[float, ...],
    cost: str,
    build: Callable[[float], Defense],
    whole: bool = False,
) -> Row:
    return Row(
        name=name,
        summary=summary,
        source=source,
        knob=knob,
        levels=levels,
        cost=cost,
        build=build,
        whole=whole,
        trains=False,
        prepares=True,
    )


def _mask(
    name: str,
    summary: str,
    source: str,
    *,
    knob: str,
    levels: tuple[float, ...],
    build: Callable[[float], Defense],
    cost: str = "nothing",
    whole: bool = False,
    keeps_labels: bool = True,
    shows_scores: bool = True,
) -> Row:
    return Row(
        name=name,
        summary=summary,
        source=source,
        knob=knob,
        levels=levels,
        cost=cost,
        build=build,
        whole=whole,
        keeps_labels=keeps_labels,
        trains=False,
        guards=True,
        shows_scores=shows_scores,
    )


_ROWS: tuple[Row, ...] = (
    Row(
        name="l1",
        summary="a penalty on the absolute values of the weights",
        source="Choquette-Choo et al. 2021",
        knob="penalty",
        levels=(1e-5, 1e-4, 1e-3),
        cost="nothing",
        build=lambda level: L1(penalty=level),
    ),
    Row(
        name="l2",
        summary="a penalty on the squared weights",
        source="Choquette-Choo et al. 2021",
        knob="weight decay",
        levels=(1e-3, 5e-3, 2e-2),
        cost="nothing",
        build=lambda level: L2(decay=level),
    ),
    Row(
        name="dropout",
        summary="dense layers see a random part of their inputs in training",
        source="Srivastava et al. 2014",
        knob="rate",
        levels=(0.25, 0.5, 0.75),
        cost="more epochs",
        build=lambda level: Dropout(rate=level),
    ),
    Row(
        name="early-stopping",
        summary="training ends at a training accuracy",
        source="Song & Mittal 2021",
        knob="training accuracy",
        levels=(0.95, 0.85, 0.7),
        cost="saves time",
        build=lambda level: EarlyStopping(accuracy=level),
    ),
    Row(
        name="label-smoothing",
        summary="a part of each label goes to all classes",
        source="Szegedy et al. 2016",
        knob="share",
        levels=(0.1, 0.3, 0.6),
        cost="calibrated confidences",
        build=lambda level: LabelSmoothing(share=level),
    ),
    Row(
        name="mixup",
        summary="training on weighted means of two samples",
        source="Zhang et al. 2018",
        knob="alpha",
        levels=(0.2, 1.0, 4.0),
        cost="more epochs",
        build=lambda level: Mixup(alpha=level),
    ),
    Row(
        name="augmentation",
        summary="images are shown shifted and mirrored",
        source="Choquette-Choo et al. 2021",
        knob="pixels",
        levels=(1, 2, 4),
        cost="more epochs",
        build=lambda level: Augmentation(distance=int(level)),
        whole=True,
    ),
    Row(
        name="dp-sgd",
        summary="clipped gradients and noise, with a guarantee",
        source="Abadi et al. 2016",
        knob="epsilon",
        levels=(100.0, 10.0, 1.0),
        cost="2 to 10 times the training",
        build=lambda level: DPSGD(epsilon=level),
    ),
    Row(
        name="adversarial-regularization",
        summary="training against an attack network",
        source="Nasr et al. 2018",
        knob="weight",
        levels=(0.1, 0.3, 1.0),
        cost="2 to 3 times the training; samples aside",
        build=lambda level: AdversarialRegularization(weight=level),
    ),
    Row(
        name="relaxloss",
        summary="training keeps the loss near a level",
        source="Chen et al. 2022",
        knob="loss",
        levels=(0.1, 0.5, 1.0),
        cost="calibrated confidences",
        build=lambda level: RelaxLoss(level=level),
    ),
    Row(
        name="hamp",
        summary="uncertain labels in training, random confidences in answers",
        source="Chen & Pattabiraman 2024",
        knob="entropy",
        levels=(0.3, 0.6, 0.9),
        cost="calibrated confidences",
        build=lambda level: HAMP(entropy=level),
        guards=True,
    ),
    Row(
        name="selena",
        summary="taught by sub-models that never saw the sample",
        source="Tang et al. 2022",
        knob="share held out",
        levels=(0.2, 0.4, 0.6),
        cost="11 trainings",
        build=lambda level: SELENA(held_out=level),
    ),
    Row(
        name="transfer",
        summary="pretrained on other data; the last layers learn on",
        source="Choquette-Choo et al. 2021",
        knob="layers frozen",
        levels=(0.0, 0.5, 1.0),
        cost="other data",
        build=lambda level: TransferLearning(frozen=level),
    ),
    Row(
        name="transfer+dp-sgd",
        summary="pretrained on other data; the last layer learns on with a guarantee",
        source="Choquette-Choo et al. 2021",
        knob="epsilon",
        levels=(100.0, 10.0, 1.0),
        cost="one more training; 2 to 10 times the training",
        build=lambda level: PrivateTransfer(epsilon=level),
    ),
    Row(
        name="double-dip",
        summary="transfer learning, then a vote of noisy copies",
        source="Rajabi et al. 2024",
        knob="noise",
        levels=(0.02, 0.05, 0.1),
        cost="other data; 26 passes per answer",
        build=lambda level: DoubleDip(noise=level),
        guards=True,
        shows_scores=False,
    ),
    _data(
        "noisy-copies",
        "training on noisy copies of the samples in their place",
        "Kaya & Dumitras 2021",
        knob="place among the noise levels",
        levels=(0.25, 0.5, 0.75),
        cost="5 times the training",
        build=lambda level: NoisyCopies(strength=level),
    ),
    _data(
        "moved-copies",
        "training on images and all their shifted and mirrored copies",
        "Choquette-Choo et al. 2021",
        knob="pixels",
        levels=(1, 2, 3),
        cost="6 to 26 times the training",
        build=lambda level: MovedCopies(distance=int(level)),
        whole=True,
    ),
    _data(
        "label-noise",
        "some training labels are drawn anew",
        "Xie et al. 2016",
        knob="share",
        levels=(0.05, 0.1, 0.2),
        cost="nothing",
        build=lambda level: LabelNoise(share=level),
    ),
    _data(
        "selena-labels",
        "training on the labels that sub-models without the sample give it",
        "Tang et al. 2022",
        knob="share held out",
        levels=(0.2, 0.4, 0.6),
        cost="11 trainings",
        build=lambda level: SELENALabels(held_out=level),
    ),
    _mask(
        "memguard",
        "noise on confidences that confuses an attack network",
        "Jia et al. 2019",
        knob="expected distortion",
        levels=(0.1, 0.5, 1.0),
        build=lambda level: MemGuard(distortion=level),
        cost="an attack network; a search per answer",
    ),
    _mask(
        "memguard-ideal",
        "confidences that tell the label and nothing else",
        "Choquette-Choo et al. 2021",
        knob="",
        levels=(),
        build=lambda level: IdealMemGuard(),
        cost="confidences",
    ),
    _mask(
        "hamp-output",
        "a random input's confidences in the model's order",
        "Chen & Pattabiraman 2024",
        knob="",
        levels=(),
        build=lambda level: HAMPOutput(),
        cost="calibrated confidences",
    ),
    _mask(
        "top-k",
        "only the highest confidences are shown",
        "Shokri et al. 2017",
        knob="k",
        levels=(5, 3, 1),
        build=lambda level: TopK(k=int(level)),
        whole=True,
    ),
    _mask(
        "rounding",
        "confidences are shown to a few decimals",
        "Shokri et al. 2017",
        knob="decimals",
        levels=(3, 2, 1),
        build=lambda level: Rounding(digits=int(level)),
        whole=True,
    ),
    _mask(
        "temperature",
        "confidences are flattened",
        "Shokri et al. 2017",
        knob="temperature",
        levels=(2.0, 5.0, 20.0),
        build=lambda level: Temperature(temperature=level),
    ),
    _mask(
        "label-only",
        "no confidences at all",
        "Choquette-Choo et al. 2021",
        knob="",
        levels=(),
        build=lambda level: LabelOnly(),
        cost="confidences",
        shows_scores=False,
    ),
    _mask(
        "randomized-response",
        "the label is sometimes another one",
        "Warner 1965; Kairouz et al. 2016",
        knob="epsilon",
        levels=(6.0, 4.0, 2.0),
        build=lambda level: RandomizedResponse(epsilon=level),
        cost="confidences",
        keeps_labels=False,
        shows_scores=False,
    ),
    _mask(
        "ldl",
        "the label that most noisy copies get",
        "Rajabi et al. 2022",
        knob="noise",
        levels=(0.02, 0.05, 0.1),
        build=lambda level: LDL(noise=level),
        cost="26 passes per answer; confidences",
        keeps_labels=False,
        shows_scores=False,
    ),
)

TABLE: Registry[Row] = Registry("hardlabel.defenses", {row.name: row for row in _ROWS}, type=Row)


def chosen(names: Sequence[str] | None, levels: Mapping[str, Sequence[float]] | None = None) -> list[Strength]:
    """Each named defense (None: all) at its usual levels, or at those given for its name.

    Raises:
        InvalidInput: A name is unknown or there is none, or a level is out of range.
    """
    asked = list(TABLE) if names is None else list(dict.fromkeys(names))
    if not asked:
        raise InvalidInput("defenses must name at least one defense, got none")
    for name in asked:
        checks.one_of(TABLE, defense=name)
    for name in levels or {}:
        if name not in asked:
            raise InvalidInput(f"levels must be for the defenses asked for, got {name!r}")
    return [strength for name in asked for strength in _strengths(TABLE[name], (levels or {}).get(name))]


def _strengths(row: Row, levels: Sequence[float] | None) -> list[Strength]:
    if not row.levels:
        if levels:
            raise InvalidInput(f"levels of defense {row.name!r} must be left out: it has no strength to set")
        return [Strength(row=row, level=None, defense=row.build(0.0))]
    if levels is not None and not levels:
        raise InvalidInput(f"levels of defense {row.name!r} must hold at least one {row.knob}, got none")
    return [_at(row, float(level)) for level in dict.fromkeys(row.levels if levels is None else levels)]


def _at(row: Row, level: float) -> Strength:
    try:
        if row.whole and level != int(level):
            raise InvalidInput(f"{row.knob} must be a whole number, got {level:g}")
        return Strength(row=row, level=level, defense=row.build(level))
    except (InvalidInput, ValueError, OverflowError) as error:
        raise InvalidInput(f"level of defense {row.name!r}: {error}") from error
