"""What `make bench` measures: every task of every part, fixed before any figure was seen."""

from dataclasses import dataclass, replace

ROUNDS = 3
BUDGET = 2500
SAMPLES = 200  # 100 members and 100 non-members.
PEERS = ("foolbox", "art")
LADDER = 10  # Queries per sample of the ladder's attack, its default.
FEW = 40  # The same by 20, where a tool's rate is all that is asked of it and its rounds would take hours.
CARD = 1000  # Samples on a graphics card, and
FULL = 5000  # as many as fill it.
SHADOWS = 32  # Trained together, and one after another.
EPOCHS = 5  # Of each.


@dataclass(frozen=True, kw_only=True)
class Task:
    """One measurement, made in a process of its own.

    Attributes:
        tool: raw, hardlabel, foolbox or art; "ladder" is hardlabel's audit by one attack of its ladder; "floor" does a
            boundary search's arithmetic and asks no network; "apart" and "together" train shadow models.
        target: Whose labels are asked.
        attack: forward (of raw), boundary, geoda, noise, augmentation or path; deepfool or carlini-wagner, which see
            gradients; training.
        queries: Most queries per sample; peers have iterations instead (see `tools`).
        samples: Samples asked about, members and non-members by turns.
        threads: Of PyTorch and of the libraries below it.
        device: cpu or cuda.
        allocator: "kept" by mallopt, as our command line does it; "variables" of the environment; or "default", which
            is what a peer's users have.
        batch: Rows per forward pass; 0 lets the tool choose.
        seed: Of the round.
    """

    tool: str
    target: str
    attack: str
    queries: int = 0
    samples: int = SAMPLES
    threads: int = 1
    device: str = "cpu"
    allocator: str = "kept"
    batch: int = 0
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Part:
    """Tasks that are compared with each other, once per round, one after another.

    A rate is only ever divided by the best raw rate of its own round.

    Attributes:
        name: Of the file that keeps it.
        tasks: In their order; raw forward passes stand first and last, so that a drift of the machine shows.
        rounds: How often.
    """

    name: str
    tasks: tuple[Task, ...]
    rounds: int = ROUNDS


def parts(*, threads: tuple[int, ...] = (1, 2), cuda: bool = False) -> list[Part]:
    """All parts, the comparison with the peers first."""
    found = [
        Part(name=f"compare-location-{count}", tasks=_compared("location", threads=count)) for count in threads
    ] + [Part(name=f"compare-cifar10-{count}", tasks=_compared("cifar10", threads=count, few=FEW)) for count in threads]
    if cuda:
        found += [Part(name=f"compare-{target}-cuda", tasks=_on_card(target)) for target in ("cifar10", "location")]
        apart = Task(tool="apart", target="cifar10", attack="training", samples=SHADOWS, device="cuda")
        found.append(Part(name="training-cuda", tasks=(apart, replace(apart, tool="together"))))
    most = max(threads)
    for noise, few in (
        (Task(tool="hardlabel", target="location", attack="noise", queries=101), SAMPLES),
        (Task(tool="hardlabel", target="cifar10", attack="noise", queries=11, threads=most), FEW),
    ):
        target = noise.target
        boundary = replace(noise, attack="boundary", samples=few)
        found += [
            Part(
                name=f"samples-{target}",
                tasks=_beside_raw(*(replace(noise, samples=count) for count in (100, 500, 1000, 5000))),
            ),
            Part(
                name=f"queries-{target}",
                tasks=_beside_raw(*(replace(boundary, queries=count) for count in (100, 250, 500, 1000, BUDGET))),
            ),
        ]
    probing = Task(tool="floor", target="location", attack="arithmetic", queries=BUDGET)
    found.append(Part(name="floor-location", tasks=_beside_raw(probing)))
    found += [Part(name=f"ladder-{target}", tasks=_ladder(target, threads=most)) for target in ("location", "cifar10")]
    many = Task(tool="hardlabel", target="cifar10", attack="boundary", samples=5000, threads=most)
    found += [
        Part(name="allocator", tasks=_allocators("cifar10", batches=(32, 64, 128, 256, 512, 1024), queries=100)),
        Part(name="distance-cifar10", tasks=_distances("cifar10", threads=most), rounds=1),
        Part(name="memory", tasks=tuple(replace(many, queries=count) for count in (100, 400)), rounds=1),
    ]
    return found


