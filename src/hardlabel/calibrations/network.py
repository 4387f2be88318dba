"""The attack network: a small classifier that tells members from non-members by their signal."""

import warnings
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from hardlabel import checks, randomness
from hardlabel.calibrations.base import References
from hardlabel.checks import InvalidInput

FEWEST_PER_KIND = 10  # Members, and non-members, that a network of its own must be able to learn from.
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class AttackNetwork:
    """Learns membership from the whole signal vector on the references: values (n, d) become log odds (n,).

    One network is fitted per fold of the references. A new sample's score is the networks' mean log odds; a reference's
    score comes from the one network that never saw it, so that a threshold is not chosen on memorised samples.

    Attributes:
        hidden: Units per hidden layer, each 1 or more (ReLU; the authors' code has leaky ReLU, which scikit-learn
            lacks).
        per_class: Whether there is one set of networks per class, as the authors do with much shadow data; a class with
            fewer than FEWEST_PER_KIND members or non-members falls back to the networks of all classes.
        folds: Networks per set, at least 2.

    References:
        Choquette-Choo et al. (2021), section 3.3; Shokri et al. (2017), section V, for confidence vectors.

    Raises:
        InvalidInput: `folds` is below 2, or a layer has no unit.

    Example:
        >>> import torch
        >>> from hardlabel.calibrations.base import References
        >>> from hardlabel.calibrations.network import AttackNetwork
        >>> inside = torch.arange(40) % 2 == 0
        >>> values = inside.float()[None, :, None] + torch.linspace(0, 0.5, 40)[None, :, None]
        >>> references = References(values=values, inside=inside[None], labels=torch.zeros(40, dtype=torch.int64))
        >>> fitted = AttackNetwork(hidden=(4,), folds=2).fit(references, seed=0)
        >>> scores = fitted.score(torch.tensor([[1.2], [0.2]]), torch.tensor([0, 0]))
        >>> bool(scores[0] > scores[1])
        True
    """

    per_sample: ClassVar[bool] = False
    requires_references: ClassVar[bool] = True
    hidden: tuple[int, ...] = (10, 10)
    per_class: bool = False
    folds: int = 5

    def __post_init__(self) -> None:
        checks.at_least(2, folds=self.folds)
        checks.positive(**{f"hidden[{i}]": units for i, units in enumerate(self.hidden)})

    def __str__(self) -> str:
        return f"attack network, {'one per class' if self.per_class else 'one for all classes'}"

    def fit(self, references: References | None, *, seed: int) -> "FittedNetwork":
        """See `Calibration`; references may be other samples than those scored.

        Raises:
            InvalidInput: References are missing, or hold fewer than FEWEST_PER_KIND members or non-members.
        """
        if references is None:
            raise InvalidInput("references must be given for an attack network, got None")
        models, samples, width = references.values.shape
        values = references.values.reshape(-1, width).double().cpu().numpy()
        inside = references.inside.reshape(-1).cpu().numpy()
        labels = references.labels.repeat(models).cpu().numpy()
        if min(inside.sum(), (~inside).sum()) < FEWEST_PER_KIND:
            raise InvalidInput(
                f"references must hold at least {FEWEST_PER_KIND} members and non-members for an attack network, "
                f"got {inside.sum()} and {(~inside).sum()}"
            )
        networks, own = self._fold_networks(values, inside, randomness.sklearn_seed(seed, "network"))
        by_class: dict[int, tuple[Pipeline, ...]] = {}
        for label in np.unique(labels) if self.per_class else ():
            rows = labels == label
            if min(inside[rows].sum(), (~inside[rows]).sum()) >= FEWEST_PER_KIND:
                class_seed = randomness.sklearn_seed(seed, "network", int(label))
                by_class[int(label)], own[rows] = self._fold_networks(values[rows], inside[rows], class_seed)
        return FittedNetwork(networks, torch.from_numpy(own).reshape(models, samples), by_class)

    def _fold_networks(
        self, values: Floats, inside: NDArray[np.bool_], seed: int
    ) -> tuple[tuple[Pipeline, ...], Floats]:
        """One network per fold, and each row's log odds from the network that did not see it."""
        networks: list[Pipeline] = []
        held_out = np.zeros(len(values))
        folds = StratifiedKFold(self.folds, shuffle=True, random_state=seed)
        for fold, (seen, unseen) in enumerate(folds.split(values, inside)):
            network = make_pipeline(
                StandardScaler(),
                MLPClassifier(self.hidden, alpha=0.01, max_iter=300, random_state=(seed + fold) % 2**32),
            )
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                network.fit(values[seen], inside[seen])
            _heed(told)
            held_out[unseen] = _log_odds(network, values[unseen])
            networks.append(network)
        return tuple(networks), held_out


@dataclass(frozen=True, eq=False)
class FittedNetwork:
    """See `Fitted`."""

    networks: tuple[Pipeline, ...]
    reference_scores: Tensor
    by_class: dict[int, tuple[Pipeline, ...]] = field(default_factory=dict)
    threshold: ClassVar[None] = None

    def score(self, values: Tensor, labels: Tensor) -> Tensor:
        rows = values.double().cpu().numpy()
        classes = labels.cpu().numpy()
        scores = np.mean([_log_odds(network, rows) for network in self.networks], axis=0)
        for label, networks in self.by_class.items():
            mine = classes == label
            if mine.any():
                scores[mine] = np.mean([_log_odds(network, rows[mine]) for network in networks], axis=0)
        return torch.from_numpy(scores)


def _heed(told: list[warnings.WarningMessage]) -> None:
    """Passes scikit-learn's warnings on; its catching of Ctrl-C is undone, its complaint about passes is dropped.

    It answers an interrupt with a warning and a half-trained network. The number of passes is the regulariser
    here, which it takes for a failure.
    """
    for warning in told:
        if "interrupted" in str(warning.message):
            raise KeyboardInterrupt
        if not issubclass(warning.category, ConvergenceWarning):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _log_odds(network: Pipeline, values: Floats) -> Floats:
    probability = np.clip(network.predict_proba(values)[:, 1], 1e-12, 1 - 1e-12)
    odds: Floats = np.log(probability) - np.log1p(-probability)
    return odds
