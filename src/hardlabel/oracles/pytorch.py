"""PyTorch models as oracles: any device, batched in the size and memory layout that a short probe found best."""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.models.modes import evaluating
from hardlabel.oracles.base import VALUES_IN_MEMORY

PROBED_SIZES = tuple(2**power for power in range(5, 17))
SHAPES = 8  # Lengths of batches a graphics card is shown; see `filled`.
PROBE_SECONDS = 0.1  # A size is timed at least so long and for two passes, after one to warm up.
PROBE_NEAR = 0.98  # A size with this share of the best rate is as good: a short timing cannot tell them apart.
LAYOUT_GAIN = 1.05  # Another layout is worth laying batches out if the rate is this many times as high.
PROBE_PATIENCE = 2  # Stop after so many sizes in a row that are no faster than the fastest before.
PROBE_SLOW = 0.2  # Stop where a single pass takes more seconds.


def resolve_device(device: str | torch.device) -> torch.device:
    """The device meant by `device`; "auto" takes CUDA where it is at hand, then the CPU.

    Raises:
        InvalidInput: PyTorch knows no such device, or it is not on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError) as error:
        raise InvalidInput(f"device {str(device)!r} cannot be used here: {str(error).splitlines()[0]}") from error
    return found


@contextlib.contextmanager
def left_in_place(model: object) -> Iterator[None]:
    """Puts a module back on the device that it was on, where it was on one; anything else is left alone."""
    modules = model if isinstance(model, nn.Module) else nn.Module()
    devices = {one.device for one in (*modules.parameters(), *modules.buffers())}
    try:
        yield
    finally:
        if len(devices) == 1:
            modules.to(devices.pop())


class TorchModel:
    """A PyTorch classifier that answers with labels.

    The model maps inputs (q, *shape) to logits (q, classes); they are float32 and cast to the type of its first
    floating-point parameter. It is put into evaluation mode for each call, and each of its modules back into its
    own mode after; its weights are moved to `device` and never changed.

    Args:
        model: The classifier.
        device: Where it runs; "auto" takes CUDA where it is at hand.
        batch_size: Rows per forward pass; None probes once, on copies of the first inputs asked about. The probe also
            tries images with channels last, which many processors convolve faster, and keeps what wins.
        mixed: Whether products are rounded to bfloat16 before they are summed, which processors that have them do
            faster. Of own models only: labels next to a boundary may change.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        device: str | torch.device = "auto",
        batch_size: int | None = None,
        mixed: bool = False,
    ) -> None:
        if batch_size is not None:
            checks.at_least(1, batch_size=batch_size)
        self.device = resolve_device(device)
        self._model = model.to(self.device)
        self._batch_size = batch_size
        self._mixed = mixed
        self._channels_last = False
        self._probe_rows = 0

    @property
    def batch_size(self) -> int | None:
        """Rows per forward pass; None before the first question."""
        return self._batch_size

    @property
    def probe_rows(self) -> int:
        """Rows the probe sent to the model: queries that belong to no sample."""
        return self._probe_rows

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """Classes of `inputs` (q, *shape), int64 (q,); see `LabelOracle`."""
        del ids
        return self._answers(inputs, lambda logits: logits.argmax(1))

    def probe(self, example: Tensor) -> int:
        """Finds and remembers the batch size for copies of `example` (1, *shape).

        The largest that is about as fast as the fastest tried; on a card, whose memory others share, the smallest.
        """
        if self._batch_size is None:
            with self._ready():
                probe = _Probe(self._forward, example[:1].to(self.device))
                self._batch_size, self._channels_last = probe.best()
            self._probe_rows = probe.rows
        return self._batch_size

    def _answers(self, inputs: Tensor, read: Callable[[Tensor], Tensor]) -> Tensor:
        if not len(inputs):
            raise InvalidInput("inputs must hold at least one row, got none")
        most, parts = self.probe(inputs), []
        on_card = self.device.type == "cuda"
        size = most if on_card else evenly(len(inputs), most)
        with self._ready():
            for batch in torch.split(inputs, size):
                shown = batch.to(self.device)
                if on_card:
                    shown = filled(shown, size)
                logits = self._forward(_laid_out(shown, channels_last=self._channels_last))
                parts.append(read(logits[: len(batch)]).to(inputs.device))
        return torch.cat(parts)

    @contextlib.contextmanager
    def _ready(self) -> Iterator[None]:
        mixed = torch.autocast(self.device.type, dtype=torch.bfloat16) if self._mixed else contextlib.nullcontext()
        with evaluating(self._model), torch.inference_mode(), mixed:
            yield

    def _forward(self, batch: Tensor) -> Tensor:
        """Logits of one batch; the caller has made the model ready."""
        floats = (weight.dtype for weight in self._model.parameters() if weight.is_floating_point())
        logits = self._model(batch.to(next(floats, batch.dtype)))
        if not (isinstance(logits, Tensor) and logits.ndim == 2 and len(logits) == len(batch)):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise InvalidInput(f"a model must map (q, *shape) to logits (q, classes), got {got} for q={len(batch)}")
        return logits


