"""Plays the attacks on one model, given or trained here, and writes the record."""

import time
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import torch

from hardlabel.attacks import Attack, Need, ScoreAttack
from hardlabel.audits.attacker import guessed_labels
from hardlabel.audits.attacker.models import owned_by
from hardlabel.audits.attacker.shadow import labelled_by_target
from hardlabel.audits.cases.case import Case, counted
from hardlabel.audits.cases.terms import Terms
from hardlabel.audits.findings import exposed, figures, worst_case
from hardlabel.audits.game.asking import Asking, Side
from hardlabel.audits.game.batches import settled
from hardlabel.audits.game.check_rows import CheckRows
from hardlabel.audits.game.game import ACCURACY, Game, Played
from hardlabel.audits.game.kept_scores import played_or_kept
from hardlabel.checks import InvalidInput
from hardlabel.metrics import blind, intervals
from hardlabel.oracles.budget import Account
from hardlabel.records.environment import environment_of
from hardlabel.records.model import AuditRecord, Blind, Checks, LeftOut, Results, Target
from hardlabel.records.verdict import ClassRight, constant, exchanged, ignorance


def audited(
    case: Case, terms: Terms, *, device: torch.device, asking: Asking, started: float, refuse: bool = False
) -> AuditRecord:
    """Plays every attack on a case and returns the record.

    Args:
        case: What is audited.
        terms: What is asked.
        device: Where the target's samples are.
        asking: How models are asked.
        started: When the clock began.
        refuse: Whether a target that knows nothing of its training data ends the audit before anything is trained.

    Raises:
        InvalidInput: An answer is no class; or, with `refuse`, the target knows nothing.
    """
    watch, store = asking.watch, asking.store
    attacked = len(case.members) + len(case.nonmembers)
    chosen = terms.chosen(case.members.domain, missing=case.missing, attacked=attacked)
    case = counted(case, device)
    [target] = settled([case.target], case.members.inputs[:1].to(device), store)
    if any(isinstance(attack, ScoreAttack) for attack in chosen.rows):
        target.try_scores(case.members, case.nonmembers)
    checker = CheckRows.of(
        target, case.members, case.nonmembers, seed=terms.seed, device=device, store=store, watch=watch
    )
    case = replace(case, target=checker.watched)
    attacker = Account(on_spent=watch.advance)  # Pays for labels that the attacker asks for.
    right, first_side = _first_answers(case, terms, device=device, asking=asking, refuse=refuse)
    truth = labelled_by_target(case, attacker, device=device, store=store, watch=watch)
    case = guessed_labels.labelled(truth, terms, attacker, device=device, store=store, watch=watch)
    owned = owned_by(case, chosen.rows, terms, device=device, asking=asking)
    game = Game(
        target=owned.target, shadow=owned.shadow, references=owned.references, budget=terms.budget, asking=asking
    )
    # The record's figures use the true labels, whatever labels the attacker has.
    true_side = guessed_labels.side_of(truth, game.target)
    member, labels = true_side.inside.numpy(), true_side.samples.labels.cpu().numpy()
    asking.carry(ACCURACY, first_side, true_side)
    results, frames, played_by_name = [], [], {}
    for attack in chosen.rows:
        if (reason := game.lacks(attack)) is not None:
            chosen.left_out[attack.name] = reason
            continue
        played = played_or_kept(game, attack)
        result = figures.result(
            attack,
            played,
            member=member,
            labels=labels,
            right=right,
            prior=terms.focus.prior,
            overhead={**guessed_labels.paid(attacker.overhead, shadow_used=played.shadow_used), **played.overhead},
            seed=terms.seed,
        )
        watch.say(f"{attack.name}: AUC {result.auc}, {result.queries_per_sample.mean:.4g} queries per sample")
        checker.check()
        results.append(result)
        played_by_name[attack.name] = played
        frames.append(_frame(attack, played, true_side, case))
    watch.stage("blind baseline", 1, "fits")
    blind_auc, blind_method = blind.blind_baseline(truth.members, truth.nonmembers, seed=terms.seed)
    watch.stage("who is exposed", 1, "looks")
    access = {result.name: result.access for result in results}
    at_risk = exposed.of_audit(case, terms, owned, true_side, played_by_name, access=access, asking=asking)
    checker.check()
    checked = checker.result()
    scores = {result.name: frame["score"].to_numpy() for result, frame in zip(results, frames, strict=True)}
    return AuditRecord(
        results=Results(
            data=case.data,
            domain=case.members.domain.kind,
            members=len(case.members),
            nonmembers=len(case.nonmembers),
            prior=terms.focus.prior,
            budget=terms.budget,
            target=_target(case, right, member, device),
            shadow=owned.shadow_facts,
            references=owned.reference_facts,
            choice=figures.choice_of(chosen.rung),
            blind=Blind(auc=blind_auc, differs=blind.differs(blind_auc), method=blind_method),
            attacks=results,
            differences=figures.differences(scores, access, member),
            left_out=[LeftOut(name=name, reason=reason) for name, reason in chosen.left_out.items()],
            worst_case=at_risk.worst_case,
            exposed=at_risk.exposed,
            groups=at_risk.groups,
            named=at_risk.named,
            checks=checked,
            notes=[*_notes(case, terms, "gap" in scores), *worst_case.notes(attacked), *_checked_notes(checked)],
            environment=environment_of(
                terms.seed, time.perf_counter() - started, device, check_queries=checker.queries
            ),
        ),
        scores=exposed.published(pd.concat(frames, ignore_index=True), true_side.samples, show=terms.focus.show_records)
        if frames
        else pd.DataFrame(columns=_COLUMNS),
    )


