"""Audit records made up from seeded scores, for tests of what reads a record."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score, roc_curve

from hardlabel.metrics.estimate import Estimate
from hardlabel.records.canaries import CanaryBound, CanaryRecord, CanaryResults
from hardlabel.records.defenses import (
    DefendRecord,
    DefendResults,
    DefenseResult,
    Guarantee,
    PlayedAttack,
    TestedGuarantee,
    column,
)
from hardlabel.records.exposure import Neighbour, Standout
from hardlabel.records.model import (
    AttackResult,
    AuditRecord,
    Blind,
    Choice,
    ClassResult,
    Compute,
    Curve,
    Difference,
    Environment,
    Histogram,
    LeftOut,
    Queries,
    ReferenceModels,
    Results,
    Shadow,
    Target,
)
from hardlabel.records.recipe import RecipeAttack, RecipeRecord, RecipeResults, TargetModel
from hardlabel.records.recommendation import MARGIN, recommendation, with_front

FPRS = (0.1, 0.01, 0.001)
CLASSES = 5


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """An attack to make up: members' scores are N(shift, 1), non-members' N(0, 1), rounded to `steps` per unit."""

    name: str
    shift: float
    access: str = "label"
    signal: str = "whether the label is right"
    mean: float = 1.0
    most: int = 1
    steps: int | None = None
    overhead: Mapping[str, int] | None = None
    references: int = 0


SIX = (
    Recipe(name="gap", shift=0.7, steps=1),
    Recipe(name="augmentation", shift=1.0, signal="which of 30 shifts and rotations keep the label", mean=30, most=30),
    Recipe(
        name="noise", shift=1.4, signal="share of 100 noisy copies (sigma 0.06) that keep the label", mean=101, most=101
    ),
    Recipe(
        name="boundary",
        shift=1.9,
        signal="HopSkipJump distance, at most 2,500 queries",
        mean=2431.6,
        most=2500,
        overhead={"labelling shadow data": 500},
    ),
    Recipe(name="loss", shift=1.9, access="scores", signal="loss of the true class"),
    Recipe(name="shadow-network", shift=2.2, access="scores", signal="confidence vector"),
)


CALIBRATED = (
    *SIX,
    Recipe(
        name="path-estimate", shift=2.0, signal="crossing on two paths, 10 queries", mean=8.9, most=10, references=12
    ),
    Recipe(name="lira", shift=2.4, access="scores", signal="logit confidence", references=12),
)


def attack_result(recipe: Recipe, scores: np.ndarray, member: np.ndarray, labels: np.ndarray) -> AttackResult:
    """Figures with rough normal intervals: their truth is the metrics' business, not the report's."""
    inside, outside = scores[member], scores[~member]
    fpr, tpr, _ = roc_curve(member, scores)
    low, high = scores.min(), scores.max() + 1e-9
    edges = np.linspace(low, high, 25)
    best = float((tpr + 1 - fpr).max() / 2)
    right = float(((inside >= np.median(scores)).mean() + (outside < np.median(scores)).mean()) / 2)
    called = float(member[scores >= np.median(scores)].mean())
    tprs = {}
    for at in FPRS:
        found = float(tpr[fpr <= at].max())
        tprs[f"{at:g}"] = (
            rough(found, len(inside))
            if len(outside) * at >= 10
            else Estimate.undefined(f"needs {round(10 / at)} non-members, got {len(outside)}")
        )
    classes = [
        ClassResult(
            label=label,
            members=int((member & (labels == label)).sum()),
            nonmembers=int((~member & (labels == label)).sum()),
            train_accuracy=1.0,
            test_accuracy=0.6 + label / 50,
            auc=auc_of(scores[labels == label], member[labels == label]),
        )
        for label in np.unique(labels).tolist()
    ]
    return AttackResult(
        name=recipe.name,
        access=recipe.access,
        signal=recipe.signal,
        calibration="threshold from the shadow model",
        source="Choquette-Choo et al. 2021, section 3.4",
        queries_per_sample=Queries(mean=recipe.mean, max=recipe.most),
        overhead=dict(recipe.overhead or {}),
        incomplete=3 if recipe.overhead else 0,
        auc=auc_of(scores, member),
        balanced_accuracy=rough(right, len(scores)),
        advantage=Estimate(2 * right - 1, max(-1.0, 2 * right - 1.1), min(1.0, 2 * right - 0.9)),
        precision=rough(called, len(scores)),
        precision_at_prior=rough(called / 40, len(scores)),
        best_balanced_accuracy=rough(best, len(scores)),
        tpr_at_fpr=tprs,
        roc=Curve(fpr=fpr.tolist(), tpr=tpr.tolist()),
        histogram=Histogram(
            edges=edges.tolist(),
            members=(np.histogram(inside, edges)[0] / len(inside)).tolist(),
            nonmembers=(np.histogram(outside, edges)[0] / len(outside)).tolist(),
        ),
        classes=classes,
        reference_compute=Compute(rows=int(recipe.mean * 500), seconds=recipe.mean / 20),
        references=recipe.references,
        seconds=recipe.mean / 9,
    )


def rough(value: float, of: int) -> Estimate:
    """A normal interval of a share, cut to [0, 1]."""
    reach = 1.96 * (max(value * (1 - value), 1 / of) / of) ** 0.5
    return Estimate(value, max(0.0, value - reach), min(1.0, value + reach))


def auc_of(scores: np.ndarray, member: np.ndarray) -> Estimate:
    """The AUC with a rough interval; undefined with fewer than 10 of a kind."""
    fewest = int(min(member.sum(), (~member).sum()))
    if fewest < 10:
        return Estimate.undefined(f"needs 10 members and non-members, got {fewest}")
    return rough(float(roc_auc_score(member, scores)), 3 * fewest)


def shadow_model() -> Shadow:
    return Shadow(
        description="the paper's CNN, trained alike",
        train_size=2500,
        members=250,
        nonmembers=250,
        train_accuracy=1.0,
        test_accuracy=0.61,
        labels="true",
        training_seconds=83.0,
        note="",
    )


def reference_models(*, alike: bool = True) -> ReferenceModels:
    return ReferenceModels(
        count=12,
        description="the paper's CNN",
        train_size=2500,
        pool=5000,
        train_accuracy=1.0,
        test_accuracy=0.6,
        training_rows=1_750_000,
        training_seconds=960.0,
        crafters=2,
        crafting_seconds=160.0,
        alike=alike,
        note="" if alike else "The training size was guessed.",
    )


def choice(attack: str = "path-estimate", queries: int = 10) -> Choice:
    return Choice(attack=attack, queries=queries, why="estimates each sample's confidence")


def make_record(
    recipes: Sequence[Recipe] = SIX,
    *,
    members: int = 300,
    nonmembers: int = 300,
    classes: int = CLASSES,
    shadow: Shadow | None = None,
    differs: bool = False,
    seed: int = 0,
) -> AuditRecord:
    """A record as an audit of `members` + `nonmembers` records with these attacks would leave it."""
    rng = np.random.default_rng(seed)
    member = np.arange(members + nonmembers) < members
    labels = rng.integers(0, classes, len(member))
    ids = rng.permutation(len(member))
    attacks, frames = [], []
    for recipe in recipes:
        scores = rng.normal(size=len(member)) + recipe.shift * member
        if recipe.steps is not None:
            scores = np.clip(np.round(scores * recipe.steps) / recipe.steps, 0, 1)
        attacks.append(attack_result(recipe, scores, member, labels))
        frames.append(
            pd.DataFrame(
                {
                    "id": ids,
                    "row": np.where(member, np.arange(len(member)), np.arange(len(member)) - members),
                    "member": member,
                    "label": labels,
                    "attack": recipe.name,
                    "score": scores,
                    "queries": np.full(len(member), recipe.most),
                }
            )
        )
    columns = ["id", "row", "member", "label", "attack", "score", "queries"]
    known = {attack.name: attack for attack in attacks}
    pairs = [(name, "gap") for name in known if name != "gap" and "gap" in known]
    seeing_labels = [name for name, attack in known.items() if attack.access == "label"]
    pairs += [(name, other) for other in ("loss", "shadow-network") if other in known for name in seeing_labels]
    pairs += [pair for pair in itertools.combinations(seeing_labels, 2) if "gap" not in pair]
    results = Results(
        data="CIFAR-10 (500 of 60,000 images)",
        domain="32 x 32 colour images in the box [0, 1]",
        members=members,
        nonmembers=nonmembers,
        prior=0.01,
        budget=2500,
        target=Target(
            description="the paper's CNN, 2,500 training images, trained to 100 %",
            train_accuracy=Estimate(1.0, 0.988, 1.0),
            test_accuracy=Estimate(0.61, 0.553, 0.665),
            classes=classes,
            device="cpu",
            batch_size=256,
        ),
        shadow=shadow,
        blind=Blind(
            auc=Estimate(0.61, 0.56, 0.66) if differs else Estimate(0.507, 0.461, 0.553),
            differs=differs,
            method="gradient boosting on 50 principal components, 5-fold cross-validation",
        ),
        attacks=attacks,
        differences=[
            Difference(first=one, second=two, auc=difference(known[one].auc, known[two].auc)) for one, two in pairs
        ],
        left_out=[LeftOut(name="combined", reason="needs at least 250 queries per sample, the budget is 101")],
        notes=["The shadow model was trained on as many points as there are members."],
        environment=Environment(
            command="hardlabel audit --data cifar10 --arch paper-cnn --budget 2500 --seed 0",
            seed=0,
            started="2026-02-03T10:20:30+00:00",
            seconds=412.3,
            versions={"hardlabel": "0.1.0", "python": "3.11.9", "torch": "2.6.0"},
            machine="Linux x86_64, 2 cores",
        ),
    )
    config: dict[str, object] = {"data": "cifar10", "attacks": [recipe.name for recipe in recipes], "seed": 0}
    scores_of_all = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
    return AuditRecord(results=results, scores=scores_of_all, config=config)


def standout(one: int, shown: str | None = None) -> Standout:
    """What a record says of an exposed point with one neighbour, of another class."""
    return Standout(
        id=one,
        pseudonym=f"{one:010x}",
        row=one,
        label=0,
        chosen=[],
        separability=None,
        out_loss=None,
        neighbours=[Neighbour(pseudonym="f" * 10, label=1, similarity=0.9)],
        duplicate=None,
        shown=shown,
    )


def difference(first: Estimate, second: Estimate) -> Estimate:
    if first.value is None or second.value is None:
        return Estimate.undefined("one of the two is undefined")
    gap = first.value - second.value
    return Estimate(gap, gap - 0.03, gap + 0.03)


def changed(record: AuditRecord, name: str | None = None, **figures: object) -> AuditRecord:
    """The record with some figures of one attack, or of the whole where `name` is None, replaced."""
    if name is None:
        return replace(record, results=record.results.model_copy(update=figures))
    attacks = [
        attack.model_copy(update=figures) if attack.name == name else attack for attack in record.results.attacks
    ]
    return replace(record, results=record.results.model_copy(update={"attacks": attacks}))


def with_members_wrong(record: AuditRecord) -> AuditRecord:
    """The record of a target that is right on every non-member and on half of the members."""
    attacks = [
        attack.model_copy(
            update={
                "classes": [
                    row.model_copy(update={"train_accuracy": 0.5, "test_accuracy": 1.0}) for row in attack.classes
                ]
            }
        )
        for attack in record.results.attacks
    ]
    return changed(record, attacks=attacks)


def make_recipe_record(
    recipes: Sequence[Recipe] = CALIBRATED, *, targets: int = 4, samples: int = 300, named: str = "path-estimate"
) -> RecipeRecord:
    """A record as the audit of a recipe on so many targets would leave it; intervals are rough."""
    rng = np.random.default_rng(0)
    inside = rng.permuted(np.tile(np.arange(samples) < samples // 2, (targets, 1)), axis=1)
    attacks, frames = [], []
    for recipe in recipes:
        scores = rng.normal(size=inside.shape) + recipe.shift * inside
        aucs = [float(roc_auc_score(who, own)) for who, own in zip(inside, scores, strict=True)]
        fpr, tpr, _ = roc_curve(inside.ravel(), scores.ravel())
        outside = int((~inside).sum())
        tprs = {
            f"{at:g}": rough(float(tpr[fpr <= at].max()), samples)
            if outside * at >= 10
            else Estimate.undefined(f"needs {round(10 / at)} non-members over all targets, got {outside}")
            for at in FPRS
        }
        attacks.append(
            RecipeAttack(
                name=recipe.name,
                access=recipe.access,
                signals=[recipe.signal],
                calibration="shrunken likelihood ratio",
                source="docs/study.md",
                queries_per_sample=Queries(mean=recipe.mean, max=recipe.most),
                overhead=dict(recipe.overhead or {}),
                auc=rough(float(np.mean(aucs)), samples * targets),
                aucs=aucs,
                spread=Estimate(float(np.std(aucs, ddof=1))),
                balanced_accuracy=[None] * targets,
                tpr_at_fpr=tprs,
                references=recipe.references,
                reference_compute=Compute(rows=int(recipe.mean * 500), seconds=recipe.mean / 20),
                seconds=recipe.mean / 9,
            )
        )
        frames += [
            pd.DataFrame(
                {
                    "target": target,
                    "id": np.arange(samples),
                    "member": who,
                    "label": 0,
                    "attack": recipe.name,
                    "score": own,
                    "queries": recipe.most,
                }
            )
            for target, (who, own) in enumerate(zip(inside, scores, strict=True))
        ]
    known = {attack.name: attack for attack in attacks}
    pairs = [(name, "gap") for name in known if name != "gap" and "gap" in known]
    pairs += [(name, "lira") for name, one in known.items() if one.access == "label" and "lira" in known]
    environment = make_record(()).results.environment
    return RecipeRecord(
        results=RecipeResults(
            data="CIFAR-10",
            domain="image",
            samples=samples,
            train_size=2500,
            description="the paper's CNN, adam 0.001",
            budget=10,
            references=12,
            training_seconds=1120.0,
            targets=[
                TargetModel(model=2 * one, train_accuracy=1.0, test_accuracy=0.6 + one / 100) for one in range(targets)
            ],
            choice=choice(named),
            attacks=attacks,
            differences=[
                Difference(first=one, second=two, auc=difference(known[one].auc, known[two].auc)) for one, two in pairs
            ],
            left_out=[LeftOut(name="boundary", reason="needs at least 25 queries per sample, the budget is 10")],
            notes=["Data: CIFAR-10, 60,000 rows."],
            environment=environment.model_copy(update={"command": "hardlabel audit --data cifar10 --repeats 4"}),
        ),
        scores=pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(),
        config={"data": "cifar10", "repeats": targets},
    )


def make_canary_record(
    *, runs: int = 1, promise: float | None = None, epsilon: float = 1.5, scores: bool = True
) -> CanaryRecord:
    """A record as one run gives it, with a bound over all canaries and one for a kind, or as many runs do.

    Labels prove `epsilon`, confidences half as much again.
    """

    def bound(kind, access, **more):
        signal = "whether the label is right" if access == "label" else "how sure the model is"
        proved = epsilon if access == "label" else 1.5 * epsilon
        told = {"signal": signal, "queries": 1 if access == "scores" else 101, "epsilon": proved}
        return CanaryBound(kind=kind, access=access, right=40, guesses=50, **told, **more)

    sights = ("label", "scores") if scores else ("label",)
    if runs == 1:
        bounds = [bound(kind, access) for access in sights for kind in ("all", "mislabelled", "rare")]
    else:
        bounds = [bound("all", access, wrong=3, of_wrong=60) for access in sights]
    guarantee = None
    if promise is not None:
        strength = {"noise_multiplier": 0.81, "sampling_rate": 0.1, "steps": 300, "clipping": 1.0}
        guarantee = Guarantee(epsilon=promise, delta=1e-5, accountant="PRV", **strength)
    return CanaryRecord(
        results=CanaryResults(
            data="CIFAR-10",
            description="the paper's CNN",
            train_size=1000,
            canaries={"mislabelled": 60, "rare": 40} if runs == 1 else {"mislabelled": 1},
            planted=52 if runs == 1 else runs // 2,
            runs=runs,
            delta=1e-5,
            confidence=0.95,
            guarantee=guarantee,
            bounds=bounds,
            kept=None if promise is None else all(one.epsilon <= promise for one in bounds if one.kind == "all"),
            environment=make_record(()).results.environment,
        )
    )


def make_defend_record(*, private=True) -> DefendRecord:
    """A comparison of three defenses with none, in which one helps for nothing and one for much."""
    environment = make_record(()).results.environment
    rng = np.random.default_rng(0)
    targets, samples = 4, 120
    scores = {"target": np.repeat(range(targets), samples), "id": np.tile(range(samples), targets)}
    frame = pd.DataFrame({**scores, "member": rng.random(targets * samples) < 0.5})
    ways = [("none", None, 0.6, 0.85), ("l2", 0.02, 0.605, 0.62), ("l2", 0.001, 0.58, 0.8), ("top-k", 1.0, 0.6, 0.84)]
    ways += [("dp-sgd", 10.0, 0.35, 0.52)] if private else []
    defenses = []
    for name, level, accuracy, auc in ways:
        one = _defense(name, level, accuracy, auc)
        defenses.append(one)
        for attack in one.attacks:
            if name != "top-k" or attack.access == "scores":
                frame[column(one.name, attack.title)] = rng.normal(size=len(frame)) + (auc - 0.5) * frame["member"]
    defenses = with_front(defenses)
    results = DefendResults(
        data="CIFAR-10",
        domain="image",
        classes=10,
        samples=samples,
        train_size=1000,
        reserve=1000,
        targets=targets,
        references=6,
        budget=30,
        margin=MARGIN,
        defenses=defenses,
        left_out=[LeftOut(name="dp-sgd", reason="needs Opacus")] if not private else [],
        recommendation=[],
        notes=["Data: CIFAR-10, 60,000 rows."],
        environment=environment.model_copy(update={"command": "hardlabel defend --data cifar10"}),
    )
    return DefendRecord(
        results=results.model_copy(update={"recommendation": recommendation(results)}),
        scores=frame,
        config={"data": "cifar10", "repeats": targets},
    )


def _defense(name: str, level: float | None, accuracy: float, auc: float) -> DefenseResult:
    def played(attack, access, value, adaptive=True):
        change = 0.0 if name == "none" else value - 0.85
        return PlayedAttack(
            name=attack,
            access=access,
            adaptive=adaptive,
            auc=Estimate(value, value - 0.02, value + 0.02),
            tpr=Estimate(value / 10, value / 20, value / 5) if name != "dp-sgd" else Estimate.undefined("needs 1,000"),
            change=Estimate(change, change - 0.02, change + 0.02),
            queries=Queries(mean=9.5, max=10),
        )

    attacks = [played("path", "label", auc), played("shadow-network", "scores", auc - 0.01)]
    if name not in ("none", "top-k"):
        attacks.append(played("shadow-network", "scores", auc - 0.03, adaptive=False))
    private = TestedGuarantee(
        epsilon=9.93,
        delta=1e-4,
        noise_multiplier=0.71,
        sampling_rate=0.1,
        steps=300,
        clipping=1.0,
        accountant="Opacus, privacy random variables",
        proved=0.41,
        proved_by="path",
    )
    cost = accuracy - 0.6
    return DefenseResult(
        defense=name,
        level=level,
        knob="" if level is None else "strength",
        source="" if level is None else "Somebody et al. 2021",
        cost="" if level is None else "nothing",
        description="the paper's CNN, adam 0.001",
        changes=["batches by Poisson sampling"] if name == "dp-sgd" else [],
        privacy=private if name == "dp-sgd" else None,
        keeps_labels=name == "top-k",
        train_accuracy=0.99,
        test_accuracy=Estimate(accuracy, accuracy - 0.01, accuracy + 0.01),
        accuracy_change=Estimate(cost, cost - 0.005, cost + 0.005),
        training_seconds=33.0,
        answer_seconds=0.12,
        attacks=attacks,
        strongest="path",
        strongest_at_low_fpr=None if name == "dp-sgd" else "path",
    )
