"""The worst case: precision on the points most at risk, label-only against score attacks, both against the average.

    python studies/worst_case.py location cifar10 defended defended-cifar10 labels canaries    all steps by default
    python studies/worst_case.py --table    writes WORST_CASE.md from the parts

Models and measurements are kept in the store, finished parts in runs/worst-case/: a study that broke off goes on where
it was; remove a part to make it anew. What is compared, and by which margins, stands here and was settled before
any figure was seen.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import torch
from settings import CIFAR, LOCATION
from settings_defenses import SETTINGS
from write_worst import write

from hardlabel.attacks import TABLE, Need
from hardlabel.audits.attacker.paired import paired, turns
from hardlabel.audits.attacker.references import accuracies
from hardlabel.audits.canaries import audit_canaries
from hardlabel.audits.cases.recipe import case_of_recipe
from hardlabel.audits.cases.terms import Terms
from hardlabel.audits.findings import exposed
from hardlabel.audits.game.asking import Asking
from hardlabel.audits.game.kept_scores import played_or_kept
from hardlabel.audits.model import audit
from hardlabel.data.sources import load
from hardlabel.defenses.base import Defender
from hardlabel.defenses.table import chosen
from hardlabel.defenses.trainer import defended
from hardlabel.models.train import Recipe
from hardlabel.models.trainers import RecipeTrainer
from hardlabel.records.environment import environment_of
from hardlabel.runs.progress import SILENT
from hardlabel.runs.settings import Attacker, Focus
from hardlabel.store import default_store

SHARES = (0.01, 0.005, 0.05)  # The first is the one that verdicts are about.
MARGIN = 0.05  # Precision that a label-only attack may lack and still count as matching one that sees scores.
SMALL = LOCATION.model_copy(update={"references": 12})
ATTACKS = {
    "location": (("gap", None), ("noise", None), ("path", None), ("loss", None), ("lira", None)),
    "cifar10": (("gap", None), ("path", 10), ("loss", None), ("lira", None)),
}
ATTACKS["cifar10-fc"] = ATTACKS["cifar10"]
CONFIGS = {  # How models are trained, how many points are asked about, and how many models play target: all.
    "location": (SMALL, 2000, 14),
    "cifar10": (CIFAR, 1000, 14),
    "cifar10-fc": (SETTINGS["cifar10-fc"].recipe, 500, 10),  # The study of defenses' own: it has trained these models.
}
DEFENDED = {  # Strengths by defense, who plays target, and the share of the few.
    "location": ({"l2": (2e-2,), "dp-sgd": (10.0,), "dropout": (0.5,)}, 7, SHARES[0]),  # One model of each pair.
    "cifar10-fc": ({"l2": (0.02, 0.1), "dp-sgd": (100.0, 10.0), "dropout": (0.5,)}, 10, SHARES[2]),
}


def case(name: str, device: torch.device):
    config, attacked, targets = CONFIGS[name]
    config = config.model_copy(update={"samples": attacked // 2, "repeats": targets})
    return case_of_recipe(config, device=device, store=default_store(), watch=SILENT)


def played_on(
    there, name: str, device: torch.device, targets: int | None = None, shares: tuple[float, ...] = SHARES
) -> tuple[dict, list[exposed.Found]]:
    """Every attack on every target, and the worst case at each share."""
    asking = Asking(seed=0, watch=SILENT, store=default_store())
    rows = [TABLE[attack] for attack, _ in ATTACKS[name]]
    models = paired(there, rows, device=device, asking=asking)
    numbers = turns(len(models.sides))[: targets or CONFIGS[name][2]]
    found = {}
    for attack, budget in ATTACKS[name]:
        crafted = Need.GRADIENTS in TABLE[attack].uses
        games = [models.game(one, budget=budget, asking=asking, crafted=crafted) for one in numbers]
        found[attack] = [played_or_kept(game, TABLE[attack]) for game in games]
        print(f"  {attack}", flush=True)
    told = accuracies([models.sides[one] for one in numbers])
    train, test = (sum(part) / len(part) for part in zip(*told, strict=True))
    parts = []
    for share in shares:
        terms = Terms(focus=Focus(worst_case=share))
        parts.append(exposed.of_recipe(there, models, terms, numbers, found, rows=rows, asking=asking))
    return {"train": train, "test": test, "description": there.plan.trainer.description}, parts


def few(name: str, device: torch.device) -> dict:
    """C3: on the few, label-only against scores, and both against the average."""
    there = case(name, device)
    told, parts = played_on(there, name, device)
    cases = [part.worst_case.model_dump(mode="json") for part in parts]
    games = [one.model_dump(mode="json", exclude={"top": True}) for one in parts[0].games]
    alone = [[point.advantage.low for point in one.top[:1]] for one in parts[0].games]
    return {**told, "cases": cases, "games": games, "surest": alone}


def under_defenses(name: str, device: torch.device) -> dict:
    """C4 for outliers: the same table under each defense, the attacker's own models trained with it."""
    levels, targets, share = DEFENDED[name]
    there, rows = case(name, device), []
    own = there.plan
    defender = Defender(
        domain=there.attacked.domain,
        classes=own.trainer.classes,
        train_size=int(own.inside[0].sum()),
        device=device,
        store=default_store(),
        seed=0,
    )
    strengths = [None, *chosen(list(levels), levels)]
    for strength in strengths:
        now, title = there, "none"
        if strength is not None:
            made, title = defended(strength, own.trainer, defender), strength.name
            now = replace(
                there,
                plan=replace(own, trainer=made.trainer),
                shadow=replace(there.shadow, trainer=made.trainer),
            )
        print(f" {title}", flush=True)
        told, parts = played_on(now, name, device, targets, (share,))
        epsilon = None if strength is None or made.training.privacy is None else made.training.privacy.epsilon
        rows.append({"defense": title, "epsilon": epsilon, **told, "case": parts[0].worst_case.model_dump(mode="json")})
    return {"rows": rows}


