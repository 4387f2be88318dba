"""How far attacks that see labels fall short of those that see confidences, for each family of models."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Shortfall:
    """What was measured for one family of models; AUCs are means over targets.

    Attributes:
        labels: AUC of the label-only attack that the ranking names, lowest and highest over the data sets.
        confidences: The same of the strongest attack that sees confidences.
        gap: Confidences minus labels, lowest and highest; differences are paired.
    """

    labels: tuple[float, float]
    confidences: tuple[float, float]
    gap: tuple[float, float]


# By studies/ranking.py on two business tables (telco, Adult): designed within 10 queries, lira or rmia.
SHORTFALLS: Mapping[str, Shortfall] = {
    "forest": Shortfall(labels=(0.737, 0.756), confidences=(0.880, 0.909), gap=(0.143, 0.152)),
    "boosted trees": Shortfall(labels=(0.684, 0.726), confidences=(0.745, 0.773), gap=(0.043, 0.068)),
    "network": Shortfall(labels=(0.636, 0.664), confidences=(0.688, 0.725), gap=(0.051, 0.061)),
    "nearest neighbours": Shortfall(labels=(0.641, 0.670), confidences=(0.618, 0.627), gap=(-0.052, -0.014)),
}
# Names of classes, subclasses included: models of other packages are recognised without an import.
_FAMILIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("forest", ("RandomForestClassifier", "ExtraTreesClassifier", "XGBRFClassifier")),
    (
        "boosted trees",
        (
            "HistGradientBoostingClassifier",
            "GradientBoostingClassifier",
            "XGBClassifier",
            "LGBMClassifier",
            "CatBoostClassifier",
            *("XGBoostRows", "LightGBMRows"),  # Of files.
        ),
    ),
    ("nearest neighbours", ("KNeighborsClassifier", "RadiusNeighborsClassifier")),
    ("network", ("MLPClassifier",)),
)
_NETWORKS = ("torch.nn.", "keras.", "tensorflow.")
_DEEPEST = 5  # A classifier within a search within a pipeline.


def shortfall(family: str | None) -> str | None:
    """How far labels fall short of confidences on models of this family, in one sentence; None where unmeasured.

    Args:
        family: A name that `family_of` gives.

    Example:
        >>> from hardlabel.attacks import shortfall
        >>> shortfall("abacus") is None
        True
    """
    found = SHORTFALLS.get(family or "")
    if found is None:
        return None
    labels, confidences = (" to ".join(_rounded(ends)) for ends in (found.labels, found.confidences))
    return (
        f"On models of this family ({family}) the best attack on confidences was measured at an AUC of {confidences}, "
        f"the attack on labels at {labels}: {_apart(found.gap)} (two business tables, studies/RANKING.md)."
    )


def family_of(model: object) -> str | None:
    """The family of a model: "forest", "boosted trees", "nearest neighbours", "network", or None for any other.

    Looks into pipelines, searches and calibrated classifiers; imports nothing.

    Example:
        >>> from hardlabel.attacks import family_of
        >>> from sklearn.ensemble import RandomForestClassifier
        >>> from sklearn.pipeline import make_pipeline
        >>> family_of(make_pipeline(RandomForestClassifier()))
        'forest'
    """
    for inner in _within(model):
        ancestors = type(inner).__mro__
        names = {ancestor.__name__ for ancestor in ancestors}
        for family, members in _FAMILIES:
            if names.intersection(members):
                return family
        if any(ancestor.__module__.startswith(_NETWORKS) for ancestor in ancestors):
            return "network"
    return None


def _within(model: object) -> Iterator[object]:
    """The model, then the classifier inside of it, and so on."""
    for _ in range(_DEEPEST):
        if model is None:
            return
        yield model
        steps = getattr(model, "steps", None)
        if isinstance(steps, list) and steps:
            model = steps[-1][-1]
        else:
            model = getattr(model, "best_estimator_", None) or getattr(model, "estimator", None)


def _apart(gap: tuple[float, float]) -> str:
    """By how much labels fall short, in words."""
    if gap[0] < 0 < gap[1]:
        return f"labels told up to {-gap[0]:.2f} more and up to {gap[1]:.2f} less"
    if gap[1] <= 0:
        return f"labels told {' to '.join(_rounded((-gap[1], -gap[0])))} more"
    return f"labels fall short by {' to '.join(_rounded(gap))}"


def _rounded(ends: tuple[float, float]) -> list[str]:
    """Both ends to two digits, one where they are equal."""
    return list(dict.fromkeys(f"{end:.2f}" for end in ends))
