"""Executors: one answer wherever a piece runs, whatever dies on the way."""

import errno
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
import torch

from games import random_samples
from hardlabel import executors as executors_module
from hardlabel.audits.game.execution import Execution
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Box
from hardlabel.executors import Local, Lost, Ray, executor_of, versions
from hardlabel.kinds import run
from hardlabel.models.shadows import jobs, pairs, train_all
from hardlabel.models.train import Recipe
from hardlabel.models.trainers import FunctionTrainer, RecipeTrainer
from hardlabel.runs.progress import Silent
from hardlabel.runs.settings import ModelSettings
from hardlabel.store import Store
from test_defend_runs import compared, content, lines
from test_runs import same

ray = pytest.importorskip("ray")

POOL = random_samples(Box((4,)), 30, classes=3)
TINY = RecipeTrainer(recipe=Recipe(architecture="fc", max_epochs=2, batch_size=5), classes=3)


# Functions in functions, so that they travel whole: workers do not know this file.
def summing():
    def work(common, item):
        import os

        import torch

        return float(common["rows"][item].sum()), torch.get_num_threads(), os.getpid()

    return work


def dying(folder):
    """Kills its process at each item's first try."""

    def work(common, item):
        import os
        import signal
        from pathlib import Path

        mark = Path(folder) / f"{item}"
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return item * common

    return work


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one processor each, on this machine."""
    from ray.cluster_utils import Cluster

    nodes = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "object_store_memory": 2**28, "include_dashboard": False},
    )
    nodes.second = nodes.add_node(num_cpus=1, object_store_memory=2**28)
    nodes.wait_for_nodes()
    before = logging.getLogger("ray").level
    yield nodes
    ray.shutdown()
    nodes.shutdown()
    logging.getLogger("ray").setLevel(before)


@pytest.fixture
def executors(cluster):
    return {
        "here": Local(processes=1, cores=2),
        "processes": Local(processes=2, cores=2),
        "ray": Ray(address=cluster.address, cores=1),
    }


def test_every_executor_gives_each_item_its_result(executors):
    # Whole numbers: their sums are exact in any order, with any number of threads.
    common = {"rows": torch.randint(-8, 8, (9, 300_000), generator=torch.Generator().manual_seed(0)).float()}
    expected = {place: float(common["rows"][place].sum()) for place in range(9)}
    for name, executor in executors.items():
        found = dict(executor.run(summing(), common, range(9), long=True))
        assert {place: result[0] for place, result in found.items()} == expected, name
        assert {threads for _, threads, _ in found.values()} == {executor.cores}, name
        elsewhere = {process for *_, process in found.values()} - {os.getpid()}
        assert bool(elsewhere) == (name != "here"), name
    assert torch.get_num_threads() == 1  # As `conftest` has it.


def test_no_items_give_no_results(executors):
    for executor in executors.values():
        assert list(executor.run(summing(), {}, [])) == []


def test_what_a_piece_raises_is_raised_as_it_is(executors):
    def work(common, item):
        from hardlabel.checks import InvalidInput

        raise InvalidInput(f"item must be no {item}")

    for executor in executors.values():
        with pytest.raises(InvalidInput, match="item must be no 3"):
            list(executor.run(work, None, [3, 3], long=True))


def test_a_few_short_pieces_are_done_right_here():
    found = list(Local(processes=2).run(summing(), {"rows": torch.ones(5, 3)}, range(5)))
    assert {process for _, (*_, process) in found} == {os.getpid()}


def test_pieces_of_killed_workers_are_done_again(executors, tmp_path):
    for name, items in (("processes", 4), ("ray", 2)):
        (tmp_path / name).mkdir()
        found = dict(executors[name].run(dying(str(tmp_path / name)), 10, range(items), long=True))
        assert found == {item: 10 * item for item in range(items)}


def test_a_last_piece_whose_worker_died_is_not_done_in_the_main_process(tmp_path):
    """What killed a worker, for want of memory say, must not kill the run."""
    mark = tmp_path / "tried"

    def work(common, item):
        import os
        import signal
        import time

        if item == 0 and not mark.exists():
            mark.touch()
            time.sleep(2)  # Until the other piece is done.
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid()

    found = dict(Local(processes=2).run(work, None, [0, 1], long=True))
    assert mark.exists()
    assert os.getpid() not in found.values()


def test_a_piece_that_always_kills_its_worker_is_given_up_in_the_end(monkeypatch):
    def work(common, item):
        import os

        os._exit(1)

    monkeypatch.setattr("hardlabel.executors.RETRIES", 1)
    with pytest.raises(Lost, match=r"died 2 times .*, 2 pieces are not done"):
        list(Local(processes=2).run(work, None, [0, 1], long=True))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_too_full_for_what_pieces_share_is_told_as_such():
    with pytest.raises(OSError, match="No space left") as told:
        executors_module._write({"rows": torch.zeros(10**6)}, Path("/dev/full"))
    assert told.value.errno == errno.ENOSPC


# --- what goes through them ---


def test_models_trained_on_a_cluster_are_those_trained_here(cluster, tmp_path):
    wanted, told = jobs(pairs(4, 30, seed=0), seed=0), []
    alone = train_all(TINY, POOL, wanted, executor=Local(processes=1))
    trainer = RecipeTrainer(recipe=TINY.recipe, classes=3, store=Store(tmp_path))
    spread = train_all(trainer, POOL, wanted, on_done=told.append, executor=Ray(address=cluster.address))
    assert sorted(one.done for one in told) == [1, 2, 3, 4]
    assert len(list(tmp_path.glob("*.piece"))) == 4
    for one, other in zip(alone, spread, strict=True):
        for mine, theirs in zip(one.model.parameters(), other.model.parameters(), strict=True):
            assert torch.equal(mine, theirs)


def test_a_users_function_is_sent_to_a_cluster_and_kept(cluster, tmp_path):
    def memorise(inputs, labels, *, seed):
        return {"mean": float(inputs.mean()), "seed": seed}

    trainer = FunctionTrainer(function=memorise, name="mine", store=Store(tmp_path))
    wanted = jobs(pairs(4, 30, seed=0), seed=0)
    made = train_all(trainer, POOL, wanted, executor=Ray(address=cluster.address))
    assert [one.model["seed"] for one in made] == [job.seed % 2**32 for job in wanted]
    again = train_all(trainer, POOL, wanted)  # Here, and found.
    assert [one.model for one in again] == [one.model for one in made]


@pytest.mark.long
def test_a_comparison_of_defenses_is_the_same_by_processes_and_on_a_cluster(cluster, tmp_path, monkeypatch):
    """Defenses that train, one of them from a kept network, and one that guards what is trained elsewhere."""
    here = compared(tmp_path / "here", executor=Local(processes=1))
    monkeypatch.setattr("hardlabel.executors.WORTH_STARTING", 0.0)
    for name, executor in (("processes", Local(processes=2)), ("ray", Ray(address=cluster.address))):
        found = compared(tmp_path / name, executor=executor, chunk=30, watch=Unsendable())
        assert content(found) == content(here), name
        names = [line["piece"] for line in lines(found.folder)]
        assert len(names) == len(set(names)), name


class Unsendable(Silent):
    """As the terminal's: it cannot be taken to another process."""

    def __init__(self):
        self.lock = threading.Lock()