def _first_answers(
    case: Case, terms: Terms, *, device: torch.device, asking: Asking, refuse: bool
) -> tuple[figures.Bools, Side]:
    """Which attacked samples the target is right on, asked before anything is trained, and the side that was asked.

    A target that answers nonsense is refused here. What contradicts itself is told at once, and again in the verdict.
    """
    side = Side.mixed(case.target, case.members.to(device), case.nonmembers.to(device), seed=terms.seed)
    game = Game(target=side, shadow=None, budget=terms.budget, asking=asking)
    right = game.right().numpy()
    by_class = figures.class_rights(side.inside.numpy(), side.samples.labels.cpu().numpy(), right)
    contradictory = [] if case.private else ignorance(by_class)[0]
    if refuse and contradictory:
        raise _unlike_its_data(by_class)
    for reason in (*contradictory, *exchanged(by_class)):
        asking.watch.say(str(reason))
    return right, side


def _unlike_its_data(by_class: Sequence[ClassRight]) -> InvalidInput:
    """The error for a target that knows nothing of the members."""
    members = sum(each.members for each in by_class)
    way_out = "--label-map if it names the classes otherwise, --private if it may know nothing"
    if constant(by_class):
        asked = members + sum(each.nonmembers for each in by_class)
        return InvalidInput(
            f"target answers one class for all {asked:,} rows: are the columns as in training? {way_out}"
        )
    hits, most = sum(each.right_members for each in by_class), max(each.members for each in by_class)
    return InvalidInput(
        f"target is right on {hits / members:.0%} of members, guessing is {most / members:.0%}: are these its training "
        f"rows? {way_out}"
    )


def _target(case: Case, right: figures.Bools, member: figures.Bools, device: torch.device) -> Target:
    return Target(
        description=case.target_description,
        train_accuracy=intervals.rate_interval(int(right[member].sum()), int(member.sum())),
        test_accuracy=intervals.rate_interval(int(right[~member].sum()), int((~member).sum())),
        classes=case.classes,
        device=str(device),
        batch_size=case.target.torch_model.batch_size if case.target.torch_model else None,
        private=case.private,
        family=case.family,
    )


_COLUMNS = ["id", "row", "member", "label", "attack", "score", "queries"]


def _frame(attack: Attack, played: Played, target: Side, case: Case) -> pd.DataFrame:
    ids = target.samples.ids.tolist()
    columns = (
        ids,
        ids if case.rows is None else [case.rows[sample_id] for sample_id in ids],
        target.inside.numpy(),
        target.samples.labels.cpu().numpy(),
        attack.name,
        played.scores.numpy(),
        played.measurement.queries.numpy(),
    )
    return pd.DataFrame(dict(zip(_COLUMNS, columns, strict=True)))


def _notes(case: Case, terms: Terms, gap_asked: bool) -> list[str]:
    notes = [*case.notes, *guessed_labels.notes(terms, case)]
    if case.shadow is None:
        notes.append(
            f"Thresholds could not be chosen: {case.missing[Need.SHADOW]}. AUC and ROC need none; settings that a "
            "shadow model would choose were left at a middling value."
        )
    elif case.shadow.note:
        notes.append(case.shadow.note)
    if len(case.members) != len(case.nonmembers):
        notes.append(
            f"The groups differ in size ({len(case.members)} members, {len(case.nonmembers)} non-members). "
            "AUC, balanced accuracy and TPR at an FPR do not depend on that; precision in this sample does."
        )
    if terms.budget is not None:
        notes.append(
            f"Each attack was allowed {terms.budget} queries per sample. An attack that gains nothing from so many "
            "asks fewer."
        )
    if not gap_asked:
        notes.append("The audit itself asked the target once per sample for its accuracy, charged to no attack.")
    if case.target.torch_model is not None and case.target.torch_model.probabilities:
        notes.append(
            "The target answers with probabilities, not logits: their logarithms were taken, so that no softmax is "
            "applied twice."
        )
    if case.target.torch_model is not None:
        notes.append(
            f"The audit itself sent the target {case.target.probed} rows to find its best batch "
            "size, charged to no attack."
        )
    return notes


def _checked_notes(checked: Checks | None) -> list[str]:
    if checked is None:
        return []
    return [f"The audit itself checked, charged to no attack, whether the target changes: {checked.told}."]
