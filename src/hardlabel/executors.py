"""Where independent pieces of work run: processes of this machine, or a Ray cluster. The results are the same.

A piece is `work(common, item)`: a function of something large that all pieces share, sent once, and of something
small. It must depend on nothing else and keep nothing: whoever asked for it keeps the result, so that a piece may be
done again wherever it was lost. Every piece has as many threads as it was given cores, wherever it runs, because the
number of threads changes how sums round.
"""

import contextlib
import gc
import io
import os
import pickle
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, Protocol, TypeVar

import cloudpickle
import joblib
import torch
from joblib._parallel_backends import LokyBackend
from joblib.externals.loky.backend import resource_tracker as joblib_tracker
from joblib.externals.loky.process_executor import TerminatedWorkerError
from torch import Tensor

from hardlabel import allocator, checks, processes
from hardlabel.checks import InvalidInput

Common = TypeVar("Common")
Item = TypeVar("Item")
Result = TypeVar("Result")

NAMES = ("local", "ray")
WORTH_STARTING = 5.0  # Seconds of work left from which on starting processes pays: each imports PyTorch first.
RETRIES = 5  # Times a piece is done again whose worker was lost.
AHEAD = 1000  # Pieces handed to a cluster at a time.
UNSENDABLE = (pickle.PicklingError, AttributeError, TypeError)  # What pickle raises at things it cannot write.


class Lost(RuntimeError):
    """Workers died again and again at the same pieces, as they do where memory is short."""


