"""Plays one part: trains its target and the attacker's own models, runs the attacks, keeps who was called a member.

Everything is done by the pieces of an audit of one model; the store keeps models and measurements, so that a part that
broke off goes on where it stopped, and cells share what they have in common.
"""

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hardlabel import outliers, randomness
from hardlabel.attacks import Attack, Need
from hardlabel.audits.attacker.models import Owned, Wanted, owned_by
from hardlabel.audits.cases.case import Case
from hardlabel.audits.cases.from_settings import checked_trainer, crafting_of, dataset_of
from hardlabel.audits.cases.plans import MOST_SHADOW, ReferencePlan, ShadowPlan
from hardlabel.audits.cases.repeats import counted
from hardlabel.audits.cases.terms import Terms
from hardlabel.audits.game.asking import Asking, Side, content_of
from hardlabel.audits.game.batches import settled
from hardlabel.audits.game.execution import Execution
from hardlabel.audits.game.game import Game, Played
from hardlabel.audits.game.kept_scores import played_or_kept
from hardlabel.audits.game.speed import measured_speed
from hardlabel.audits.plan import Questions, Seats, questions_of
from hardlabel.checks import InvalidInput
from hardlabel.data import augment, sources
from hardlabel.data.dataset import Dataset
from hardlabel.data.domain import Box
from hardlabel.data.samples import Samples, concatenate
from hardlabel.data.split import Sizes, Split, split
from hardlabel.defenses.base import Defender
from hardlabel.defenses.composed import defended_by
from hardlabel.metrics import roc
from hardlabel.models import shadows
from hardlabel.models.trainers import Made, RecipeTrainer, Trainer
from hardlabel.records.environment import environment_of
from hardlabel.reproduction.attacks import WHITE_BOX, attack_named
from hardlabel.reproduction.declared import Part, Play
from hardlabel.reproduction.summary import AttackSummary, PartSummary, PlaySummary, declared, packed
from hardlabel.runs.progress import told
from hardlabel.signals import whitebox
from hardlabel.store import Store
from hardlabel.targets.registry import askable

FEWEST_ASKED = 75  # Members of the shadow model that an attack on a few outliers learns its threshold from.
EPOCHS = 50  # A guess of when a training ends.
PRIVATE = 4  # So many times as long as a plain training does a private one take.
PASSES = 3 * 1000  # Of the white-box search for each sample: a forward and a backward pass take as long as three.


@dataclass(frozen=True, kw_only=True, eq=False)
class Stage:
    """A part whose data are loaded and split; nothing is trained yet.

    Attributes:
        part: The part.
        data: The data.
        parts: The data, split into groups.
        distinct: Members and non-members without repeats.
        plain: Trains without a defense.
        trainer: Trains the target and the attacker's own models.
        defender: What a defense may use.
        epsilon: The privacy that the training promises, or None.
        notes: What a reader must know.
        device: Where models run.
        store: Keeps models and measurements.
    """

    part: Part
    data: Dataset
    parts: Split
    distinct: tuple[Samples, Samples]
    plain: RecipeTrainer
    trainer: Trainer
    defender: Defender
    epsilon: float | None
    notes: tuple[str, ...]
    device: torch.device
    store: Store


def staged(part: Part, *, device: torch.device, store: Store, execution: Execution) -> Stage:
    """Loads and splits the data of a part. Trains nothing.

    Raises:
        InvalidInput: The data are not there or too few, or a defense cannot be had.
    """
    cell, settings = part.cell, part.cell.of_target(part.target)
    data = dataset_of(settings, execution.watch, store)
    plain = checked_trainer(settings, data, device=device, store=store, float32=True)
    rows = counted(data.samples, strict=False)
    assert settings.train_size is not None, "every cell declares its training size"
    sizes = sizes_of(len(data.samples), settings.train_size, cell.shadow_size)
    parts = split(data.samples, sizes, seed=part.target, contents=rows.contents)
    distinct = rows.once(parts.members), rows.once(parts.nonmembers)
    most = min(map(len, distinct))
    for play in cell.plays:
        if play.samples > most:
            raise InvalidInput(f"samples must be at most {most}, the rows of the smaller group, got {play.samples}")
    pretraining = sources.load(cell.pretrain, folder=settings.folder).samples if cell.pretrain else None
    defender = Defender(
        domain=data.samples.domain,
        classes=data.classes,
        train_size=settings.train_size,
        reserve=parts.population.take(slice(0, settings.train_size)) if len(parts.population) else None,
        pretraining=pretraining,
        device=device,
        store=store,
        seed=0,  # All targets start from the same pretrained network.
    )
    notes = [f"{data.name}: {len(data.samples)} rows, {data.origin}.", *rows.notes]
    if sizes.nonmembers < sizes.members:
        notes.append(
            f"The data hold no four blocks of {sizes.members}: the groups of non-members have {sizes.nonmembers} each."
        )
    trainer: Trainer = plain
    epsilon = None
    if cell.defense:
        made = defended_by(cell.defense, plain, defender)
        trainer, training = made.trainer, made.training
        notes += [f"Defense: {change}." for change in made.changes]
        epsilon = None if training is None or training.privacy is None else training.privacy.epsilon
    if cell.every_shift:
        count = len(augment.translations(cell.every_shift))
        notes.append(f"Every epoch shows all {count} shifts of every image by {cell.every_shift}.")
    return Stage(
        part=part,
        data=data,
        parts=parts,
        distinct=distinct,
        plain=plain,
        trainer=trainer,
        defender=defender,
        epsilon=epsilon,
        notes=tuple(notes),
        device=device,
        store=store,
    )


