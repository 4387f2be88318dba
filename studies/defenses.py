"""What defenses are worth: every one compared with none on real data; `python studies/defenses.py`.

    python studies/defenses.py SETTING [STEP...] [--jobs N]   plays the steps of a setting (all by default)
    python studies/defenses.py SETTING crossed [--jobs N]     crosses what models are trained with and asked about
    python studies/defenses.py --table                        writes DEFENSES.md from what is done

A step is a comparison of its own, kept in runs/defenses/SETTING/STEP as `hardlabel defend` keeps it. Models,
measurements and scores are kept in the store, so that a study that broke off goes on where it was.
"""

import argparse
import json
import time
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import torch
from settings_defenses import ATTACKED, CROSSED, SETTINGS, TRAINED, Setting
from write_defenses import write

from hardlabel.attacks.base import LabelAttack
from hardlabel.audits.attacker.paired import paired, turns
from hardlabel.audits.attacker.references import accuracies
from hardlabel.audits.cases.recipe import case_of_recipe
from hardlabel.audits.game.asking import Asking
from hardlabel.audits.game.execution import Execution
from hardlabel.audits.game.kept_scores import played_or_kept
from hardlabel.calibrations.network import AttackNetwork
from hardlabel.executors import Local
from hardlabel.kinds import run, write_report
from hardlabel.metrics import crossed
from hardlabel.records.defenses import DEFEND
from hardlabel.records.model import REPORT
from hardlabel.runs.progress import SILENT
from hardlabel.signals.augmentation import Augmentation
from hardlabel.store import default_store, write_whole

RUNS = Path("runs/defenses")


def play(name: str, step: str, jobs: int | None) -> None:
    """One comparison, resumed where it was broken off."""
    setting, levels = SETTINGS[name], SETTINGS[name].steps[step]
    settings = setting.config.model_copy(
        update={
            "out": RUNS / name / step,
            "defenses": list(levels),
            "levels": {one: list(some) for one, some in levels.items() if some is not None} or None,
            "pretrain": setting.pretrain if "transfer" in levels else None,
        }
    )
    record = run(settings, store=default_store(), execution=Execution(executor=Local(processes=jobs)))
    write_report(record, RUNS / name / step / REPORT)
    print(f"{name} {step}\n{record}", flush=True)


def cross(name: str, jobs: int | None) -> None:
    """The paper's augmentation attack with each set of copies on models trained with each; see `TRAINED`."""
    setting, started = SETTINGS[name], time.perf_counter()
    scored, accuracy, inside = {}, {}, None
    for trained, moves in TRAINED.items():
        scored[trained], accuracy[trained], inside = _asked(setting, moves, jobs)
    plain, others = scored["nothing"], {one: found for one, found in scored.items() if one != "nothing"}
    part = {
        "targets": setting.config.repeats,
        "samples": inside.shape[1],
        "seconds": time.perf_counter() - started,
        "accuracy": accuracy,
        "aucs": {
            one: {copies: _told(crossed.mean_auc(own, inside)) for copies, own in found.items()}
            for one, found in scored.items()
        },
        "changes": {
            one: {copies: _told(crossed.auc_difference(own, plain[copies], inside)) for copies, own in found.items()}
            for one, found in others.items()
        },
    }
    (RUNS / name).mkdir(parents=True, exist_ok=True)
    write_whole(RUNS / name / CROSSED, json.dumps(part, indent=1).encode())


def _asked(
    setting: Setting, moves: list[str], jobs: int | None
) -> tuple[dict[str, np.ndarray], list[float], np.ndarray]:
    """Scores (targets, samples) by copies asked about, train and test accuracy, and who was inside."""
    store, device = default_store(), torch.device("cpu")
    asking = Asking(seed=setting.config.seed, watch=SILENT, store=store, executor=Local(processes=jobs))
    settings = setting.recipe.model_copy(update={"augment": moves})
    case = case_of_recipe(settings, device=device, store=store, watch=SILENT)
    case = replace(case, crafting=None)  # Nobody looks at its networks.
    rows = {copies: _attack(copies) for copies in ATTACKED}
    models = paired(case, list(rows.values()), device=device, asking=asking)
    numbers = turns(len(models.sides))[: settings.repeats]
    found = {}
    for copies, attack in rows.items():
        games = [
            replace(models.game(one, budget=None, asking=asking), learned=models.learned.setdefault(None, {}))
            for one in numbers
        ]
        found[copies] = torch.stack([played_or_kept(game, attack).scores for game in games]).numpy()
    told = np.array(accuracies([models.sides[one] for one in numbers])).mean(0).tolist()
    return found, told, torch.stack([models.sides[one].inside for one in numbers]).numpy()


def _attack(copies: str) -> LabelAttack:
    signal = Augmentation(name=copies, moves=ATTACKED[copies])
    return LabelAttack(
        name=f"augmentation: {copies}",
        summary="which copies keep the label",
        signals=lambda domain, queries: (signal,),
        calibration=AttackNetwork(),
        needs="a shadow model",
        source="Choquette-Choo et al. 2021",
        usual=len(signal.moves),
    )


def _told(estimate: object) -> list[float | None]:
    return list(astuple(estimate))[:3]


def main() -> None:
    torch.set_num_threads(1)  # What is asked here shares the machine with the processes that train.
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", nargs="?", choices=[*SETTINGS, None])
    parser.add_argument("steps", nargs="*")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if given.table:
        write(RUNS, Path(__file__).with_name("DEFENSES.md"))
        return
    for name in [given.setting] if given.setting else SETTINGS:
        for step in given.steps or SETTINGS[name].steps:
            if step == "crossed":
                cross(name, given.jobs)
            elif not (RUNS / name / step / DEFEND).exists():
                play(name, step, given.jobs)


if __name__ == "__main__":
    main()
