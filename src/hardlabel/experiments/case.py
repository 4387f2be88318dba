"""A case: everything an audit works on, checked before any training or query."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from hardlabel import attacks, checks
from hardlabel.attacks import Attack, Need, Rung, ScoreAttack, ladder
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Domain
from hardlabel.data.samples import Samples
from hardlabel.models.kept import weights_hash
from hardlabel.models.trainers import RecipeTrainer, Trainer
from hardlabel.oracles.base import LabelOracle, LabelsOfScores, ScoreOracle
from hardlabel.oracles.estimators import EstimatorScores, estimator_hash, is_estimator, of_estimator
from hardlabel.oracles.pytorch import TorchModel, TorchScores
from hardlabel.store import JSON

FEWEST_SHADOW = 20  # Shadow members, and non-members, below which no threshold or network is chosen.
MOST_ATTACKED = 1000  # Members, and non-members, attacked where nobody says how many.
MOST_SHADOW = 500  # The same on the shadow model.
MOST_POOL = 1000  # Samples of the pool beyond those attacked on which the attacker learns what members look like.
MOST_QUERIES = 1_000_000  # An attack that would send the target more is run only where it is asked for by name.
SHADOWS = 12  # Reference models where nobody says how many.


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What is asked of an audit, whatever the case.

    Attributes:
        attacks: Names of attacks, or attacks of one's own; None for all that suit.
        budget: Most queries per sample and attack; None for each attack's usual number.
        prior: Share of members among those an attacker would ask about, strictly between 0 and 1.
        networks: "all" for one attack network for all classes, "class" for one per class.
        seed: Fixes every draw.
        worst_case: Share of the points to choose as most at risk and to report apart, or None.
        labels: "true", or "target" where the attacker has no labels of the points and takes the target's answers.
        wrong_labels: Share of the labels that the attacker has wrong, in [0, 1).
        show_records: Whether the record holds the exposed records themselves.

    Raises:
        InvalidInput: A value of the wrong type or out of its range.
    """

    attacks: tuple[str | Attack, ...] | None = None
    budget: int | None = None
    prior: float = 0.01
    networks: str = "all"
    seed: int = 0
    worst_case: float | None = None
    labels: str = "true"
    wrong_labels: float = 0.0
    show_records: bool = False

    def __post_init__(self) -> None:
        if self.worst_case is not None:
            checks.open_fraction(worst_case=self.worst_case)
        checks.one_of(("true", "target"), labels=self.labels)
        if not 0 <= self.wrong_labels < 1:
            raise InvalidInput(f"wrong_labels must lie in [0, 1), got {self.wrong_labels}")
        if self.labels == "target" and self.wrong_labels:
            raise InvalidInput(f"wrong_labels must be 0 where labels are the target's, got {self.wrong_labels}")
        for name, number in (("budget", self.budget), ("seed", self.seed)):
            if number is not None and not isinstance(number, int):
                raise InvalidInput(f"{name} must be a whole number, got {number!r}")
        checks.open_fraction(prior=self.prior)
        checks.one_of(("all", "class"), networks=self.networks)

    def chosen(self, domain: Domain, *, missing: Mapping[Need, str], attacked: int) -> "Chosen":
        """The attacks to run, the ones left out with the reason, and which one the ladder names.

        Without names and without a budget the standard ones that suit are run, with few queries where they need not
        have many, but for those that would send the target more than MOST_QUERIES in all. Without names under a
        budget, as an endpoint has one, the label-only attack that the ladder names is run, with the gap attack and the
        standard ones that see scores beside it. "all" runs everything that can be run.

        Args:
            domain: Of the samples attacked.
            missing: What is not there, with the reason.
            attacked: Samples attacked.

        Raises:
            InvalidInput: An attack asked for cannot be run, or there are no reference models for a worst case.
        """
        if self.worst_case is not None and Need.REFERENCES in missing:
            why = missing[Need.REFERENCES]
            raise InvalidInput(f"worst_case needs reference models trained with and without the points: {why}")
        asked = None if self.attacks == ("all",) else self.attacks
        rows, left_out = attacks.chosen(asked, domain, self.budget)
        rung = ladder.best(domain, self.budget or ladder.USUAL, missing)
        possible = []
        for row in rows:
            reason = row.lacks(missing)
            if reason is not None and asked is not None:
                raise InvalidInput(f"attack {row.name!r} cannot be run: {reason}")
            if self.attacks is None:
                if not row.standard:
                    continue
                row = replace(row, usual=row.brief or row.usual)
                reason = reason or self._unasked(row, rung, attacked)
            if reason is None:
                possible.append(attacks.with_networks_per_class(row) if self.networks == "class" else row)
            else:
                left_out[row.name] = reason
        if self.attacks is None:
            left_out = {name: reason for name, reason in left_out.items() if attacks.TABLE[name].standard}
        return Chosen(rows=possible, left_out=left_out, rung=rung)

    def _unasked(self, row: Attack, rung: Rung, attacked: int) -> str | None:
        """Why an attack that was not asked for by name is not run, or None."""
        if isinstance(row, ScoreAttack) or row.name in (rung.attack, "gap"):
            return None
        if self.budget is not None:
            return f"{rung.attack} is the strongest within {self.budget} queries; ask for this one by name"
        queries = row.usual * attacked
        if queries > MOST_QUERIES:
            return f"it would send the target up to {queries:,} queries; ask for it by name"
        return None


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What an audit runs.

    Attributes:
        rows: The attacks, in the order of the table.
        left_out: The others, with the reason.
        rung: The label-only attack that the ladder names, and why.
    """

    rows: list[Attack]
    left_out: dict[str, str]
    rung: Rung


@dataclass(frozen=True, kw_only=True, eq=False)
class Oracles:
    """A model as the audit asks it.

    Attributes:
        labels: Its labels.
        scores: Its confidence vectors, or None where nobody sees them.
        torch_model: The same as a PyTorch adapter, where it is one.
        network: The network itself, where it is one: what is sent to other processes.
        name: What tells it from other models, where its weights cannot be seen; None if nobody said.
        weights: A hash of its structure and weights, or of a scikit-learn classifier's state, where they can be seen.
        probed: Rows that a probe for the best batch size has sent, where it was made by `settled`.
        mixed: Whether its labels are found in mixed precision; see `rough`.
    """

    labels: LabelOracle
    scores: ScoreOracle | None
    torch_model: TorchScores | None = None
    network: nn.Module | None = None
    name: str | None = None
    weights: str | None = None
    probed: int = 0
    mixed: bool = False

    @classmethod
    def of(
        cls, model: object, device: torch.device, *, role: str, name: str | None = None, classes: int | None = None
    ) -> "Oracles":
        """A torch module that maps inputs to logits, a fitted scikit-learn classifier, or an object that can be asked.

        The last has `ask` or `ask_scores` or both; a `fingerprint`, where it has one, stands for its weights.
        `classes` are those of the task at least: a classifier may not have seen the last ones.

        Raises:
            InvalidInput: It is none of these.
        """
        if isinstance(model, nn.Module):
            both = TorchScores(model, device=device)
            # A module that registers no tensor keeps its state where a hash cannot see it.
            weights = weights_hash(model) if model.state_dict() else None
            return cls(labels=both, scores=both, torch_model=both, network=model, name=name, weights=weights)
        scores = model if isinstance(model, ScoreOracle) else None
        if isinstance(model, LabelOracle):
            return cls(labels=model, scores=scores, name=name, weights=getattr(model, "fingerprint", None))
        if scores is not None:
            return cls(labels=LabelsOfScores(scores), scores=scores, name=name)
        if is_estimator(model):
            asked = of_estimator(model)
            if classes is not None and classes > asked.classes:
                asked = of_estimator(model, classes=classes)
            shown = asked if isinstance(asked, EstimatorScores) else None
            return cls(labels=asked, scores=shown, name=name, weights=estimator_hash(model))
        raise InvalidInput(
            f"{role} must be a torch module, a fitted scikit-learn classifier or an oracle with ask(inputs, ids), "
            f"got {type(model).__name__}"
        )

    def rough(self) -> "Oracles":
        """The network whose labels are found in mixed precision: one of the attacker's own that was trained so.

        Its scores stay float32.
        """
        network, asked = self.network, self.torch_model
        assert network is not None, "only networks have a precision"
        assert asked is not None, "and are asked as such"
        labels = TorchModel(network, device=asked.device, batch_size=asked.batch_size, mixed=True)
        return replace(self, labels=labels, mixed=True)

    @property
    def identity(self) -> dict[str, JSON] | None:
        """What answers are kept under: the weights where they are seen, else the name, else nothing."""
        if self.weights is not None:
            device = None if self.torch_model is None else str(self.torch_model.device)
            rough: dict[str, JSON] = {"labels": "bfloat16"} if self.mixed else {}
            return {"weights": self.weights, "device": device, **rough}
        return None if self.name is None else {"name": self.name}


@dataclass(frozen=True, kw_only=True, eq=False)
class ShadowPlan:
    """How the attacker gets a model whose members it knows.

    Attributes:
        members: What it will be trained on.
        nonmembers: What it will not be trained on, and is asked about.
        attacked: How many of its members are asked about.
        trainer: Trains it.
        labels: "true", or "target" where the target labels the shadow data first.
        note: What the reader must know, such as a guessed training size.
    """

    members: Samples
    nonmembers: Samples
    attacked: int
    trainer: Trainer
    labels: str
    note: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferencePlan:
    """How the attacker gets models trained with and without the samples asked about.

    Attributes:
        pool: What they are trained on, in an order that says nothing; it holds every attacked sample.
        inside: Who will be inside which, bool (K, pool): complementary pairs.
        trainer: Trains them.
        seed: Their seeds are derived from it.
        alike: Whether they are trained as the target was.
        note: What the reader must know.
    """

    pool: Samples
    inside: Tensor
    trainer: Trainer
    seed: int
    alike: bool = True
    note: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class CraftingPlan:
    """How the attacker gets networks to choose its queries with.

    Attributes:
        trainer: Trains them, and surrogates; its models are networks with gradients.
        sets: What each is trained on, and from which seed; none holds an attacked sample.
        second: Trains the ones for a second opinion, in another way.
        second_sets: What each of those is trained on, and from which seed.
    """

    trainer: RecipeTrainer
    sets: tuple[tuple[Samples, int], ...]
    second: Trainer
    second_sets: tuple[tuple[Samples, int], ...]


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
        references: How to train reference models, or None.
        crafting: How to train crafters, or None.
        own: The attacker's own samples, on which a surrogate may be trained, or None.
        missing: What there is none of, and why, in words.
        rows: Row of each attacked id in the group it was given in; None where ids are rows of the source.
        slices: By column, the group of each id.
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
    references: ReferencePlan | None = None
    crafting: CraftingPlan | None = None
    own: Samples | None = None
    missing: Mapping[Need, str] = field(default_factory=dict)
    rows: Mapping[int, int] | None = None
    slices: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def lacking_pairs(count: int) -> dict[Need, str]:
    """What cannot be had of `count` reference models: confidences are estimated from pairs that did not teach it."""
    return {} if count >= 4 else {Need.REFERENCE_SCORES: f"of two pairs at least, got {count} reference models"}


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