def sizes_of(total: int, size: int, shadow_size: int | None = None) -> Sizes:
    """Disjoint groups: members of both models, and as many non-members as the data have left, `size` at most.

    Raises:
        InvalidInput: The data are too few for two training sets and some non-members.

    Example:
        >>> from hardlabel.reproduction.play import sizes_of
        >>> sizes_of(5010, 1600).nonmembers
        905
    """
    shadow = size if shadow_size is None else shadow_size
    rest = (total - size - shadow) // 2
    if rest < 1:
        raise InvalidInput(f"data must hold more than {size + shadow} rows for this cell, got {total}")
    others = min(size, rest)
    return Sizes(members=size, nonmembers=others, shadow_members=shadow, shadow_nonmembers=min(others, shadow))


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a part costs at most, as far as it can be counted before.

    Attributes:
        trainings: Models to train.
        queries: Queries to the target.
        rows: Rows through the attacker's own models.
        seconds: Estimate at the speed just measured, on one core.
    """

    trainings: int
    queries: int
    rows: int
    seconds: float


def cost_of(stage: Stage, execution: Execution) -> Cost:
    """The cost of a part. Pieces that parts share count in each of them.

    A training is taken to have EPOCHS epochs unless its recipe allows fewer; private training takes PRIVATE times as
    long, since gradients are made for each sample.
    """
    cell, total, references = stage.part.cell, Questions(), 0
    for play in cell.plays:
        attacks = [attack_named(name) for name in play.attacks if name != WHITE_BOX]
        wanted = Wanted.by(attacks, worst_case=False)
        if wanted.references:
            references = cell.of_target(stage.part.target).references
        attacked = round(2 * play.samples * (play.outliers or 1))
        seats = Seats(
            domain=stage.data.samples.domain,
            budget=None,
            attacked=attacked,
            targets=1,
            references=references if wanted.references else 0,
            rest=sum(map(len, stage.distinct)) - attacked,
            shadow_samples=2 * _shadow_samples(stage, play),
        )
        total += questions_of(attacks, seats, chunk=execution.chunk)
        if len(attacks) < len(play.attacks):
            total += Questions(rows=PASSES * (attacked + 2 * _shadow_samples(stage, play)))
    speed = measured_speed(stage.plain, stage.parts.members, execution.executor)
    copies = len(augment.translations(cell.every_shift)) if cell.every_shift else 1
    shown = copies * (len(stage.parts.members) + len(stage.parts.shadow_members))
    shown += references * len(stage.parts.members)
    epochs = min(stage.plain.recipe.max_epochs, EPOCHS)
    slower = PRIVATE if "dp-sgd" in cell.defense else 1
    return Cost(
        trainings=2 + references,
        queries=total.queries,
        rows=total.rows,
        seconds=speed.training * shown * epochs * slower + speed.answering * (total.queries + total.rows),
    )


def played(stage: Stage, execution: Execution) -> PartSummary:
    """Trains and attacks; the same part gives the same summary, but for times."""
    started = time.perf_counter()
    cell, seed = stage.part.cell, stage.part.target
    asking = Asking.by(execution, seed=seed, store=stage.store)
    target = _target(stage, stage.trainer, asking)
    plays, shadow_facts = [], None
    for play in cell.plays:
        summary, owned = _played(stage, play, target, asking)
        plays.append(summary)
        shadow_facts = owned.shadow_facts or shadow_facts
    right = [_share_right(stage, target, group) for group in (stage.parts.members, stage.parts.nonmembers)]
    environment = environment_of(seed, time.perf_counter() - started, stage.device)
    return PartSummary(
        experiment=stage.part.experiment,
        cell=cell.name,
        target=seed,
        declared=declared(stage.part),
        description=f"{stage.trainer.description}, {target.told}" if target.told else stage.trainer.description,
        train_accuracy=right[0],
        test_accuracy=right[1],
        shadow_train_accuracy=None if shadow_facts is None else shadow_facts.train_accuracy,
        shadow_test_accuracy=None if shadow_facts is None else shadow_facts.test_accuracy,
        train_size=len(stage.parts.members),
        shadow_size=len(stage.parts.shadow_members),
        epsilon=stage.epsilon,
        plays=plays,
        notes=list(stage.notes),
        seconds=round(environment.seconds, 1),
        device=str(stage.device),
        machine=environment.machine,
        versions=environment.versions,
    )


def _shadow_samples(stage: Stage, play: Play) -> int:
    """Members, and as many non-members, of the shadow model that are asked about."""
    most = round(play.samples * play.outliers) if play.outliers else play.samples
    there = min(len(stage.parts.shadow_members), len(stage.parts.shadow_nonmembers))
    return min(there, MOST_SHADOW, max(most, FEWEST_ASKED))


def _target(stage: Stage, trainer: Trainer, asking: Asking) -> Made:
    asking.watch.stage("training the target", trainer.epochs or EPOCHS, "epochs")
    seed = randomness.derive(asking.seed, "target")
    members = _shown(stage, stage.parts.members)
    return shadows.train_alone(trainer, members, seed, on_epoch=told(asking.watch), executor=asking.executor)


def _shown(stage: Stage, samples: Samples) -> Samples:
    """What a training shows in an epoch: the samples, then their shifts if the cell wants every shift."""
    distance = stage.part.cell.every_shift
    if not distance:
        return samples
    assert isinstance(samples.domain, Box)
    copies = [samples]
    for number, move in enumerate(augment.translations(distance)[1:], start=1):
        inputs = augment.apply(move, samples.inputs, fill=samples.domain.lower)
        ids = samples.ids + number * (int(stage.data.samples.ids.max()) + 1)
        copies.append(Samples(ids=ids, inputs=inputs, labels=samples.labels, domain=samples.domain))
    return concatenate(*copies)


def _share_right(stage: Stage, target: Made, group: Samples) -> float:
    model = askable(target.model, stage.device, role="target", classes=stage.data.classes)
    samples = group.to(stage.device)
    labels = model.labels.ask(samples.inputs, samples.ids)
    return float((labels == samples.labels).float().mean())


def _played(stage: Stage, play: Play, target: Made, asking: Asking) -> tuple[PlaySummary, Owned]:
    """The attacks on the same samples."""
    trainer = stage.trainer
    if play.mask:
        assert isinstance(trainer, RecipeTrainer), "masks are worn by plain models"
        trainer = defended_by(play.mask, trainer, stage.defender).trainer
        target = _target(stage, trainer, asking)
    rows = [attack_named(name) for name in play.attacks if name != WHITE_BOX]
    case = _case(stage, play, target, trainer)
    owned = owned_by(case, rows, Terms(seed=asking.seed), device=stage.device, asking=asking)
    game = Game(target=owned.target, shadow=owned.shadow, references=owned.references, budget=None, asking=asking)
    suffix = play.suffix
    attacks, left_out = {}, {}
    inside = owned.target.inside.numpy()
    for row in rows:
        reason = _unplayable(row, game, stage)
        if reason is not None:
            left_out[row.name + suffix] = reason
            continue
        outcome = played_or_kept(game, row)
        asking.watch.say(f"{row.name}{suffix}: {outcome.signal}")
        if outcome.threshold is None:
            left_out[row.name + suffix] = "no model of the attacker's chose a threshold"
        else:
            attacks[row.name + suffix] = _summary(outcome, outcome.threshold, inside)
    if WHITE_BOX in play.attacks:
        assert owned.shadow is not None, "other attacks of the same play need it"
        attacks[WHITE_BOX] = _white_box(owned.target, owned.shadow)
    summary = PlaySummary(
        mask=play.mask,
        samples=len(inside),
        content=_content(owned.target),
        members=packed(inside),
        right=packed(game.right().numpy()),
        attacks=attacks,
        left_out=left_out,
    )
    return summary, owned


def _unplayable(row: Attack, game: Game, stage: Stage) -> str | None:
    return row.unplayable(domain=stage.data.samples.domain) or game.lacks(row)


def _content(side: Side) -> str:
    """Fingerprint of the samples, their order and who is a member."""
    return f"{content_of(side.samples)[:16]}-{packed(side.inside.numpy())[:16]}"


def _case(stage: Stage, play: Play, target: Made, trainer: Trainer) -> Case:
    parts, settings = stage.parts, stage.part.cell.of_target(stage.part.target)
    asked = _shadow_samples(stage, play)
    pool = concatenate(*stage.distinct)
    model = askable(target.model, stage.device, role="target", classes=stage.data.classes)
    [model] = settled([model], parts.members.inputs[:1].to(stage.device), stage.store)
    members, nonmembers = (group.take(slice(0, play.samples)) for group in stage.distinct)
    if play.outliers:
        members, nonmembers = _outliers(stage, members, nonmembers, trainer, share=play.outliers)
    return Case(
        data=stage.data.name,
        target=model,
        target_description=trainer.description,
        classes=stage.data.classes,
        members=members,
        nonmembers=nonmembers,
        population=parts.population if len(parts.population) else None,
        shadow=ShadowPlan.of(_shown(stage, parts.shadow_members), parts.shadow_nonmembers, trainer, asked),
        references=ReferencePlan.of(pool, settings.references, trainer, seed=stage.part.target),
        crafting=crafting_of(parts, stage.plain, seed=stage.part.target),
        own=concatenate(parts.shadow_members, parts.shadow_nonmembers),
        missing={Need.SURROGATE: "no experiment trains one"},
    )


def _outliers(
    stage: Stage, members: Samples, nonmembers: Samples, trainer: Trainer, *, share: float
) -> tuple[Samples, Samples]:
    """The members and the non-members among the share of points with the fewest neighbours.

    Neighbours are found in the penultimate layer of the shadow model, which never saw the points.
    """
    everyone = concatenate(members, nonmembers)
    seed = randomness.derive(stage.part.target, "shadow model")
    made = shadows.train_alone(trainer, _shown(stage, stage.parts.shadow_members), seed)
    if not isinstance(made.model, torch.nn.Module):
        raise InvalidInput("outliers need a network as shadow model, this defense guards it")
    around = outliers.surroundings([outliers.features(made.model, everyone.inputs)])
    count = max(2, round(share * len(everyone)))
    # Fewest neighbours within the middle radius; among equals, the farthest from its nearest.
    few, far = around.counts[len(around.counts) // 2].double(), around.similarity[:, 0].double()
    chosen = (few + (far + 1) / 4).argsort()[:count].sort().values
    first = chosen[chosen < len(members)], chosen[chosen >= len(members)]
    return everyone.take(first[0]), everyone.take(first[1])


def _summary(outcome: Played, threshold: float, inside: np.ndarray) -> AttackSummary:
    scores = outcome.scores.numpy()
    return AttackSummary(
        signal=outcome.signal,
        queries=float(outcome.measurement.queries.double().mean()),
        called=packed(scores >= threshold),
        auc=None if inside.all() or not inside.any() else roc.auc(scores, inside),
        seconds=round(outcome.seconds, 2),
    )


def _white_box(target: Side, shadow: Side) -> AttackSummary:
    """The distance that gradients find on the target, at the shadow model's best threshold."""
    started = time.perf_counter()
    on_shadow, on_target = (_distances(side) for side in (shadow, target))
    threshold = roc.best_threshold(on_shadow.numpy(), shadow.inside.numpy())
    scores = on_target.numpy()
    return AttackSummary(
        signal="Carlini & Wagner's L2 distance, by gradients of the target",
        queries=None,
        called=packed(scores >= threshold),
        auc=roc.auc(scores, target.inside.numpy()),
        seconds=round(time.perf_counter() - started, 2),
    )


def _distances(side: Side) -> Tensor:
    network = side.model.network
    if network is None:
        raise InvalidInput(f"attack {WHITE_BOX!r} needs a network's gradients, this target shows none")
    return whitebox.carlini_wagner(network, side.samples).distances.double().cpu()