def labels(device: torch.device) -> dict:
    """What attacks lose without true labels, and with wrong ones, on one target of Location."""
    data = load("location").samples
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    data = data.take(order)
    groups = [data.take(slice(1250 * part, 1250 * (part + 1))) for part in range(2)] + [data.take(slice(2500, None))]
    members, others, more = ((one.inputs, one.labels) for one in groups)
    trainer = Recipe(architecture="fc")
    store = default_store()
    target = RecipeTrainer(recipe=trainer, classes=30, store=store).fit(groups[0], 1).model
    rows = []
    for given, wrong in (("true", 0.0), ("true", 0.1), ("true", 0.3), ("target", 0.0)):
        record = audit(
            target,
            members,
            others,
            population=more,
            trainer=trainer,
            train_size=1250,
            attacks=["gap", "noise", "path", "loss", "lira"],
            store=store,
            device=str(device),
            attacker=Attacker(labels=given, wrong_labels=wrong),
        )
        for one in record.results.attacks:
            auc = one.auc
            row = {"labels": given, "wrong": wrong, "attack": one.name, "access": one.access}
            rows.append({**row, "auc": [auc.value, auc.low, auc.high], "overhead": sum(one.overhead.values())})
        print(f" {given} {wrong}: {[(one.name, str(one.auc)) for one in record.results.attacks]}", flush=True)
    return {"rows": rows}


def canary_audits(device: torch.device) -> dict:
    """Lower bounds on epsilon by canaries, beside the accountant's, on Location."""
    data, rows = load("location").samples, []
    for epsilon in (None, 100.0, 10.0, 1.0):
        record = audit_canaries(
            (data.inputs, data.labels),
            Recipe(architecture="fc"),
            epsilon=epsilon,
            train_size=1250,
            canaries=1000,
            seed=0,
            device=str(device),
            store=default_store(),
        )
        print(f" {epsilon}: {record}", flush=True)
        rows.append(record.results.model_dump(mode="json"))
    many = audit_canaries(
        (data.inputs, data.labels),
        Recipe(architecture="fc", max_epochs=30),
        train_size=300,
        trainings=200,
        seed=0,
        device=str(device),
        store=default_store(),
    )
    print(f" many: {many}", flush=True)
    return {"rows": rows, "many": many.results.model_dump(mode="json")}


STEPS = {
    "location": lambda device: few("location", device),
    "cifar10": lambda device: few("cifar10", device),
    "defended": lambda device: under_defenses("location", device),
    "defended-cifar10": lambda device: under_defenses("cifar10-fc", device),
    "labels": labels,
    "canaries": canary_audits,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("steps", nargs="*", default=[], help=", ".join(STEPS))
    parser.add_argument("--out", type=Path, default=Path("runs/worst-case"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--table", action="store_true", help="only write WORST_CASE.md from the parts")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    device = torch.device(asked.device)
    for name in () if asked.table else asked.steps or STEPS:
        path = asked.out / f"{name}.json"
        if path.exists():
            continue  # Made by an earlier run; remove the part to make it anew.
        print(name, flush=True)
        started = time.perf_counter()
        part = STEPS[name](device)
        environment = environment_of(0, time.perf_counter() - started, device)
        part["environment"] = json.loads(environment.model_dump_json())
        path.write_text(json.dumps(part, indent=1))
    write(asked.out, Path(__file__).parent / "WORST_CASE.md", margin=MARGIN)


if __name__ == "__main__":
    main()
