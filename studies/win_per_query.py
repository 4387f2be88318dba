"""Leakage per query: our attacks, the field's and LiRA on the same targets and samples; `make study`.

    python studies/win_per_query.py SETTING...     plays the settings (all by default), each into its own part
    python studies/win_per_query.py --table        writes RESULTS.md from the parts

Models and measurements are kept in the store, finished steps in runs/study/SETTING.json, so that a study that broke off
goes on where it was; remove a part to make it anew.
"""

import argparse
import functools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from settings import FIELD_TARGETS, SETTINGS, Setting
from write import write

from hardlabel import randomness
from hardlabel.attacks import TABLE, Need
from hardlabel.audits.attacker.models import knowledge_of
from hardlabel.audits.attacker.paired import PairedModels, paired, turns
from hardlabel.audits.attacker.references import accuracies, crafters_of, sides_of, trained_references
from hardlabel.audits.cases.recipe import RecipeCase, case_of_recipe
from hardlabel.audits.game.asking import Asking, Side
from hardlabel.audits.game.game import Played
from hardlabel.metrics import crossed
from hardlabel.models.trainers import Made
from hardlabel.records.environment import environment_of
from hardlabel.runs.progress import SILENT
from hardlabel.store import Store, default_store
from hardlabel.targets.askable import AskableModel
from hardlabel.targets.registry import askable

FPR = 0.01
BASELINES = ("lira-published", "lira")
OURS = (("path", 5), ("path", 10))