class Executor(Protocol):
    """Runs pieces somewhere."""

    @property
    def elsewhere(self) -> bool:
        """Whether pieces go to other machines, so that even a single one is worth sending."""
        ...

    @property
    def width(self) -> int:
        """How many pieces run at once, as far as that is known."""
        ...

    def device(self, here: torch.device) -> torch.device:
        """Where models of a piece run if those of this process run on `here`."""
        ...

    def run(
        self, work: Callable[[Common, Item], Result], common: Common, items: Sequence[Item], *, long: bool = False
    ) -> Iterator[tuple[int, Result]]:
        """The result of each piece with its place among `items`, as they are finished, in any order.

        Args:
            work: A function of a module, without side effects.
            common: What all pieces share; sent once.
            items: What tells them apart.
            long: Whether a piece is known to take long, so that none should be tried here first.

        Raises:
            Lost: A piece's workers died RETRIES times.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Local:
    """Runs pieces in processes on this machine, with `cores` threads each; a few short ones in the calling process.

    Data that pieces share are written to a file once. All processes map this file into their memory.

    Attributes:
        processes: Number of processes at once, 1 or more; None for as many as the cores allow.
        cores: Threads of each piece, 1 or more.
        scratch: The folder for that file; None for the system's temporary folder.

    Raises:
        InvalidInput: A number is below 1.

    Example:
        >>> from hardlabel import Local
        >>> def work(common, item):
        ...     return common + item
        >>> sorted(Local(processes=2).run(work, 10, [1, 2]))  # Each with its place; short pieces are done right here.
        [(0, 11), (1, 12)]
    """

    processes: int | None = None
    cores: int = 1
    scratch: Path | None = None
    elsewhere = False

    def __post_init__(self) -> None:
        checks.whole_number(1, cores=self.cores)
        if self.processes is not None:
            checks.whole_number(1, processes=self.processes)
        checks.plain_fields(self, "cores", "processes")

    @property
    def width(self) -> int:
        return self.processes or max(1, joblib.cpu_count() // self.cores)

    def device(self, here: torch.device) -> torch.device:
        return here

    def run(
        self, work: Callable[[Common, Item], Result], common: Common, items: Sequence[Item], *, long: bool = False
    ) -> Iterator[tuple[int, Result]]:
        left = list(range(len(items)))
        while left and not (len(left) > 1 and self.width > 1 and long):
            started = time.perf_counter()
            yield left[0], _with_threads(self.cores, work, common, items[left[0]])
            processes.INTERRUPTS.check()
            del left[0]
            long = (time.perf_counter() - started) * len(left) > WORTH_STARTING
        if left:
            yield from self._spread(work, common, items, left)

    def _spread(
        self, work: Callable[[Common, Item], Result], common: Common, items: Sequence[Item], left: list[int]
    ) -> Iterator[tuple[int, Result]]:
        if self.scratch is not None:
            self.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.scratch, prefix="hardlabel-") as folder:
            path = Path(folder) / "common"
            _write(common, path)
            for _ in range(RETRIES + 1):
                # Never 1: joblib would do that piece right here, where it could kill the run as it killed its worker.
                count = max(2, min(self.width, len(left)))
                run = joblib.Parallel(n_jobs=count, backend=_Workers(), return_as="generator_unordered", batch_size=1)
                tasks = (joblib.delayed(_mapped)(self.cores, work, str(path), items[one], one) for one in left[:])
                # The process that waits needs no processor, but its own threads would fight for those of the workers.
                try:
                    # They would let Ctrl-C through again, and joblib starts them with its first worker.
                    resource_tracker.ensure_running()
                    joblib_tracker.ensure_running()
                    with processes.starting_workers():
                        results = run(tasks)
                    for number, result in results:
                        left.remove(number)
                        yield number, result
                        processes.INTERRUPTS.check()
                    return
                except TerminatedWorkerError:
                    continue
        raise Lost(f"worker processes died {RETRIES + 1} times (is memory short?), {len(left)} pieces are not done")


@dataclass(frozen=True, kw_only=True)
class Ray:
    """Runs each piece as a task of a Ray cluster. Ray places tasks, retries tasks of lost workers and nodes, and sends
    shared data to each node once. What tasks print appears in this terminal.

    Attributes:
        address: Address of the cluster, as `ray.init` takes it. None for the cluster that RAY_ADDRESS names or that
            runs on this machine; if there is none, a cluster is started on this machine.
        cores: Processors of each piece, and its threads; 1 or more.
        gpus: GPUs of each piece, 0 or more; a share of a GPU, such as 0.25, is allowed. Pieces with GPUs run on CUDA,
            others on the processor.

    Raises:
        InvalidInput: A number is out of range, or Ray is not installed.

    Example:
        >>> import torch
        >>> from hardlabel import Ray
        >>> Ray(gpus=0.25).device(torch.device("cpu"))  # Four pieces share a GPU.
        device(type='cuda')
        >>> Ray(cores=0)
        Traceback (most recent call last):
        hardlabel.checks.InvalidInput: cores must be at least 1, got 0
    """

    address: str | None = None
    cores: int = 1
    gpus: float = 0.0
    elsewhere = True

    def __post_init__(self) -> None:
        checks.whole_number(1, cores=self.cores)
        checks.not_negative(gpus=self.gpus)
        checks.plain_fields(self, "cores", "gpus")
        _ray()

    @property
    def width(self) -> int:
        total = self._connected().cluster_resources()
        pieces = [total.get("CPU", 1.0) / self.cores]
        if self.gpus:
            pieces.append(total.get("GPU", 0.0) / self.gpus)
        return max(1, int(min(pieces)))

    def device(self, here: torch.device) -> torch.device:
        return torch.device("cuda" if self.gpus else "cpu")

    def run(
        self, work: Callable[[Common, Item], Result], common: Common, items: Sequence[Item], *, long: bool = False
    ) -> Iterator[tuple[int, Result]]:
        del long
        if not items:
            return
        ray = self._connected()
        piece = ray.remote(num_cpus=self.cores, num_gpus=self.gpus, max_retries=RETRIES)(_remote)
        sent, waiting, pending = ray.put(common), iter(enumerate(items)), dict[Any, int]()
        # In a list, Ray hands on the reference: a worker that has looked it up once need not do so for each piece.
        shared = [sent]
        try:
            while True:
                while len(pending) < AHEAD and (following := next(waiting, None)) is not None:
                    number, item = following
                    pending[piece.remote(self.cores, work, shared, item, versions())] = number
                if not pending:
                    return
                # One result at a time: each is kept before the next is looked at, and then let go.
                [done], _ = ray.wait(list(pending), num_returns=1)
                number = pending.pop(done)
                try:
                    result = ray.get(done)
                except (ray.exceptions.WorkerCrashedError, ray.exceptions.ObjectLostError) as error:
                    told = str(error).splitlines()[0]
                    raise Lost(f"a piece's workers died {RETRIES + 1} times: {told}") from error
                except ray.exceptions.RayTaskError as error:
                    raise error.as_instanceof_cause() from None
                yield number, result
                del done, result
        finally:
            # Cancelling a piece whose result is just arriving can abort this process: a fault of Ray's.
            running = ray.wait(list(pending), num_returns=len(pending), timeout=0)[1] if pending else []
            for piece_under_way in running:
                ray.cancel(piece_under_way, force=True)

    def _connected(self) -> Any:
        ray = _ray()
        if not ray.is_initialized():
            try:
                ray.init(address=self.address, log_to_driver=True)
            except ConnectionError as error:
                raise InvalidInput(f"address {self.address!r} must be a Ray cluster's: {error}") from error
            ray.util.register_serializer(Tensor, serializer=_as_array, deserializer=_as_tensor)
        return ray


def executor_of(
    name: str,
    *,
    address: str | None = None,
    jobs: int | None = None,
    cores: int = 1,
    gpus: float = 0.0,
    scratch: Path | None = None,
) -> Executor:
    """The executor of that name, from settings of the command line; `jobs` are the processes of `Local`.

    Raises:
        InvalidInput: The name is unknown, a setting is of the other executor only, or Ray is not installed.
    """
    checks.one_of(NAMES, executor=name)
    if name == "local":
        for setting, given in (("address", address is not None), ("gpus", gpus > 0)):
            if given:
                raise InvalidInput(f"{setting} is a setting of executor 'ray', got executor 'local'")
        return Local(processes=jobs, cores=cores, scratch=scratch)
    if jobs is not None:
        raise InvalidInput("jobs is a setting of executor 'local', got executor 'ray'")
    return Ray(address=address, cores=cores, gpus=gpus)


def versions() -> dict[str, str]:
    """What must be the same wherever a piece runs, for the result to be the same."""
    return {"hardlabel": metadata.version("hardlabel"), "torch": torch.__version__}


def sendable(thing: object) -> bool:
    """Whether a thing can be sent to another process."""
    try:
        _Trial(io.BytesIO()).dump(thing)
    except UNSENDABLE:
        return False
    return True


class _Trial(cloudpickle.Pickler):  # type: ignore[misc]  # It has no types.
    """Writes everything but tensors, which can always be sent and may be large."""

    def persistent_id(self, thing: object) -> str | None:
        return "tensor" if isinstance(thing, Tensor) else None


def _ray() -> Any:
    try:
        import ray
        import ray.util
    except ImportError as error:
        raise InvalidInput("executor 'ray' needs Ray: pip install 'hardlabel[ray]'") from error
    return ray


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Inside, PyTorch computes with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _with_threads(cores: int, work: Callable[[Common, Item], Result], common: Common, item: Item) -> Result:
    with threads(cores):
        return work(common, item)


class _Workers(LokyBackend):  # type: ignore[misc]  # It has no types.
    """Joblib's processes, which watch their parent from the first and whose idle threads sleep."""

    def configure(self, *arguments: Any, **settings: Any) -> Any:
        settings["initializer"] = processes.begin_worker
        settings["initargs"] = (os.getpid(), threading.current_thread() is threading.main_thread())
        return super().configure(*arguments, **settings)

    def _prepare_worker_env(self, n_jobs: int) -> dict[str, str]:
        return {**super()._prepare_worker_env(n_jobs), **processes.passive_waiting()}


