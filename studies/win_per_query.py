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
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from settings import FIELD_TARGETS, SETTINGS, Setting
from write import write

from hardlabel.attacks import TABLE, Attack, Need
from hardlabel.experiments.asking import Asking
from hardlabel.experiments.environment import environment_of
from hardlabel.experiments.game import Played
from hardlabel.experiments.progress import SILENT
from hardlabel.experiments.recipe import Table, case_of_recipe, seated, turns
from hardlabel.experiments.references import trained_references
from hardlabel.metrics import crossed
from hardlabel.store import default_store

FPR = 0.01
BASELINES = ("lira-published", "lira")
OURS = (("path", 5), ("path-estimate", 10))


class Study:
    """One setting at its table, and what has been measured there."""

    def __init__(self, setting: Setting, device: str) -> None:
        self.setting, self.device = setting, torch.device(device)
        self.store = default_store()
        self.asking = Asking(seed=setting.config.seed, watch=SILENT, store=self.store)
        case = case_of_recipe(
            setting.config.model_copy(update={"samples": setting.attacked // 2}),
            repeats=setting.targets,
            device=self.device,
            store=self.store,
            watch=SILENT,
        )
        rows = [TABLE[name] for name, _ in setting.attacks]
        self.table: Table = seated(case, rows, seed=setting.config.seed, device=self.device, watch=SILENT)
        self.targets = turns(len(self.table.sides))[: setting.targets]
        self.inside = torch.stack([self.table.sides[one].inside for one in self.targets]).numpy()

    def play(
        self, name: str, budget: int | None, *, table: Table | None = None, models: int | None = None
    ) -> list[Played]:
        """One attack on every target, with at most `models` references."""
        attack = TABLE[name]
        found = []
        for target in self.targets:
            game = (table or self.table).game(
                target, budget=budget, asking=self.asking, crafted=Need.GRADIENTS in attack.uses
            )
            if models is not None:
                game = replace(game, references=first(game.references, models))
            found.append(game.play(attack))
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


def first(references, models: int):
    """The first so many reference models; a single one has no partner."""
    partner = references.partner[:models].clone()
    partner[partner >= models] = -1
    return replace(
        references,
        sides=references.sides[:models],
        pool_sides=references.pool_sides[:models],
        partner=partner,
    )


def label(name: str, budget: int | None) -> str:
    return name if budget is None else f"{name}@{budget}"


def compare(study: Study) -> list[dict]:
    """Every attack of the setting against plain online LiRA."""
    bases = {name: scores_of(study.play(name, None)) for name in BASELINES}
    found = []
    for name, budget in study.setting.attacks:
        started = time.perf_counter()
        found.append(study.figures(label(name, budget), study.play(name, budget), bases, study.inside))
        print(f"  {found[-1]['attack']}: {found[-1]['auc'][0]:.3f}, {time.perf_counter() - started:.0f} s", flush=True)
    return found


def against_field(study: Study) -> list[dict]:
    """The paper's attacks and the field's, and ours on the same targets and samples."""
    found = []
    for name, budget, count in study.setting.field:
        started = time.perf_counter()
        targets = study.targets[:FIELD_TARGETS]
        inside = study.inside[: len(targets), :count]
        attack = TABLE[name]
        # AUC and TPR at an FPR need no threshold: the shadow model is spared the search.
        shadow = None if name == "boundary" else study.table.shadow
        part = replace(study.table, sides=tuple(cut(side, count) for side in study.table.sides), shadow=shadow)
        # One draw of samples and one knowledge for all sides, so that a plan is made once.
        games = [
            part.game(one, budget=budget, asking=study.asking, crafted=Need.GRADIENTS in attack.uses) for one in targets
        ]
        theirs = study.figures(label(name, budget), [game.play(attack) for game in games], {}, inside)
        second = scores_of([game.play(attack) for game in games])
        for ours in OURS:
            first = scores_of(study.play(*ours))[: len(targets), :count]
            theirs[label(*ours)] = {
                "auc": estimate(crossed.mean_auc(first, inside)),
                "difference": estimate(crossed.auc_difference(first, second, inside)),
                "ratio": estimate(crossed.tpr_ratio(first, second, inside, FPR, seed=0)),
            }
        found.append({**theirs, "samples": count})
        print(f"  {theirs['attack']}: {theirs['auc'][0]:.3f}, {time.perf_counter() - started:.0f} s", flush=True)
    return found


@functools.cache
def part_of(samples, count: int):
    return samples.take(slice(0, count))


def cut(side, count: int):
    return replace(side, samples=part_of(side.samples, count), inside=side.inside[:count])


def by_count(study: Study) -> list[dict]:
    """How strength depends on the number of reference models."""
    found = []
    for models in study.setting.counts:
        for name, budget in (("path", 5), ("path-offline", 9), ("path-estimate", 10), ("lira", None)):
            if name == "path-estimate" and models < 4:
                continue  # It learns from pairs other than the one it estimates.
            told = study.figures(label(name, budget), study.play(name, budget, models=models), {}, study.inside)
            found.append({**told, "models": models})
    return found


def mismatched(study: Study) -> list[dict]:
    """How strength depends on references and crafters being trained as the target was."""
    found = []
    for title, config in study.setting.others.items():
        other = case_of_recipe(
            config.model_copy(update={"samples": study.setting.attacked // 2}),
            repeats=study.setting.targets,
            device=study.device,
            store=study.store,
            watch=SILENT,
        )
        # The other recipe's references on the target's pool; a smaller size takes a part of each half.
        inside = study.table.case.plan.inside.clone()
        size = config.size or 0
        for row in inside:
            row[row.nonzero().flatten()[size:]] = False
        plan = replace(study.table.case.plan, trainer=other.plan.trainer, inside=inside)
        made = trained_references(plan, SILENT)
        for alike in (True, False):
            table = mixed(
                study, replace(other, plan=replace(plan, alike=alike), attacked=study.table.case.attacked), made
            )
            for name, budget in (("path", 9), ("path-estimate", 10), ("lira", None)):
                played = study.play(name, budget, table=table)
                told = study.figures(label(name, budget), played, {}, study.inside)
                found.append({**told, "models": title, "standardized": not alike})
    return found


def mixed(study: Study, case, made) -> Table:
    """The study's targets with another recipe's references and crafters."""
    from hardlabel.experiments.case import Oracles
    from hardlabel.experiments.owned import knowledge_of
    from hardlabel.experiments.references import crafters_of, sides_of

    crafters = crafters_of(case.crafting, SILENT)
    knowledge = knowledge_of(case, crafters=crafters, shadows=None, device=study.device)
    models = [Oracles.of(one.model, study.device, role="model") for one in made]
    there = sides_of(case.plan, models, study.table.sides[0].samples, knowledge, with_pool=False)
    return Mixed(
        sides=there.sides,
        pool_sides=(),
        shadow=None,
        made=made,
        case=case,
        targets=tuple(replace(side, knowledge=knowledge, samples=there.sides[0].samples) for side in study.table.sides),
    )


class Mixed(Table):
    """Targets of one recipe, references of another."""

    def __init__(self, *, targets, **parts) -> None:
        super().__init__(**parts)
        object.__setattr__(self, "targets", targets)

    def game(self, target, **settings):
        game = super().game(target, **settings)
        return replace(game, target=self.targets[target])


def null(study: Study) -> list[dict]:
    """Answers from a model trained on data disjoint from the pool, membership as the design has it."""
    from hardlabel import randomness
    from hardlabel.experiments.case import Oracles

    case = study.table.case
    population = case.population
    size = int(case.plan.inside[0].sum())
    if population is None or len(population) < size:
        rest = case.own.take(slice(0, size))  # The crafters' data: the pool knows nothing of them either.
    else:
        rest = population.take(slice(0, size))
    made = case.plan.trainer.fit(rest, randomness.derive(study.setting.config.seed, "null", 0))
    model = Oracles.of(made.model, study.device, role="null model")
    found = []
    for name, budget in study.setting.attacks:
        attack: Attack = TABLE[name]
        if not (attack.calibration.per_sample or attack.crafted):
            continue  # What knows nothing of the design cannot leak it.
        scores = []
        for target in study.targets:
            game = study.table.game(target, budget=budget, asking=study.asking, crafted=Need.GRADIENTS in attack.uses)
            scores.append(replace(game, target=replace(game.target, model=model)).play(attack).scores)
        z = crossed.null_z(torch.stack(scores).numpy(), study.inside)
        found.append({"attack": label(name, budget), "z": z.tolist()})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("settings", nargs="*", default=[], help=", ".join(SETTINGS))
    parser.add_argument("--out", type=Path, default=Path("runs/study"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--table", action="store_true", help="only write RESULTS.md from the parts")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    for name in () if asked.table else asked.settings or SETTINGS:
        print(name, flush=True)
        study = Study(SETTINGS[name], asked.device)
        path = asked.out / f"{name}.json"
        part = json.loads(path.read_text()) if path.exists() else {"seconds": 0.0}
        part |= {"setting": name, "accuracy": accuracy(study)}
        part["training_seconds"] = sum(one.seconds for one in study.table.made)
        steps = {"attacks": compare, "null": null, "counts": by_count, "field": against_field, "mismatched": mismatched}
        for step, make in steps.items():
            if step in part:
                continue  # Made by an earlier run; remove the part to make it anew.
            started = time.perf_counter()
            part[step] = make(study)
            part["seconds"] += time.perf_counter() - started
            print(f" {step}: {time.perf_counter() - started:.0f} s", flush=True)
            environment = environment_of(study.setting.config.seed, part["seconds"], study.device)
            part["environment"] = json.loads(environment.model_dump_json())
            path.write_text(json.dumps(part, indent=1))
    write(asked.out, Path(__file__).parent / "RESULTS.md")


def accuracy(study: Study) -> list[float]:
    from hardlabel.experiments.references import accuracies

    told = accuracies([study.table.sides[one] for one in study.targets])
    return [float(np.mean(part)) for part in zip(*told, strict=True)]


if __name__ == "__main__":
    main()
