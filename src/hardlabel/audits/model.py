"""The audit of one model that hardlabel trains."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from hardlabel.audits.attacker.models import CRAFTERS, Wanted
from hardlabel.audits.cases.from_settings import Loaded, case_of_settings, load
from hardlabel.audits.cases.terms import Terms
from hardlabel.audits.findings import exposed
from hardlabel.audits.game.asking import Asking
from hardlabel.audits.game.execution import Execution
from hardlabel.audits.plan import Plan, Questions, Seats, Trainings, costs_of, overhead_of, plan_of, questions_of
from hardlabel.audits.playing import audited
from hardlabel.records.model import AuditRecord
from hardlabel.runs.settings import ModelSettings
from hardlabel.store import Store


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelAudit:
    """The audit of a model that hardlabel trains, loaded and checked; see `audits.kind.Prepared`.

    Attributes:
        ready: The data, the split, and how models are trained.
        terms: What is asked.
        device: Where models run.
    """

    ready: Loaded
    terms: Terms
    device: torch.device

    @property
    def settled(self) -> dict[str, object]:
        return {"precision": self.ready.trainer.recipe.precision}

    def plan(self, execution: Execution, folder: Path | None) -> Plan:
        ready, attacks, parts = self.ready, self.ready.picked.rows, self.ready.parts
        wanted = Wanted.by(attacks, worst_case=self.terms.focus.worst_case is not None)
        references = ready.settings.references if wanted.references else 0
        attacked = 2 * ready.attacked
        seats = Seats(
            domain=parts.members.domain,
            budget=self.terms.budget,
            attacked=attacked,
            targets=1,
            references=references,
            rest=sum(map(len, ready.distinct)) - attacked,
            shadow_samples=2 * ready.shadow_attacked if wanted.shadow else 0,
        )
        questions = questions_of(attacks, seats, chunk=execution.chunk)
        overhead = overhead_of(
            self.terms.attacker,
            questions,
            attacked=attacked,
            shadow=len(parts.shadow_members) + len(parts.shadow_nonmembers),
            attacks=len(attacks),
        )
        return plan_of(
            [
                Trainings(models=2 if wanted.shadow else 1),
                Trainings(models=references, together=True),
                Trainings(models=CRAFTERS if wanted.crafters else 0, smooth=True),
            ],
            questions + Questions(queries=overhead) + exposed.looks(seats, chunk=execution.chunk),
            scores=len(attacks),
            costs=costs_of(ready.trainer, parts.members, execution.executor, own_as_targets=False),
            own_at_once=references,
            execution=execution,
            folder=folder,
        )

    def play(self, asking: Asking, started: float) -> AuditRecord:
        case = case_of_settings(self.ready, device=self.device, watch=asking.watch, executor=asking.executor)
        record = audited(case, self.terms, device=self.device, asking=asking, started=started)
        return replace(record, config=dict(case.settings))


def prepare(settings: ModelSettings, *, device: torch.device, store: Store | None, execution: Execution) -> ModelAudit:
    """Loads the data and checks the settings. Trains nothing.

    Raises:
        InvalidInput: A setting breaks a rule.
    """
    terms = Terms.of(settings)
    ready = load(settings, terms, device=device, store=store, watch=execution.watch)
    return ModelAudit(ready=ready, terms=terms, device=device)