def test_an_audit_on_a_cluster_that_loses_a_node_finds_what_a_local_one_finds(cluster, tmp_path):
    """While models are trained and measured, a worker is killed and then a whole node is taken away."""
    config = {"train_size": 60, "max_epochs": 40, "attacks": ["gap", "path", "lira"], "references": 8, "device": "cpu"}
    local = run(ModelSettings(**config, out=tmp_path / "local"), store=Store(tmp_path / "one"))
    executor, lost = Ray(address=cluster.address), []

    class Losing(Ray):
        def run(self, work, common, items, *, long=False):
            for number, result in enumerate(super().run(work, common, items, long=long)):
                if number >= 1 and not lost:
                    lost.extend(["worker"] * _kill_a_worker())  # Else at a later result: none may be at work just now.
                elif number >= 3 and lost == ["worker"]:
                    cluster.remove_node(cluster.second, allow_graceful=False)
                    lost.append("node")
                yield result

    losing = Losing(address=executor.address)
    spread = run(
        ModelSettings(**config, out=tmp_path / "ray"),
        store=Store(tmp_path / "two"),
        execution=Execution(executor=losing, chunk=50),
    )
    assert lost == ["worker", "node"]
    same(spread, local)
    patience = time.monotonic() + 30  # The cluster takes a while to notice.
    while len(alive := [node for node in ray.nodes() if node["Alive"]]) > 1 and time.monotonic() < patience:
        time.sleep(0.2)
    assert len(alive) == 1


