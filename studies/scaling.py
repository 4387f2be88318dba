"""Whether runs survive and outgrow one machine: `python studies/scaling.py PART ...`, into studies/SCALING.md.

kills: an audit with 8 shadow models is killed by SIGKILL at twenty random moments and resumed each time.
disk: the same audit on a file system that is too small, and then has room (needs the right to mount one).
cluster: the same audit on two Ray nodes, of which a worker and then a node is killed.
memory-local, memory-ray: 50,000 CIFAR-sized samples and 64 tiny models; the most memory that any worker held.
capacity: how much of the cores' capacity goes into pieces of one second, beside bare processes that do the same.
costs: what each piece costs here, and what follows for 256 shadow models on 1, 8 and 64 GPUs.
"""

import datetime
import inspect
import json
import os
import platform
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from hardlabel import keep_memory
from hardlabel.audits.game.asking import Asking, LabelQuestion, Side
from hardlabel.audits.game.batches import settled
from hardlabel.data.domain import Box
from hardlabel.data.samples import Samples
from hardlabel.executors import Executor, Local, Ray
from hardlabel.models.model_store import packed
from hardlabel.models.shadows import jobs, pairs, train_all
from hardlabel.models.train import Recipe, train
from hardlabel.models.trainers import RecipeTrainer
from hardlabel.oracles.budget import Account
from hardlabel.randomness import generator
from hardlabel.records.model import AuditRecord
from hardlabel.runs.journal import MADE, Journal
from hardlabel.runs.progress import SILENT
from hardlabel.signals.noise import Noise
from hardlabel.store import Store
from hardlabel.targets.registry import askable
from hardlabel.targets.torch import TorchScores

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "SCALING.md"
CORES = os.cpu_count() or 1
ATTACKS = "gap,noise,path,loss,lira"
AUDIT = ["--train-size", "150", "--references", "8", "--device", "cpu", "--quiet", "--attacks", ATTACKS]
KILLS = 20


def command(out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "hardlabel", "audit", *AUDIT, "--out", str(out), *more]


def same(one: AuditRecord, other: AuditRecord) -> bool:
    """Whether two records agree in everything but clocks, commands and the timed probe for the batch size."""

    def told(record: AuditRecord) -> object:
        results = json.loads(re.sub(r'"(\w*seconds)":[^,}]+', r'"\1":0', record.results.model_dump_json()))
        results["environment"], results["target"]["batch_size"] = None, None
        results["notes"] = [note for note in results["notes"] if "batch size" not in note]
        return results

    return told(one) == told(other) and one.scores.equals(other.scores)


def made(folder: Path) -> list[str]:
    return [str(line["piece"]) for line in Journal(folder / "journal.jsonl").lines() if line["event"] == MADE]


def kills(folder: Path) -> Iterator[str]:
    environment = {**os.environ, "HARDLABEL_STORE": str(folder / "whole-store")}
    started = time.perf_counter()
    subprocess.run(command(folder / "whole"), check=True, env=environment, stdout=subprocess.DEVNULL)
    alone = time.perf_counter() - started
    environment["HARDLABEL_STORE"] = str(folder / "store")
    # The time from the lock to the record; starting Python before is no part of the run, and nothing to be broken.
    lines = list(Journal(folder / "whole" / "journal.jsonl").lines())
    first, last = (datetime.datetime.fromisoformat(str(lines[place]["at"])) for place in (0, -1))
    lasts = (last - first).total_seconds()
    draw, counts, tries, whole = random.Random(0), list[int](), 0, 0
    while len(counts) < KILLS:
        tries += 1
        before, starts = _written(folder / "store"), _starts(folder / "run")
        process = subprocess.Popen(command(folder / "run"), env=environment, stdout=subprocess.DEVNULL)
        while process.poll() is None and _starts(folder / "run") == starts:
            time.sleep(0.01)
        try:
            process.wait(draw.random() * lasts / 4)  # So that one run is killed several times before its end.
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            counts.append(len(set(made(folder / "run"))))
            _unchanged(before, folder / "store")
            continue
        # It was finished before the moment came: what is left of the kills goes to a run of its own.
        _unchanged(before, folder / "store")
        _finished(folder)
        whole += 1
        shutil.rmtree(folder / "run")
        shutil.rmtree(folder / "store")
    before = _written(folder / "store")
    subprocess.run(command(folder / "run"), check=True, env=environment, stdout=subprocess.DEVNULL)
    _unchanged(before, folder / "store")
    patience = time.monotonic() + 60
    while (left := _using(folder / "store")) and time.monotonic() < patience:
        time.sleep(1)
    yield f"Processes of killed runs that are still there: {len(left)}."
    names = _finished(folder)
    yield (
        f"An undisturbed run takes {alone:.0f} s. {KILLS} kills by SIGKILL, each at a random moment within the first "
        f"{lasts / 4:.0f} s after a start, {tries + 1} starts in all."
    )
    yield f"Pieces that the run had made when each kill came: {', '.join(map(str, counts))}."
    yield f"All {whole + 1} runs ended with the record of the undisturbed run."
    yield (
        f"Pieces that the last run's journal names as made: {len(names)}, different ones: {len(set(names))}. "
        "No file of a piece that was there at a kill was ever written again (its inode and time are the same)."
    )