class TorchScores(TorchModel):
    """The same classifier with its confidence vector shown, for the score-based baselines."""

    def ask_scores(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """Log probabilities of `inputs` (q, *shape), float32 (q, classes); see `ScoreOracle`."""
        del ids
        return self._answers(inputs, lambda logits: logits.float().log_softmax(1))


class _Probe:
    """Looks for the batch with the highest rate on copies of `example` (1, *shape).

    Attributes:
        rows: Rows sent so far.
    """

    def __init__(self, forward: Callable[[Tensor], Tensor], example: Tensor) -> None:
        self._forward, self._example = forward, example
        self.rows = 0

    def best(self) -> tuple[int, bool]:
        """Rows per batch, 1 where memory holds none that was tried, and whether images go with channels last."""
        most = max(1, VALUES_IN_MEMORY // max(1, self._example.numel()))
        rates: dict[int, float] = {}
        for size in [size for size in PROBED_SIZES if size <= most] or [most]:
            timed = self._timed(size, channels_last=False)
            if timed is None:
                break
            rates[size], slowest = timed
            told = list(rates.values())
            if slowest > PROBE_SLOW or max(told[:-PROBE_PATIENCE], default=0.0) >= max(told[-PROBE_PATIENCE:]):
                break
        if not rates:
            return 1, False
        near = [size for size, rate in rates.items() if rate >= PROBE_NEAR * max(rates.values())]
        size = min(near) if self._example.is_cuda else max(near)  # A card's memory is shared, and soon full.
        return size, self._example.ndim == 4 and self._wins(size, rates[size])

    def _wins(self, size: int, rate: float) -> bool:
        try:
            timed = self._timed(size, channels_last=True)
        except RuntimeError:
            return False  # The network flattens by `view`, which needs channels first.
        return timed is not None and timed[0] >= LAYOUT_GAIN * rate

    def _timed(self, size: int, *, channels_last: bool) -> tuple[float, float] | None:
        """Rows per second by the median pass, and the seconds of the slowest; None where memory does not suffice."""
        took: list[float] = []
        try:
            copies = self._example.expand(size, *self._example.shape[1:]).contiguous()
            batch = _laid_out(copies, channels_last=channels_last)
            while len(took) < 3 or sum(took[1:]) < PROBE_SECONDS:
                self.rows += size  # Before sending: a pass that fails was sent as well.
                start = time.perf_counter()
                self._forward(batch)
                if batch.is_cuda:
                    torch.cuda.synchronize(batch.device)
                took.append(time.perf_counter() - start)
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
            return None
        timed = took[1:]  # The first pass warms up.
        return size / statistics.median(timed), max(timed)


def evenly(rows: int, most: int) -> int:
    """Rows per batch, `most` at most, in as few batches as `most` allows: a short last one would be a slow one."""
    return -(-rows // -(-rows // most))


def filled(batch: Tensor, size: int) -> Tensor:
    """The batch (m, *shape), m from 1 to `size`, filled up with its first row to one of SHAPES lengths.

    A search asks about ever other numbers of rows, and cuDNN plans each convolution anew for every number it has not
    seen: 0.3 ms on an H200, as long as it takes over a thousand rows.
    """
    step = -(-size // SHAPES)
    more = -len(batch) % step
    return torch.cat([batch, batch[:1].expand(more, *batch.shape[1:])]) if more else batch


def _laid_out(batch: Tensor, *, channels_last: bool) -> Tensor:
    return batch.contiguous(memory_format=torch.channels_last) if channels_last else batch


def _out_of_memory(error: RuntimeError | MemoryError) -> bool:
    # Only CUDA's allocator has a type of its own; the CPU's, cuBLAS and others say it in words.
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    told = str(error).lower()
    return any(words in told for words in ("out of memory", "allocate memory", "not enough memory", "alloc_failed"))