def _mapped(cores: int, work: Callable[[Any, Item], Result], path: str, item: Item, number: int) -> tuple[int, Result]:
    """In a process of this machine: one piece."""
    _settle_in()
    return number, _with_threads(cores, work, _common(path), item)


def _write(common: object, path: Path) -> None:
    """What pieces share, as a file to be mapped. Of a full disk PyTorch tells in its own words: here as others do."""
    with path.open("wb") as file:
        try:
            torch.save(common, file, pickle_module=cloudpickle)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


@lru_cache(maxsize=1)
def _common(path: str) -> Any:
    return torch.load(path, map_location="cpu", mmap=True, weights_only=False)


@lru_cache(maxsize=1)
def _settle_in() -> None:
    """Once in each process: keeps freed memory.

    Joblib's processes collect garbage between pieces. What the imports left is none: to look through it each time took
    a tenth of a second.
    """
    allocator.keep_memory()
    gc.freeze()


def _remote(
    cores: int, work: Callable[[Any, Item], Result], shared: list[Any], item: Item, wanted: dict[str, str]
) -> Result:
    """In a worker of a cluster: one piece."""
    if versions() != wanted:
        raise InvalidInput(f"every node must have the versions {wanted}, got {versions()}")
    allocator.keep_memory()
    return _with_threads(cores, work, _looked_up(shared[0]), item)


@lru_cache(maxsize=1)
def _looked_up(sent: Any) -> Any:
    return _ray().get(sent)


def _as_array(tensor: Tensor) -> object:
    """What Ray sends for a tensor: a plain array, which workers read in the node's shared memory without a copy."""
    plain = tensor.device.type == "cpu" and tensor.layout is torch.strided and not tensor.requires_grad
    if plain and tensor.is_contiguous() and tensor.dtype is not torch.bfloat16 and not tensor.is_inference():
        return tensor.numpy()
    return cloudpickle.dumps(tensor.detach().cpu().clone(memory_format=torch.preserve_format))


def _as_tensor(sent: Any) -> Tensor:
    if isinstance(sent, bytes):
        return cloudpickle.loads(sent)  # type: ignore[no-any-return]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # That the memory is read-only: nobody writes to what is shared.
        return torch.from_numpy(sent)