def _kill_a_worker():
    """Kills one worker process of the cluster that is at work; whether there was one."""
    for folder in os.listdir("/proc"):
        try:
            with open(f"/proc/{folder}/cmdline", "rb") as file:
                name = file.read().replace(b"\0", b" ").strip()
        except OSError:
            continue
        if folder.isdigit() and name.startswith(b"ray::_remote"):
            os.kill(int(folder), signal.SIGKILL)
            return True
    return False


@pytest.mark.long
def test_a_piece_gets_the_cores_and_the_share_of_a_gpu_that_were_asked_for(cluster):
    def work(common, item):
        import ray
        import torch

        return ray.get_runtime_context().get_assigned_resources(), torch.get_num_threads()

    executor = Ray(address=cluster.address, cores=2, gpus=0.5)
    assert executor.device(torch.device("cpu")).type == "cuda"
    node = cluster.add_node(num_cpus=4, num_gpus=1, object_store_memory=2**28)  # Ray takes our word for it.
    try:
        cluster.wait_for_nodes()
        assert executor.width == 2
        assert dict(executor.run(work, None, range(3))) == dict.fromkeys(range(3), ({"CPU": 2.0, "GPU": 0.5}, 2))
    finally:
        cluster.remove_node(node)


@pytest.mark.long
def test_what_pieces_print_comes_back_to_the_one_terminal(cluster, tmp_path):
    """A process of its own, because Ray prints to the terminal that its driver was started from."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import time

            import hardlabel.executors

            def work(common, item):
                print(f"piece {{item}} speaks", flush=True)

            cluster = hardlabel.executors.Ray(address={cluster.address!r})
            for executor in (cluster, hardlabel.executors.Local(processes=2)):
                list(executor.run(work, None, range(2), long=True))
                time.sleep(2)
            """
        )
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    for item in range(2):
        assert (done.stdout + done.stderr).count(f"piece {item} speaks") == 2


# --- what is refused ---


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"name": "rey"}, "executor 'rey' is unknown: did you mean 'ray'"),
        ({"name": "local", "address": "auto"}, "address is a setting of executor 'ray', got executor 'local'"),
        ({"name": "local", "gpus": 0.5}, "gpus is a setting of executor 'ray'"),
        ({"name": "ray", "jobs": 2}, "jobs is a setting of executor 'local', got executor 'ray'"),
        ({"name": "local", "jobs": 0}, "processes must be at least 1, got 0"),
        ({"name": "local", "cores": 0}, "cores must be at least 1, got 0"),
        ({"name": "ray", "gpus": -1.0}, "gpus must be 0 or more, got -1.0"),
    ],
)
def test_bad_settings_are_refused(settings, rule):
    with pytest.raises(InvalidInput, match=rule):
        executor_of(**settings)


def test_only_pieces_without_a_result_are_cancelled_on_a_cluster(cluster, monkeypatch):
    """Ray aborts the whole process where a piece is cancelled at the moment when its result arrives."""

    def work(common, item):
        import time

        if item == 0:
            raise ValueError("the first fails")
        time.sleep(5)

    ray.init(address=cluster.address, ignore_reinit_error=True)
    cancel, cancelled = ray.cancel, []
    monkeypatch.setattr(ray, "cancel", lambda reference, **how: (cancelled.append(reference), cancel(reference, **how)))
    for items, expected in (([0], 0), ([0, 1, 2], 2)):
        cancelled.clear()
        with pytest.raises(ValueError, match="the first fails"):
            list(Ray(address=cluster.address).run(work, None, items))
        assert len(cancelled) == expected


def test_a_node_with_other_versions_is_refused(cluster, monkeypatch):
    monkeypatch.setattr("hardlabel.executors.versions", lambda: {**versions(), "torch": "1.0"})
    with pytest.raises(InvalidInput, match="every node must have the versions"):
        list(Ray(address=cluster.address).run(summing(), {}, [0]))


def test_without_ray_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InvalidInput, match=r"pip install 'hardlabel\[ray\]'"):
        Ray()