def _using(store: Path) -> list[int]:
    """Processes that were started with this store."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            variables = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"HARDLABEL_STORE={store}".encode() in variables:
            found.append(int(process.name))
    return found


def _starts(run: Path) -> int:
    return sum(line["event"] == "began" for line in Journal(run / "journal.jsonl").lines())


def _written(store: Path) -> dict[str, tuple[int, int]]:
    """Which files of pieces there are, and when each was written: one written again has another inode."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in store.glob("*.piece")}


def _unchanged(before: dict[str, tuple[int, int]], store: Path) -> None:
    after = _written(store)
    if any(after.get(name) != mark for name, mark in before.items()):
        raise SystemExit("kills: a finished piece was made twice")


def _finished(folder: Path) -> list[str]:
    if not same(AuditRecord.load(folder / "run"), AuditRecord.load(folder / "whole")):
        raise SystemExit("kills: a record differs")
    return _check(folder / "run")


def _check(run: Path) -> list[str]:
    names = made(run)
    if len(names) != len(set(names)):
        raise SystemExit("kills: a finished piece was made twice")
    return names


def disk(folder: Path) -> Iterator[str]:
    """A file system in memory, mounted for the occasion, with room for half of what the run needs."""
    environment = {**os.environ, "HARDLABEL_STORE": str(folder / "whole-store")}
    subprocess.run(command(folder / "whole"), check=True, env=environment, stdout=subprocess.DEVNULL)
    needed = sum(path.stat().st_blocks * 512 for path in (folder / "whole-store").iterdir() if path.is_file())
    small = folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={needed // 2}", "tmpfs", str(small)], check=True)
    try:
        environment["HARDLABEL_STORE"] = str(small / "store")
        ended = subprocess.run(command(small / "run"), check=False, env=environment, capture_output=True, text=True)
        before = _written(small / "store")
        yield (
            f"With room for {needed // 2 / 1e6:.1f} of {needed / 1e6:.1f} MB: exit code {ended.returncode} after "
            f"{len(before)} pieces, and the last line is: {ended.stderr.strip().splitlines()[-1]}".replace(
                str(small), ""
            )
        )
        if ended.returncode != 1 or "the disk is full" not in ended.stderr:
            raise SystemExit("disk: the run did not end as it should")
        subprocess.run(["mount", "-o", "remount,size=1G", str(small)], check=True)
        resume = [sys.executable, "-m", "hardlabel", "resume", str(small / "run"), "--quiet"]
        subprocess.run(resume, check=True, env=environment, stdout=subprocess.DEVNULL)
        _unchanged(before, small / "store")
        if not same(AuditRecord.load(small / "run"), AuditRecord.load(folder / "whole")):
            raise SystemExit("disk: the record differs")
        yield f"With more room it was resumed to the undisturbed run's record, {len(_check(small / 'run'))} pieces."
    finally:
        subprocess.run(["umount", str(small)], check=True)


def cluster(folder: Path) -> Iterator[str]:
    environment = {**os.environ, "HARDLABEL_STORE": str(folder / "whole-store")}
    subprocess.run(command(folder / "whole"), check=True, env=environment, stdout=subprocess.DEVNULL)
    environment["HARDLABEL_STORE"] = str(folder / "store")
    ray = str(Path(sys.executable).parent / "ray")
    port, quiet = "6399", {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    node = ["--num-cpus", "1", "--object-store-memory", str(2**28), "--block"]
    head = subprocess.Popen([ray, "start", "--head", "--port", port, "--include-dashboard", "false", *node], **quiet)  # type: ignore[call-overload]
    time.sleep(10)
    second = subprocess.Popen([ray, "start", "--address", f"127.0.0.1:{port}", *node], **quiet)  # type: ignore[call-overload]
    time.sleep(10)
    try:
        options = ["--executor", "ray", "--address", f"127.0.0.1:{port}", "--chunk", "50"]
        process = subprocess.Popen(command(folder / "run", *options), env=environment, stdout=subprocess.DEVNULL)
        events = []
        for least, event in ((2, _kill_a_worker), (5, lambda: _kill_tree(second.pid))):
            while process.poll() is None and len(set(made(folder / "run"))) < least:
                time.sleep(0.02)
            event()
            events.append(len(set(made(folder / "run"))))
        if process.wait():
            raise SystemExit("cluster: the run failed")
        yield f"A worker was killed after {events[0]} pieces, a node of the two after {events[1]}."
        names = _check(folder / "run")
        yield f"The run made {len(names)} pieces; its record is the local run's: " + str(
            same(AuditRecord.load(folder / "run"), AuditRecord.load(folder / "whole"))
        )
    finally:
        for process in (second, head):
            _kill_tree(process.pid)


def _children(parent: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def _kill_tree(top: int) -> None:
    for child in _children(top):
        _kill_tree(child)
    try:
        os.kill(top, signal.SIGKILL)
    except ProcessLookupError:
        return


def _kill_a_worker() -> None:
    found = subprocess.run(["pgrep", "-f", "^ray::_remote"], capture_output=True, text=True, check=False).stdout.split()
    if found:
        os.kill(int(found[0]), signal.SIGKILL)


class Watched:
    """An executor whose workers write down the most memory they have held."""

    def __init__(self, inner: Executor, folder: Path) -> None:
        self.inner, self.folder = inner, folder
        self.elsewhere, self.width = inner.elsewhere, inner.width

    def device(self, here: torch.device) -> torch.device:
        return self.inner.device(here)

    def run(self, work: Callable, common: object, items: list, *, long: bool = False) -> Iterator:  # type: ignore[type-arg]
        folder = str(self.folder)

        def watched(common: object, item: object) -> object:
            result = work(common, item)
            (Path(folder) / f"{os.getpid()}").write_text(" ".join(map(str, _memory("VmHWM", "RssAnon"))))
            return result

        return self.inner.run(watched, common, items, long=long)


def memory_local(folder: Path) -> Iterator[str]:
    yield from memory(folder, "local", Local(processes=2, scratch=folder))


def memory_ray(folder: Path) -> Iterator[str]:
    yield from memory(folder, "ray", Ray(address="local"))


def memory(folder: Path, name: str, inner: Executor) -> Iterator[str]:
    count, models = 50_000, 64
    domain = Box((3, 32, 32))
    draws = generator(0, "memory")
    samples = Samples(
        ids=torch.arange(count),
        inputs=torch.rand(count, 3, 32, 32, generator=draws),
        labels=torch.randint(10, (count,), generator=draws),
        domain=domain,
    )
    recipe = Recipe(architecture="logistic", max_epochs=1, batch_size=500)
    inside = pairs(models, count, seed=0)
    store, notes = Store(folder / name), folder / f"{name}-workers"
    notes.mkdir()
    executor, started = Watched(inner, notes), time.perf_counter()
    trainer = RecipeTrainer(recipe=recipe, classes=10, store=store)
    trained = train_all(trainer, samples, jobs(inside, seed=0), executor=executor)
    took = time.perf_counter() - started
    asked = [askable(one.model, torch.device("cpu"), role="model") for one in trained]
    asked = settled(asked, samples.inputs[:1], store)
    sides = [Side(model=one, samples=samples, inside=mine) for one, mine in zip(asked, inside, strict=True)]
    asking = Asking(seed=0, watch=SILENT, store=store, executor=executor)
    started = time.perf_counter()
    question = LabelQuestion(Noise(level=domain.noise_levels[2], draws=2))
    asking.answers(question, sides, "noise", account=Account)
    measured = time.perf_counter() - started
    pieces = len(list(store.root.glob("*.piece")))
    peaks = [list(map(int, path.read_text().split())) for path in notes.iterdir()]
    most, own = (max(one[place] for one in peaks) / 2**20 for place in (0, 1))
    yield (
        f"{name}: {models} trainings on {count // 2:,} samples in {took:.0f} s, {models} models measured on "
        f"{count:,} samples in {measured:.0f} s, {pieces} pieces. Most resident memory of a worker: {most:.2f} GiB, "
        f"at the end {own:.2f} GiB of it its own, the rest mapped and shared ({len(peaks)} workers)."
    )
    if most >= 4:
        raise SystemExit("memory: a worker held more than 4 GiB")
    yield f"The process that keeps the pieces: {_memory('VmHWM')[0] / 2**20:.2f} GiB at most."


def _memory(*names: str) -> list[int]:
    """Figures of this process's memory as Linux tells them, in KiB."""
    told = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return [int(told[name].split()[0]) for name in names]


ROUNDS, PIECES = 3, 10 * CORES


def capacity(folder: Path) -> Iterator[str]:
    """Pieces of one second of processor time each, on a machine that others may use too.

    What others leave is told by a twin, measured in the same breath: as many bare processes as cores, each with its
    share of the same seconds in one loop. The share of the cores' capacity is the twin's time over the executor's.
    """
    del folder

    def work(seconds: float, item: int) -> float:
        import time

        started = time.process_time()
        while time.process_time() - started < seconds:
            sum(range(10_000))
        return time.process_time() - started

    source = textwrap.dedent(inspect.getsource(work))
    # Ray's workers stand back for everybody else; the twin does not.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
    executors = {"local": Local(), "ray": Ray(address="local")}
    for name, executor in executors.items():
        started = time.perf_counter()
        list(executor.run(work, 0.0, list(range(2 * CORES)), long=True))
        yield f"{name}: {time.perf_counter() - started:.1f} s until all workers have been started, once."
    shares: dict[str, list[float]] = {name: [] for name in executors}
    bare = []
    for round_ in range(ROUNDS):
        before = _bare(source)
        for name, executor in list(executors.items())[:: 1 if round_ % 2 else -1]:
            started = time.perf_counter()
            list(executor.run(work, 1.0, list(range(PIECES)), long=True))
            took = time.perf_counter() - started
            after = _bare(source)
            shares[name].append((before + after) / 2 / took)
            bare.append(PIECES / CORES / after)
            before = after
    for name, found in shares.items():
        yield (
            f"{name}: {PIECES} pieces of 1 s on {CORES} cores take {statistics.median(found):.3f} of the cores' "
            f"capacity (median of {ROUNDS} rounds, {min(found):.3f} to {max(found):.3f})."
        )
    yield f"Of the cores others left the bare processes {statistics.median(bare):.2f} meanwhile (median)."


def _bare(source: str) -> float:
    """Seconds that bare processes need for the same work."""
    script = f"{source}\ninput()\nfor item in range({PIECES // CORES}): work(1.0, item)\nprint(flush=True)\ninput()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    processes = [subprocess.Popen([sys.executable, "-c", script], text=True, **pipes) for _ in range(CORES)]  # type: ignore[call-overload]
    time.sleep(1)  # Until they wait for the word.
    started = time.perf_counter()
    for one in processes:
        one.stdin.write("\n")
        one.stdin.flush()
    for one in processes:
        one.stdout.readline()
    took = time.perf_counter() - started
    for one in processes:
        one.communicate("\n")
    return took


# What no machine here could tell: a GPU that keeps up so many operations a second (about a tenth of what current ones
# promise for TF32), and that starts no training step sooner after the last than this.
GPU_OPERATIONS, GPU_STEP = 1e13, 0.002
SHADOWS, POOL, EPOCHS = 256, 50_000, 100
GPUS = (1, 8, 64)


def costs(folder: Path) -> Iterator[str]:
    """What pieces cost here on one core, and what follows for 256 shadow models on 50,000 images on GPUs.

    Training is counted in operations, which do not depend on the machine, and in steps.
    """
    torch.set_num_threads(1)
    draws = generator(0, "costs")
    samples = Samples(
        ids=torch.arange(2000),
        inputs=torch.rand(2000, 3, 32, 32, generator=draws),
        labels=torch.randint(10, (2000,), generator=draws),
        domain=Box((3, 32, 32)),
    )
    store, told = Store(folder / "costs"), []
    for architecture, rows in (("cnn", 2000), ("resnet18", 160)):
        part, recipe = samples.take(slice(0, rows)), Recipe(architecture=architecture, max_epochs=2)
        started = time.process_time()  # Of one thread: what others do meanwhile hardly counts.
        made_ = train(recipe, part, classes=10, seed=0)
        payload, speed = packed(made_), made_.rows / (time.process_time() - started)
        started = time.process_time()
        TorchScores(made_.model, batch_size=128).ask(part.inputs, part.ids)
        answered = rows / (time.process_time() - started)
        started = time.perf_counter()
        store.save({"architecture": architecture}, payload)
        kept = time.perf_counter() - started
        training, answering = _operations(made_.model, samples.inputs[:8])
        yield (
            f"{architecture}: {training / 1e9:.2f} billion operations to train on a row, {answering / 1e9:.2f} to "
            f"answer one; one core trains {speed:,.0f} rows a second ({training * speed / 1e9:.0f} billion operations) "
            f"and answers {answered:,.0f}; a model is a piece of {len(payload) / 1e6:.1f} MB, kept in {kept:.2f} s."
        )
        steps = EPOCHS * -(-(POOL // 2) // recipe.batch_size)
        one = max(EPOCHS * (POOL // 2) * training / GPU_OPERATIONS, steps * GPU_STEP)
        # The target, the shadow model and two crafters (a quarter of the epochs) are trained one after another.
        hours = [one * (-(-SHADOWS // count) + 2.5) / 3600 for count in GPUS]
        core = EPOCHS * (POOL // 2) / speed
        told.append(
            f"{architecture}: {SHADOWS} shadow models, each on half of {POOL:,} images for {EPOCHS} epochs in steps of "
            f"{recipe.batch_size}: {one / 60:.0f} min a model on a GPU of {GPU_OPERATIONS / 1e12:.0f} trillion "
            f"operations a second and at least {GPU_STEP * 1000:.0f} ms a step; with target, shadow model and crafters "
            + ", ".join(f"{each:.3g} h on {count}" for each, count in zip(hours, GPUS, strict=True))
            + f" GPUs. {core * SHADOWS / 3600:,.0f} hours of one core as measured here. On disk "
            f"{SHADOWS * len(payload) / 1e9:.1f} GB, which all go to the machine of the command."
        )
    yield from told
    payload, started = os.urandom(200_000), time.perf_counter()
    for number in range(100):
        store.save({"number": number}, payload)
    yield f"Keeping a piece of 0.2 MB: {(time.perf_counter() - started) * 10:.1f} ms."
    executor = Ray(address="local")
    list(executor.run(_nothing, None, list(range(50))))
    started = time.perf_counter()
    list(executor.run(_nothing, None, list(range(500))))
    yield f"A Ray task that does nothing: {(time.perf_counter() - started) * 2:.1f} ms."
    common = {"pool": torch.rand(POOL, 3, 32, 32)}
    for name, each in (("local", Local(scratch=folder)), ("ray", executor)):
        list(each.run(_nothing, None, list(range(2 * CORES)), long=True))  # Starts the workers.
        started = time.perf_counter()
        list(each.run(_touch, common, [0, 1], long=True))
        yield f"{name}: sharing {POOL:,} CIFAR images ({common['pool'].nbytes / 1e6:.0f} MB) with two workers: " + (
            f"{time.perf_counter() - started:.1f} s."
        )


def _operations(model: torch.nn.Module, inputs: torch.Tensor) -> tuple[float, float]:
    """Floating-point operations for a row, an addition and a multiplication being two: of training, of answering."""
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        model(inputs)
    with FlopCounterMode(display=False) as both:
        model(inputs).sum().backward()
    return both.get_total_flops() / len(inputs), forward.get_total_flops() / len(inputs)


def _nothing(common: None, item: int) -> int:
    return item


def _touch(common: dict[str, torch.Tensor], item: int) -> float:
    return float(common["pool"][item::2, 0, 0, 0].sum())


PARTS = {
    "kills": kills,
    "disk": disk,
    "cluster": cluster,
    "memory-local": memory_local,
    "memory-ray": memory_ray,
    "capacity": capacity,
    "costs": costs,
}


def main() -> None:
    keep_memory()  # As the command line does.
    for name in sys.argv[1:] or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            lines = list(PARTS[name](Path(folder)))
        stamp = f"{datetime.date.today()}, {platform.machine()}, {CORES} cores, PyTorch {torch.__version__}"
        text = "\n".join(
            [f"## {name}", f"{stamp}; {time.perf_counter() - started:.0f} s.", "", *(f"- {one}" for one in lines)]
        )
        print(text, flush=True)
        _write(name, text)


def _write(name: str, text: str) -> None:
    head = (
        "# Runs that survive, and outgrow one machine\nWritten by `python studies/scaling.py`; each part says on what "
        "machine it was made.\n"
    )
    old = RESULTS.read_text() if RESULTS.exists() else head
    parts = {part.splitlines()[0]: part.rstrip() for part in re.split(r"^## ", old, flags=re.MULTILINE)[1:]}
    parts[name] = text.removeprefix("## ")
    body = "\n\n".join(f"## {parts[one]}" for one in PARTS if one in parts)
    RESULTS.write_text(f"{head}\n{body}\n")


if __name__ == "__main__":
    main()