class Study:
    """One setting's models, and what has been measured on them."""

    def __init__(self, setting: Setting, device: str, store: Store | None = None) -> None:
        self.setting, self.device = setting, torch.device(device)
        self.store = store or default_store()
        self._played: dict[tuple, list[Played]] = {}
        self.asking = Asking(seed=setting.config.seed, watch=SILENT, store=self.store)
        case = case_of_recipe(
            setting.config.model_copy(update={"samples": setting.attacked // 2, "repeats": setting.targets}),
            device=self.device,
            store=self.store,
            watch=SILENT,
        )
        rows = [TABLE[name] for name, _ in setting.attacks]
        self.models: PairedModels = paired(case, rows, device=self.device, asking=self.asking)
        self.targets = turns(len(self.models.sides))[: setting.targets]
        self.inside = torch.stack([self.models.sides[one].inside for one in self.targets]).numpy()

    def play(
        self,
        name: str,
        budget: int | None,
        *,
        models: PairedModels | None = None,
        count: int | None = None,
        targets: int | None = None,
    ) -> list[Played]:
        """One attack on every target, or the first so many.

        Args:
            name: The attack.
            budget: Most queries per sample.
            models: Whose references are taken; None for the study's own.
            count: Most references.
            targets: How many play target.
        """
        key = (name, budget, targets)
        plain = models is None and count is None
        if plain and key in self._played:
            return self._played[key]
        attack = TABLE[name]
        found = []
        for target in self.targets[:targets]:
            game = (models or self.models).game(
                target, budget=budget, asking=self.asking, crafted=Need.GRADIENTS in attack.uses
            )
            if count is not None:
                game = replace(game, references=first(game.references, count))
            found.append(game.play(attack))
        if plain:
            self._played[key] = found
        return found

    def figures(self, name: str, played: list[Played], bases: dict[str, np.ndarray], inside: np.ndarray) -> dict:
        """What the tables show of one attack."""
        scores = scores_of(played)
        queries = np.stack([one.measurement.queries.numpy() for one in played])
        told = {
            "attack": name,
            "calibration": played[0].calibration,
            "queries": float(queries.mean()),
            "most": int(queries.max()),
            "overhead": max(sum(one.overhead.values()) for one in played),
            "auc": estimate(crossed.mean_auc(scores, inside)),
            "aucs": crossed.aucs(scores, inside).tolist(),
            "tpr": estimate(crossed.pooled_tpr(scores, inside, FPR, seed=0)),
            "references": max(one.references for one in played),
            "rows": max(one.reference_rows for one in played),
            "seconds": max(one.reference_seconds for one in played),
        }
        for other, base in bases.items():
            told[f"difference {other}"] = estimate(crossed.auc_difference(scores, base, inside))
            told[f"ratio {other}"] = estimate(crossed.tpr_ratio(scores, base, inside, FPR, seed=0))
        return told


def scores_of(played: list[Played]) -> np.ndarray:
    return torch.stack([one.scores for one in played]).numpy()


def estimate(one) -> list:
    return [one.value, one.low, one.high]


def first(references, count: int):
    """The first so many reference models; a single one has no partner."""
    partner = references.partner[:count].clone()
    partner[partner >= count] = -1
    return replace(
        references,
        sides=references.sides[:count],
        pool_sides=references.pool_sides[:count],
        partner=partner,
    )


def label(name: str, budget: int | None) -> str:
    return name if budget is None else f"{name}@{budget}"


def compare(study: Study, name: str, budget: int | None) -> dict:
    """An attack of the setting against plain online LiRA."""
    bases = {base: scores_of(study.play(base, None)) for base in BASELINES}
    return study.figures(label(name, budget), study.play(name, budget), bases, study.inside)


def against_field(study: Study, name: str, budget: int | None, count: int) -> dict:
    """An attack of the paper's or the field's, and ours on the same targets and samples."""
    targets = study.targets[:FIELD_TARGETS]
    inside = study.inside[: len(targets), :count]
    attack = TABLE[name]
    # AUC and TPR at an FPR need no threshold: the shadow model is spared the search.
    shadow = None if name == "boundary" else study.models.shadow
    part = replace(study.models, sides=tuple(cut(side, count) for side in study.models.sides), shadow=shadow)
    # One draw of samples and one knowledge for all sides, so that a plan is made once.
    games = [
        part.game(one, budget=budget, asking=study.asking, crafted=Need.GRADIENTS in attack.uses) for one in targets
    ]
    played = [game.play(attack) for game in games]
    theirs = study.figures(label(name, budget), played, {}, inside)
    for ours in OURS:
        first = scores_of(study.play(*ours))[: len(targets), :count]
        theirs[label(*ours)] = {
            "auc": estimate(crossed.mean_auc(first, inside)),
            "difference": estimate(crossed.auc_difference(first, scores_of(played), inside)),
            "ratio": estimate(crossed.tpr_ratio(first, scores_of(played), inside, FPR, seed=0)),
        }
    return {**theirs, "samples": count}


@functools.cache
def part_of(samples, count: int):
    return samples.take(slice(0, count))


def cut(side, count: int):
    return replace(side, samples=part_of(side.samples, count), inside=side.inside[:count])


def by_count(study: Study, count: int, name: str, budget: int | None) -> dict:
    """How strength depends on the number of reference models."""
    played = study.play(name, budget, count=count, targets=FIELD_TARGETS)
    told = study.figures(label(name, budget), played, {}, study.inside[: len(played)])
    return {**told, "models": count}


def mismatched(study: Study, title: str, name: str, budget: int | None, alike: bool) -> dict:
    """How strength depends on references and crafters being trained as the target was."""
    models = other_models(study, title)
    models = replace(models, case=replace(models.case, plan=replace(models.case.plan, alike=alike)))
    played = study.play(name, budget, models=models, targets=FIELD_TARGETS)
    told = study.figures(label(name, budget), played, {}, study.inside[: len(played)])
    return {**told, "models": title, "standardized": not alike}


@functools.cache
def other_models(study: Study, title: str) -> "Mixed":
    """The study's targets among another recipe's references on the same pool."""
    config = study.setting.others[title]
    other = case_of_recipe(
        config.model_copy(update={"samples": study.setting.attacked // 2, "repeats": study.setting.targets}),
        device=study.device,
        store=study.store,
        watch=SILENT,
    )
    # A smaller size takes a part of each half.
    inside = study.models.case.plan.inside.clone()
    for row in inside:
        row[row.nonzero().flatten()[config.train_size or 0 :]] = False
    plan = replace(study.models.case.plan, trainer=other.plan.trainer, inside=inside)
    case = replace(other, plan=plan, attacked=study.models.case.attacked)
    return mixed(study, case, trained_references(plan, SILENT))


def mixed(study: Study, case: RecipeCase, made: Sequence[Made]) -> "Mixed":
    """The study's targets with another recipe's references and crafters."""
    crafters = crafters_of(case.crafting, SILENT)
    knowledge = knowledge_of(case, crafters=crafters, shadows=None, device=study.device)
    asked = [askable(one.model, study.device, role="model") for one in made]
    there = sides_of(case.plan, asked, study.models.sides[0].samples, knowledge, with_pool=False)
    samples = there.sides[0].samples
    return Mixed(
        sides=there.sides,
        pool_sides=(),
        shadow=None,
        made=made,
        case=case,
        targets=tuple(replace(side, knowledge=knowledge, samples=samples) for side in study.models.sides),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Mixed(PairedModels):
    """Targets of one recipe, references of another."""

    targets: tuple[Side, ...]

    def game(self, target, **settings):
        return replace(super().game(target, **settings), target=self.targets[target])


@functools.cache
def stranger(study: Study) -> AskableModel:
    """A model trained on data disjoint from the pool."""
    case = study.models.case
    size = int(case.plan.inside[0].sum())
    rest = case.population
    if rest is None or len(rest) < size:
        rest = case.own  # The crafters' data: the pool knows nothing of them either.
    made = case.plan.trainer.fit(rest.take(slice(0, size)), randomness.derive(study.setting.config.seed, "null", 0))
    return askable(made.model, study.device, role="null model")


def null(study: Study, name: str, budget: int | None) -> dict:
    """The stranger's answers, membership as the design has it: one target of each pair, for partners are opposites."""
    crafted, scores = Need.GRADIENTS in TABLE[name].uses, []
    targets = [one for one in study.targets if one % 2 == 0]
    for target in targets:
        game = study.models.game(target, budget=budget, asking=study.asking, crafted=crafted)
        game = replace(game, target=replace(game.target, model=stranger(study)))
        scores.append(game.play(TABLE[name]).scores)
    inside = torch.stack([study.models.sides[one].inside for one in targets]).numpy()
    return {"attack": label(name, budget), "z": crossed.null_z(torch.stack(scores).numpy(), inside).tolist()}


def cells(setting: Setting) -> Iterator[tuple[str, Callable[..., dict], tuple]]:
    """What is found out of a setting: the step it belongs to, what makes it, and of what."""
    for name, budget in setting.attacks:
        yield "attacks", compare, (name, budget)
    for models in setting.counts:
        for name, budget in (("path", 5), ("path-offline", 9), ("lira", None)):
            yield "counts", by_count, (models, name, budget)
    for name, budget in setting.attacks:
        if TABLE[name].calibration.per_sample or TABLE[name].crafted:  # Others know nothing that could leak.
            yield "null", null, (name, budget)
    for one in setting.field:
        yield "field", against_field, one
    for title in setting.others:
        for name, budget in (("path", 9), ("path-estimate", 9), ("lira", None)):
            for alike in (True, False):
                yield "mismatched", mismatched, (title, name, budget, alike)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("settings", nargs="*", default=[], help=", ".join(SETTINGS))
    parser.add_argument("--out", type=Path, default=Path("runs/study"))
    parser.add_argument("--steps", nargs="*", help="attacks, counts, null, field, mismatched; all by default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--table", action="store_true", help="only write RESULTS.md from the parts")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    for name in () if asked.table else asked.settings or SETTINGS:
        print(name, flush=True)
        study = Study(SETTINGS[name], asked.device)
        path = asked.out / f"{name}.json"
        part = json.loads(path.read_text()) if path.exists() else {"seconds": 0.0, "done": []}
        part |= {"setting": name, "accuracy": accuracy(study)}
        part["training_seconds"] = sum(one.seconds for one in study.models.made)
        for step, make, of in cells(study.setting):
            if asked.steps and step not in asked.steps:
                continue
            if [step, *of] in part["done"]:
                continue  # Made by an earlier run; remove the part to make it anew.
            started = time.perf_counter()
            told = make(study, *of)
            part.setdefault(step, []).append(told)
            part["done"].append([step, *of])
            took = time.perf_counter() - started
            part["seconds"] += took
            print(f" {step} {of}: {told.get('auc', [float('nan')])[0]:.3f}, {took:.0f} s", flush=True)
            environment = environment_of(study.setting.config.seed, part["seconds"], study.device)
            part["environment"] = json.loads(environment.model_dump_json())
            path.write_text(json.dumps(part, indent=1))
    write(asked.out, Path(__file__).parent / "RESULTS.md")


def accuracy(study: Study) -> list[float]:
    told = accuracies([study.models.sides[one] for one in study.targets])
    return [float(np.mean(part)) for part in zip(*told, strict=True)]


if __name__ == "__main__":
    main()
