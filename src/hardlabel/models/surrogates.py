"""How an attacker trains its own models when it does not know how the target was trained."""

import torch

from hardlabel import checks
from hardlabel.data.domain import Domain
from hardlabel.models.architectures import usual_architecture
from hardlabel.models.train import Recipe
from hardlabel.models.trainers import EstimatorTrainer, RecipeTrainer, Trainer
from hardlabel.store import Store

TABLES = ("mixed table", "binary", "continuous")  # Kinds of domains whose samples are rows of a table.
MOST_CLASSES = 10  # Above, boosted trees would take too long: they grow a tree for each class in each round.
TREES = 60  # Of a forest, and rounds of boosting.
MOST_EPOCHS = 100  # Of a network.
SURROGATE_NOTE = (  # For the report; the figures are those of studies/SURROGATES.md.
    "The attacker does not know how the target was trained: it trained surrogates, whose answers are standardised. On "
    "targets of nine kinds, the attack that the ranking names for surrogates beat gap. With models trained as the "
    "target was, its AUC was up to .06 higher on images and up to .02 higher on tables."
)


def surrogate(domain: Domain, classes: int, *, device: torch.device, store: Store | None) -> Trainer:
    """The trainer of an attacker who does not know how the target was trained.

    - Rows of a table (mixed tables, binary features, vectors): boosted trees on the encoded rows; for more than
      MOST_CLASSES classes a random forest.
    - All else (images, series, tokens): the domain's usual small network.

    The choice was measured on other targets (studies/SURROGATES.md). Give such a trainer to an audit together with
    `Attacker(alike=False)`, so that the models' answers are standardised before they are compared.

    Args:
        domain: Of the samples: a table of encoded rows (n, width) or anything of shape (n, *shape).
        classes: Number of classes, 2 or more. A network has so many outputs; trees know the classes they saw.
        device: Where networks run. Trees always run on the CPU.
        store: Keeps the models, trees as pickles: use no store that somebody else could write to. None keeps nothing.

    Returns:
        The trainer; its `description` says what it trains.

    Raises:
        InvalidInput: Fewer than 2 classes.

    Example:
        >>> import torch
        >>> from hardlabel import Box
        >>> from hardlabel.models.surrogates import surrogate
        >>> cpu = torch.device("cpu")
        >>> surrogate(Box((12,)), 2, device=cpu, store=None).description
        'HistGradientBoostingClassifier(early_stopping=False, max_iter=60)'
        >>> surrogate(Box((1, 28, 28)), 10, device=cpu, store=None).description
        'cnn, adam 0.001'
    """
    checks.at_least(2, classes=classes)
    if domain.kind in TABLES:
        # Loaded when it is needed: few audits do.
        from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

        # By itself boosting would stop early on 10,000 rows and more, and remember less of them.
        boosted = HistGradientBoostingClassifier(max_iter=TREES, early_stopping=False)
        estimator = boosted if classes <= MOST_CLASSES else RandomForestClassifier(TREES)
        return EstimatorTrainer(estimator=estimator, store=store)
    recipe = Recipe(architecture=usual_architecture(domain), max_epochs=MOST_EPOCHS)
    return RecipeTrainer(recipe=recipe, classes=classes, device=device, store=store)
