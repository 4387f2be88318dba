"""The case of a comparison: undefended models, the defenses at their strengths, and what their defender has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from hardlabel import checks
from hardlabel.attacks import Attack, Need, ladder
from hardlabel.audits.cases.from_arrays import crafting_plan, drawn
from hardlabel.audits.cases.plans import FEWEST_SHADOW, MOST_SHADOW, ReferencePlan, ShadowPlan, lacking_pairs
from hardlabel.audits.cases.recipe import RecipeCase, check_repeats
from hardlabel.audits.cases.repeats import counted
from hardlabel.audits.cases.terms import Terms
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples, concatenate
from hardlabel.data.split import DEFAULT_SIZE, equal_sizes, split
from hardlabel.defenses.base import Defender
from hardlabel.defenses.table import Strength, chosen
from hardlabel.defenses.trainer import Defended, defended
from hardlabel.models.remembered import RememberedTrainer
from hardlabel.models.trainers import FunctionTrainer, RecipeTrainer, Trainer
from hardlabel.randomness import derive
from hardlabel.records.model import LeftOut
from hardlabel.store import Store

GROUPS = 5  # Members, non-members, the same for the shadow model, and the defender's reserve.


@dataclass(frozen=True, kw_only=True, eq=False)
class DefensesCase:
    """What is compared, checked; nothing is trained yet.

    Attributes:
        case: The undefended models, and the attacked samples.
        attacks: The attacks.
        terms: What is asked.
        defender: What defenders have.
        strengths: Each defense at each strength, with its trainer.
        left_out: Defenses that cannot be compared here, with the reason.
    """

    case: RecipeCase
    attacks: Sequence[Attack]
    terms: Terms
    defender: Defender
    strengths: Sequence[tuple[Strength, Defended]]
    left_out: Sequence[LeftOut]


def case_of_defenses(
    everyone: Samples,
    trainer: Trainer,
    terms: Terms,
    *,
    data: str,
    classes: int,
    train_size: int | None,
    samples: float,
    repeats: int,
    defenses: Sequence[str] | None,
    levels: Mapping[str, Sequence[float]] | None,
    pretraining: Samples | None,
    strict: bool,
    notes: Sequence[str] = (),
    device: torch.device,
    store: Store,
) -> DefensesCase:
    """Splits the samples `everyone` of the data set `data` and checks the arguments; see `hardlabel.defend`.

    Raises:
        InvalidInput: An argument breaks a rule, or a defense asked for cannot be compared.
    """
    if isinstance(trainer, FunctionTrainer):
        trainer = RememberedTrainer.of(trainer)  # Each defense guards the same models.
    references, seed = terms.attacker.references, terms.seed
    check_repeats(repeats, references)
    checks.at_least(FEWEST_SHADOW, samples=samples)
    size = min(len(everyone) // GROUPS, DEFAULT_SIZE) if train_size is None else train_size
    checks.at_least(FEWEST_SHADOW, train_size=size)
    rows = counted(everyone, strict=strict)
    parts = split(everyone, equal_sizes(len(everyone), size), seed=seed, contents=rows.contents)
    shadow_groups = parts.shadow_members, parts.shadow_nonmembers
    own = concatenate(*shadow_groups)
    crafting, _ = crafting_plan(own, classes, size, seed=seed, device=device, store=store)
    pool = concatenate(rows.once(parts.members), rows.once(parts.nonmembers))
    plan = ReferencePlan.of(pool, references + 2, trainer, seed=seed)
    case = RecipeCase(
        data=data,
        classes=classes,
        plan=plan,
        attacked=drawn(plan.pool, round(2 * samples), seed),
        targets=repeats,
        own=own,
        shadow=ShadowPlan.of(*shadow_groups, trainer, min(size, MOST_SHADOW)),
        crafting=crafting,
        missing=lacking_pairs(references),
        notes=(f"Data: {data}, {len(everyone)} rows.", *notes, *rows.notes),
    )
    case = with_second(case, trainer)
    attacks = _attacks(terms, case)
    if not any(attack.crafted for attack in attacks):
        case = replace(case, crafting=None)  # No attack uses its networks.
    defender = Defender(
        domain=everyone.domain,
        classes=classes,
        train_size=plan.train_size,
        reserve=parts.population.take(slice(0, size)) if len(parts.population) else None,
        pretraining=pretraining,
        device=device,
        store=store,
        seed=seed,
    )
    strengths, left_out = [], []
    for strength in chosen(defenses, levels):
        try:
            _refuse_unplayable(strength, attacks)
            strengths.append((strength, defended(strength, trainer, defender)))
        except InvalidInput as error:
            if defenses is not None:
                raise
            left_out.append(LeftOut(name=strength.name, reason=str(error)))
    return DefensesCase(
        case=case, attacks=attacks, terms=terms, defender=defender, strengths=strengths, left_out=left_out
    )


def with_second(case: RecipeCase, trainer: Trainer) -> RecipeCase:
    """The case with the shadow model as second crafter, as the attacker trains it; only if that is a network."""
    if case.crafting is None or case.shadow is None or not isinstance(trainer, RecipeTrainer):
        return case
    sets = ((case.shadow.members, derive(case.plan.seed, "shadow model")),)
    return replace(case, crafting=replace(case.crafting, second=trainer, second_sets=sets))


def _attacks(terms: Terms, case: RecipeCase) -> list[Attack]:
    """The attacks asked for; without names, a few of each kind."""
    if terms.attacks is None:
        rung = ladder.best(case.attacked.domain, terms.budget or ladder.USUAL, case.missing)
        names = dict.fromkeys(("gap", rung.attack, "shadow-network", "lira"))
        terms = replace(terms, attacks=tuple(names))
    return terms.chosen(case.attacked.domain, missing=case.missing, attacked=len(case.attacked) * case.targets).rows


def _refuse_unplayable(strength: Strength, attacks: Sequence[Attack]) -> None:
    """Refuses a defense if no attack can be played on its models."""
    row, missing = strength.row, dict[Need, str]()
    if not row.shows_scores:
        shown = (Need.SCORES, Need.SHOWING_REFERENCES, Need.SHOWING_SHADOW)
        missing |= dict.fromkeys(shown, "its models answer with labels only")
    if row.guards:
        missing[Need.GRADIENTS] = "its models show none"
    needs = [attack.first_missing(missing) for attack in attacks]
    if None not in needs:
        words = sorted({"gradients" if need is Need.GRADIENTS else "confidences" for need in needs})
        names = [attack.name for attack in attacks]
        raise InvalidInput(
            f"attacks must hold one that needs no {' or '.join(words)} for defense {row.name!r}, got {names}"
        )
