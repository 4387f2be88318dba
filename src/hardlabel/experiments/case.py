"""A case: everything an audit works on, checked before any training or query."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from hardlabel import attacks, checks
from hardlabel.attacks import Attack, ScoreAttack
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Domain
from hardlabel.data.samples import Samples
from hardlabel.models.kept import weights_hash
from hardlabel.oracles.base import LabelOracle, LabelsOfScores, ScoreOracle
from hardlabel.oracles.pytorch import TorchScores
from hardlabel.store import JSON

FEWEST_SHADOW = 20  # Shadow members, and non-members, below which no threshold or network is chosen.
MOST_ATTACKED = 1000  # Members, and non-members, attacked where nobody says how many.
MOST_SHADOW = 500  # The same on the shadow model.


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What is asked of an audit, whatever the case.

    Attributes:
        attacks: Names of attacks, or attacks of one's own; None for all that suit.
        budget: Most queries per sample and attack; None for each attack's usual number.
        prior: Share of members among those an attacker would ask about, strictly between 0 and 1.
        networks: "all" for one attack network for all classes, "class" for one per class.
        seed: Fixes every draw.

    Raises:
        InvalidInput: A value of the wrong type or out of its range.
    """

    attacks: tuple[str | Attack, ...] | None = None
    budget: int | None = None
    prior: float = 0.01
    networks: str = "all"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, number in (("budget", self.budget), ("seed", self.seed)):
            if number is not None and not isinstance(number, int):
                raise InvalidInput(f"{name} must be a whole number, got {number!r}")
        checks.open_fraction(prior=self.prior)
        checks.one_of(("all", "class"), networks=self.networks)

    def chosen(self, domain: Domain, *, scores: bool, no_shadow: str | None) -> tuple[list[Attack], dict[str, str]]:
        """The attacks to run, and the ones left out with the reason; see `attacks.chosen`.

        Args:
            domain: Of the samples attacked.
            scores: Whether the target shows its confidence vectors.
            no_shadow: Why there is no shadow model; None where there is one.

        Raises:
            InvalidInput: An attack asked for cannot be run.
        """
        rows, left_out = attacks.chosen(self.attacks, domain, self.budget)
        possible = []
        for row in rows:
            reason = _impossible(row, scores=scores, no_shadow=no_shadow)
            if reason is None:
                possible.append(attacks.with_networks_per_class(row) if self.networks == "class" else row)
            elif self.attacks is not None:
                raise InvalidInput(f"attack {row.name!r} cannot be run: {reason}")
            else:
                left_out[row.name] = reason
        return possible, left_out


def _impossible(attack: Attack, *, scores: bool, no_shadow: str | None) -> str | None:
    """Why the attack cannot be played, or None."""
    if isinstance(attack, ScoreAttack) and not scores:
        return "the target answers with labels only"
    if no_shadow is not None and attack.calibration.requires_references:
        return f"it needs a shadow model: {no_shadow}"
    return None


@dataclass(frozen=True, kw_only=True, eq=False)
class Oracles:
    """A model as the audit asks it.

    Attributes:
        labels: Its labels.
        scores: Its confidence vectors, or None where nobody sees them.
        torch_model: The same as a PyTorch adapter, where it is one.
        name: What tells it from other models, where its weights cannot be seen; None if nobody said.
        weights: A hash of its structure and weights, where they can be seen.
    """

    labels: LabelOracle
    scores: ScoreOracle | None
    torch_model: TorchScores | None = None
    name: str | None = None
    weights: str | None = None

    @classmethod
    def of(cls, model: object, device: torch.device, *, role: str, name: str | None = None) -> "Oracles":
        """A torch module that maps inputs to logits, or an object with `ask` or `ask_scores` or both.

        Raises:
            InvalidInput: It is neither.
        """
        if isinstance(model, nn.Module):
            both = TorchScores(model, device=device)
            # A module that registers no tensor keeps its state where a hash cannot see it.
            weights = weights_hash(model) if model.state_dict() else None
            return cls(labels=both, scores=both, torch_model=both, name=name, weights=weights)
        scores = model if isinstance(model, ScoreOracle) else None
        if isinstance(model, LabelOracle):
            return cls(labels=model, scores=scores, name=name)
        if scores is not None:
            return cls(labels=LabelsOfScores(scores), scores=scores, name=name)
        raise InvalidInput(
            f"{role} must be a torch module or an oracle with ask(inputs, ids), got {type(model).__name__}"
        )

    @property
    def identity(self) -> dict[str, JSON] | None:
        """What answers are kept under: the weights where they are seen, else the name, else nothing."""
        if self.torch_model is not None and self.weights is not None:
            return {"weights": self.weights, "device": str(self.torch_model.device)}
        return None if self.name is None else {"name": self.name}


@dataclass(frozen=True, kw_only=True, eq=False)
class ShadowPlan:
    """How the attacker gets a model whose members it knows.

    Attributes:
        members: What it will be trained on.
        nonmembers: What it will not be trained on, and is asked about.
        attacked: How many of its members are asked about.
        fit: Trains it on samples with a seed; returns the model and the seconds its training took.
        labels: "true", or "target" where the target labels the shadow data first.
        description: The recipe, in words.
        note: What the reader must know, such as a guessed training size.
    """

    members: Samples
    nonmembers: Samples
    attacked: int
    fit: Callable[[Samples, int], tuple[object, float]]
    labels: str
    description: str
    note: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """What is audited.

    Attributes:
        data: The data set's name.
        target: The model.
        target_description: The model, in words.
        classes: Number of classes, or None where the target has to be asked.
        members: Attacked samples the model was trained on.
        nonmembers: Attacked samples it was not trained on.
        population: Other samples of the same domain, or None.
        shadow: How to train a shadow model, or None.
        why_no_shadow: Why not, in words; None where there is one.
        rows: Row of each attacked id in the group it was given in; None where ids are rows of the source.
        settings: What was decided where the caller had left it open.
        notes: What the reader must know.
    """

    data: str
    target: Oracles
    target_description: str
    classes: int | None
    members: Samples
    nonmembers: Samples
    population: Samples | None
    shadow: ShadowPlan | None
    why_no_shadow: str | None = None
    rows: Mapping[int, int] | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def count_classes(case: Case, device: torch.device) -> int:
    """Classes the target knows: the width of its scores for one row where they are seen, else from the labels given.

    Raises:
        InvalidInput: A label is not below the target's number of classes.
    """
    groups = [part for part in (case.members, case.nonmembers, case.population) if part is not None]
    highest = max(int(part.labels.max()) for part in groups if len(part))
    if case.classes is not None:
        classes = case.classes
    elif case.target.scores is None:
        return max(2, highest + 1)
    else:
        one = case.members.take(slice(0, 1)).to(device)
        classes = case.target.scores.ask_scores(one.inputs, one.ids).shape[1]
    if highest >= classes:
        raise InvalidInput(f"labels must be below the target's {classes} classes, got {highest}")
    return classes
