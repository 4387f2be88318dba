"""What is measured of one process: rows its model received, seconds, and memory above the loaded model."""

import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")
CLEAR_PEAK = "5"  # Written to /proc/self/clear_refs: the peak of the resident memory starts anew, see proc(5).


class Counted(nn.Module):
    """The target as every tool gets it, in evaluation mode: counts the rows it receives.

    ART works in float64 since NumPy 2 promotes its float32 arrays (alpha in HopSkipJump._binary_search is a float64
    array), and a float32 network refuses that: inputs are cast here, which is less than ART lost by failing.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.rows = model, 0
        self.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits of `inputs`."""
        self.rows += len(inputs)
        logits: Tensor = self.model(inputs.float())
        return logits


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What some work took.

    Attributes:
        rows: Rows the model received.
        seconds: Wall time; on a GPU between two events on its stream.
        processor: Seconds of processor time of all threads.
        faults: Pages that the system had to hand out.
        others: Cores that other programs used meanwhile, on average; None where nobody can tell.
    """

    rows: int
    seconds: float
    processor: float
    faults: int
    others: float | None


def cost(work: Callable[[], T], model: Counted, device: torch.device) -> tuple[T, Cost]:
    """The result of `work` and what it took."""
    rows, faults, processor, all_busy, wall = model.rows, _faults(), time.process_time(), _busy(), time.perf_counter()
    if device.type == "cuda":
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(device)
        begin.record()
        result = work()
        end.record()
        torch.cuda.synchronize(device)
        seconds = begin.elapsed_time(end) / 1000
    else:
        started = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - started
    own, busy, wall = time.process_time() - processor, _busy(), time.perf_counter() - wall
    took = Cost(
        rows=model.rows - rows,
        seconds=seconds,
        processor=own,
        faults=_faults() - faults,
        others=None if busy is None or all_busy is None else max(0.0, (busy - all_busy - own) / wall),
    )
    return result, took


class Peak:
    """The most memory in use from now on, above what is in use now; bytes, None where nobody can tell."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before: int | None = torch.cuda.memory_allocated(device)
            return
        try:
            Path("/proc/self/clear_refs").write_text(CLEAR_PEAK)
            self._before = _status("VmRSS")
        except OSError:
            self._before = None

    def read(self) -> int | None:
        """Bytes so far."""
        if self._before is None:
            return None
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) - self._before
        return _status("VmHWM") - self._before


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {name}")


def _busy() -> float | None:
    """Seconds that all cores together have worked, or were taken away by the host."""
    try:
        ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    user, nice, system, _, _, interrupts, soft, stolen = ticks  # Between them: idle, and waiting for a disk.
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")


def _faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