def quick() -> list[Part]:
    """The same on a small network and few samples, once: whether everything runs."""
    small = Task(tool="hardlabel", target="digits", attack="noise", queries=20, samples=20)
    return [
        Part(name="compare-digits-1", tasks=_compared("digits", samples=20, queries=300), rounds=1),
        Part(name="samples-digits", tasks=_beside_raw(small, replace(small, samples=100)), rounds=1),
        Part(name="allocator", tasks=_allocators("digits", batches=(64, 1024), queries=50), rounds=1),
        Part(
            name="floor-digits",
            tasks=_beside_raw(Task(tool="floor", target="digits", attack="arithmetic", queries=300, samples=20)),
            rounds=1,
        ),
        Part(name="ladder-digits", tasks=_ladder("digits", samples=20), rounds=1),
        Part(name="distance-digits", tasks=_distances("digits", samples=20, budgets=(100, 300)), rounds=1),
    ]


def _compared(
    target: str,
    *,
    threads: int = 1,
    device: str = "cpu",
    samples: int = SAMPLES,
    few: int | None = None,
    queries: int = BUDGET,
) -> tuple[Task, ...]:
    """Rates; with `few`, of so many samples only for the peers, and for our search too on one thread."""
    ours = Task(
        tool="hardlabel",
        target=target,
        attack="boundary",
        queries=queries,
        samples=samples,
        threads=threads,
        device=device,
    )
    others = [replace(ours, attack="noise", queries=101), replace(ours, attack="path", queries=5)]
    if target != "location":  # Binary vectors cannot be shifted.
        others.append(replace(ours, attack="augmentation", queries=30))
    slow = replace(ours, samples=few or samples)
    searched = slow if threads == 1 else ours
    peers = [replace(slow, tool=tool, allocator=kind) for tool in PEERS for kind in ("default", "kept")]
    return _beside_raw(searched, *others, *peers)


def _on_card(target: str) -> tuple[Task, ...]:
    """Rates on a graphics card; ART, which goes from sample to sample, on few."""
    raw, searched, *others = _compared(target, device="cuda", samples=CARD)
    others = [task for task in others if task.allocator == "kept"]  # The processor's allocator has no part in it.
    others = [replace(task, samples=FEW // 4) if task.tool == "art" else task for task in others]
    return (raw, replace(searched, samples=FULL), searched, *others)


def _ladder(target: str, *, threads: int = 1, samples: int = SAMPLES, queries: int = LADDER) -> tuple[Task, ...]:
    """What ART finds at 2,400 queries, and the ladder at few; the same samples."""
    art = Task(
        tool="art",
        target=target,
        attack="boundary",
        queries=BUDGET,
        samples=samples,
        threads=threads,
        allocator="default",
    )
    return (art, replace(art, tool="ladder", attack="path", queries=queries, allocator="kept"))


def _distances(
    target: str, *, threads: int = 1, samples: int = SAMPLES, budgets: tuple[int, ...] = (100, 250, 500, 1000, BUDGET)
) -> tuple[Task, ...]:
    """How near each search comes; nothing here depends on how busy the machine is."""
    ours = Task(tool="hardlabel", target=target, attack="boundary", queries=BUDGET, samples=samples, threads=threads)
    peers = [replace(ours, tool=tool) for tool in PEERS]
    found = [replace(ours, attack=attack, queries=count) for count in budgets for attack in ("boundary", "geoda")]
    seen = [replace(ours, attack=attack, queries=0) for attack in ("deepfool", "carlini-wagner")]
    return (*peers, *found, *seen)


def _beside_raw(*tasks: Task) -> tuple[Task, ...]:
    raw = replace(tasks[0], tool="raw", attack="forward", queries=0)
    return (raw, *tasks, raw)


def _allocators(target: str, *, batches: tuple[int, ...], queries: int) -> tuple[Task, ...]:
    raw = Task(tool="raw", target=target, attack="forward")
    attack = replace(raw, tool="hardlabel", attack="boundary", queries=queries)
    return tuple(
        replace(task, allocator=allocator)
        for allocator in ("default", "variables", "kept")
        for task in (*(replace(raw, batch=batch) for batch in batches), attack)
    )
