"""PyTorch models as oracles, on any device. A short probe chooses the batch size and the memory layout."""

import contextlib
import math
import statistics
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from hardlabel import checks
from hardlabel.checks import InvalidInput, shown
from hardlabel.executors import threads
from hardlabel.models.modes import evaluating
from hardlabel.oracles.base import VALUES_IN_MEMORY

PROBED_SIZES = tuple(2**power for power in range(5, 17))
SHAPES = 8  # Number of batch lengths that a GPU sees; see `filled`.
PROBE_SECONDS = 0.1  # Each size is timed at least this long and for two passes, after one warm-up pass.
PROBE_NEAR = 0.98  # A size with this share of the best rate is as good: a short timing cannot show the difference.
LAYOUT_GAIN = 1.05  # The other layout must be this many times as fast to be used.
THREADS_GAIN = 1.1  # All threads must be this many times as fast as one, or one is taken: the others are free then.
PROBE_PATIENCE = 2  # Stop after so many sizes in a row that are no faster than the fastest before.
SUM_SLACK = 1e-4  # Rows of probabilities sum to 1 within this.
FEWEST_JUDGED = 20  # Rows from which on single outputs between 0 and 1 are taken for probabilities.
PROBE_SLOW = 0.2  # Stop if a pass takes more seconds than this.


def resolve_device(device: str | torch.device) -> torch.device:
    """The torch device; "auto" is CUDA if available, else the CPU.

    Raises:
        InvalidInput: PyTorch does not know the device, or this machine does not have it.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.zeros(1, device=resolved).item()  # A device without memory, such as "meta", fails here.
    except (RuntimeError, AssertionError) as error:
        usable = _usable()
        # Of a device that this machine has, only the error says what is wrong: its memory may be full.
        there = str(device).partition(":")[0] in usable
        reason = str(error).splitlines()[0] if there else f"use {' or '.join(['auto', *usable])}"
        raise InvalidInput(f"device {shown(str(device))} cannot be used here: {reason}") from error
    return resolved


def _usable() -> list[str]:
    """The types of devices that this machine has."""
    others = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return ["cpu", *(name for name, there in others.items() if there)]


@contextlib.contextmanager
def left_in_place(model: object) -> Iterator[None]:
    """Afterwards moves a module back to its device. A module on several devices, or another object, is left alone."""
    module = model if isinstance(model, nn.Module) else nn.Module()
    devices = {tensor.device for tensor in (*module.parameters(), *module.buffers())}
    try:
        yield
    finally:
        if len(devices) == 1:
            module.to(devices.pop())


class TorchModel:
    """A PyTorch classifier that answers with labels.

    The model maps inputs (q, *shape) to logits (q, classes). Inputs are float32, cast to the type of the model's first
    floating-point parameter. For each call the model is in evaluation mode; afterwards each of its modules returns to
    its own mode. The weights move to `device` and never change.

    Args:
        model: The classifier.
        device: Where it runs; "auto" is CUDA if available.
        batch_size: Rows per forward pass; None probes once, on copies of the first input. The probe also tries images
            with channels last, which many processors convolve faster, and one thread, and keeps what is faster.
        threads: Most threads of a CPU; None for all that PyTorch has, or for what the probe finds.
        role: What errors call the model.
        mixed: Whether the factors of products are rounded to bfloat16, which is faster on processors that support it.
            Only for the attacker's own models: labels next to a boundary may change.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        device: str | torch.device = "auto",
        batch_size: int | None = None,
        threads: int | None = None,
        role: str = "a model",
        mixed: bool = False,
    ) -> None:
        if batch_size is not None:
            checks.at_least(1, batch_size=batch_size)
        self.device = resolve_device(device)
        self.role = role
        self._model = model.to(self.device)
        self._batch_size = batch_size
        self.threads = threads
        self._mixed = mixed
        self._channels_last = False
        self._judged = False  # Whether single outputs were seen to be no probabilities.
        self._probabilities = False  # Whether the model has answered with probabilities.
        self._writes: bool | None = None  # Whether the model writes into its inputs; None before the first question.
        self._probe_rows = 0

    @property
    def batch_size(self) -> int | None:
        """Rows per forward pass; None before the first question."""
        return self._batch_size

    @property
    def probe_rows(self) -> int:
        """Rows that the probe sent to the model: queries that belong to no sample."""
        return self._probe_rows

    @property
    def probabilities(self) -> bool:
        """Whether the model has answered with probabilities, of which logarithms were taken."""
        return self._probabilities

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """Classes of `inputs` (q, *shape), int64 (q,); see `LabelOracle`."""
        del ids
        return self._answers(inputs, lambda logits: logits.argmax(1))

    def probe(self, example: Tensor) -> int:
        """Finds and remembers the batch size for copies of `example` (1, *shape).

        Of the sizes about as fast as the fastest, a CPU takes the largest and a GPU, to save memory, the smallest.
        """
        if self._batch_size is None:
            with self._ready():
                # A copy: the model may write into it.
                probe = _Probe(self._forward, example[:1].to(self.device, copy=True))
                self._batch_size, self._channels_last = probe.best()
                if self.threads is None and probe.wins_alone(self._batch_size, channels_last=self._channels_last):
                    self.threads = 1
            self._probe_rows = probe.rows
        return self._batch_size

    def _answers(self, inputs: Tensor, read: Callable[[Tensor], Tensor]) -> Tensor:
        if not len(inputs):
            raise InvalidInput("inputs must hold at least one row, got none")
        size, answers = self.probe(inputs), []
        on_gpu = self.device.type == "cuda"
        if not on_gpu:
            size = evenly(len(inputs), size)
        with self._ready():
            for rows in torch.split(inputs, size):
                logits = self._safely(rows, lambda batch: filled(batch, size) if on_gpu else batch)
                answers.append(read(logits).to(inputs.device))
        return torch.cat(answers)

    def _safely(self, rows: Tensor, filled_up: Callable[[Tensor], Tensor]) -> Tensor:
        """Logits of a batch that starts with `rows`; the rows stay as they are, whatever the model does.

        The first batch is a copy, which shows whether the model writes into its inputs: then all later ones are copies.

        Raises:
            InvalidInput: A model that did not write into its first batch writes into this one.
        """
        batch = rows.to(self.device, copy=self._writes is not False)
        version = None if batch.is_inference() else batch._version
        outputs = self._forward(_laid_out(filled_up(batch), channels_last=self._channels_last))
        logits = self._read(outputs[: len(rows)])
        if self._writes is None:
            self._writes = not torch.equal(batch, rows.to(self.device))
        elif not self._writes and version is not None and batch._version != version:
            raise InvalidInput("a model must not write into some of its inputs only: copy them first (inputs.clone())")
        return logits

    def _read(self, outputs: Tensor) -> Tensor:
        """Logits (q, classes) of what the model answered.

        One output is the logit of class 1 against class 0. Rows that sum to 1 and lie in [0, 1] are probabilities: a
        second softmax would flatten them, so their logarithms are taken.

        Raises:
            InvalidInput: An output is NaN or infinite, or single outputs look like probabilities.
        """
        # Two figures of all answers, read at once: a card is waited for once, and a fast network loses little.
        total, lowest = torch.stack([outputs.sum(dtype=torch.float32), outputs.min().float()]).tolist()
        if not math.isfinite(total):  # Of finite answers too, where their sum overflows.
            self._refuse_infinite(outputs)
        if outputs.ndim == 1 or outputs.shape[1] == 1:
            logit = outputs.reshape(-1)
            if not self._judged and len(logit) >= FEWEST_JUDGED:
                self._judged = True  # Later questions may be about one sample's neighbourhood, where logits are alike.
                low, high = float(logit.min()), float(logit.max())
                if low >= 0 and high <= 1:
                    raise InvalidInput(
                        f"{self.role} answers with one number, which must be a logit (class 1 above 0), got numbers "
                        f"from {low:.3g} to {high:.3g}: are these probabilities? Leave the sigmoid out"
                    )
            return torch.stack([torch.zeros_like(logit), logit], 1)
        if lowest >= 0 and bool(((outputs.float().sum(1) - 1).abs() < SUM_SLACK).all()):
            self._probabilities = True
            return outputs.clamp_min(torch.finfo(outputs.dtype).tiny).log()
        return outputs

    def _refuse_infinite(self, outputs: Tensor) -> None:
        """Refuses answers that are NaN or infinite.

        Raises:
            InvalidInput: Some are.
        """
        bad = ~outputs.isfinite().reshape(len(outputs), -1).all(1)
        if bool(bad.any()):
            raise InvalidInput(
                f"{self.role} must answer with finite numbers, got NaN or infinity for {int(bad.sum())} of {len(bad)} "
                f"inputs (the first is row {int(bad.nonzero()[0])}): did its training diverge?"
            )

    @contextlib.contextmanager
    def _ready(self) -> Iterator[None]:
        mixed = torch.autocast(self.device.type, dtype=torch.bfloat16) if self._mixed else contextlib.nullcontext()
        fewer = self.threads is not None and self.threads < torch.get_num_threads()
        alone = threads(self.threads or 1) if fewer else contextlib.nullcontext()
        with evaluating(self._model), torch.inference_mode(), mixed, alone:
            yield

    def _forward(self, batch: Tensor) -> Tensor:
        """What the model answers for a batch; call it inside `_ready`."""
        if not getattr(self._model, "own_types", False):
            floats = (weight.dtype for weight in self._model.parameters() if weight.is_floating_point())
            batch = batch.to(next(floats, batch.dtype))
        logits = self._model(batch)
        if not (isinstance(logits, Tensor) and logits.ndim in (1, 2) and len(logits) == len(batch)):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise InvalidInput(f"{self.role} must map (q, *shape) to logits (q, classes), got {got} for q={len(batch)}")
        return logits


class TorchScores(TorchModel):
    """The same classifier, with confidence vectors for the score-based baselines."""

    def ask_scores(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """Log probabilities of `inputs` (q, *shape), float32 (q, classes); see `ScoreOracle`."""
        del ids
        return self._answers(inputs, lambda logits: logits.float().log_softmax(1))


class _Probe:
    """Finds the fastest batch size on copies of `example` (1, *shape).

    Attributes:
        rows: Rows sent so far.
    """

    def __init__(self, forward: Callable[[Tensor], Tensor], example: Tensor) -> None:
        self._forward, self._example = forward, example
        self.rows = 0

    def best(self) -> tuple[int, bool]:
        """Rows per batch, and whether to send images with channels last. The size is 1 if no size fits in memory."""
        most = max(1, VALUES_IN_MEMORY // max(1, self._example.numel()))
        rates: dict[int, float] = {}
        for size in [size for size in PROBED_SIZES if size <= most] or [most]:
            timing = self._timed(size, channels_last=False)
            if timing is None:
                break
            rates[size], slowest = timing
            tried = list(rates.values())
            if slowest > PROBE_SLOW or max(tried[:-PROBE_PATIENCE], default=0.0) >= max(tried[-PROBE_PATIENCE:]):
                break
        if not rates:
            return 1, False
        near = [size for size, rate in rates.items() if rate >= PROBE_NEAR * max(rates.values())]
        size = min(near) if self._example.is_cuda else max(near)  # GPU memory is small and shared.
        return size, self._example.ndim == 4 and self._wins(size, rates[size])

    def wins_alone(self, size: int, *, channels_last: bool) -> bool:
        """Whether one thread of a CPU answers batches of `size` rows about as fast as all threads."""
        if self._example.is_cuda or torch.get_num_threads() == 1:
            return False
        together = self._timed(size, channels_last=channels_last)
        with threads(1):
            alone = self._timed(size, channels_last=channels_last)
        return together is not None and alone is not None and THREADS_GAIN * alone[0] >= together[0]

    def _wins(self, size: int, rate: float) -> bool:
        try:
            timing = self._timed(size, channels_last=True)
        except RuntimeError:
            return False  # The network flattens with `view`, which needs channels first.
        return timing is not None and timing[0] >= LAYOUT_GAIN * rate

    def _timed(self, size: int, *, channels_last: bool) -> tuple[float, float] | None:
        """Rows per second in the median pass, and the seconds of the slowest pass; None if memory is too small."""
        seconds: list[float] = []
        try:
            copies = self._example.expand(size, *self._example.shape[1:]).contiguous()
            batch = _laid_out(copies, channels_last=channels_last)
            while len(seconds) < 3 or sum(seconds[1:]) < PROBE_SECONDS:
                self.rows += size  # Counted before sending, so that a failed pass counts too.
                start = time.perf_counter()
                self._forward(batch)
                if batch.is_cuda:
                    torch.cuda.synchronize(batch.device)
                seconds.append(time.perf_counter() - start)
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
            return None
        del seconds[0]  # The first pass warms up.
        return size / statistics.median(seconds), max(seconds)


def evenly(rows: int, most: int) -> int:
    """Rows per batch, at most `most`, for as few batches as possible of equal size: a short last batch is slow."""
    return -(-rows // -(-rows // most))


def filled(batch: Tensor, size: int) -> Tensor:
    """The batch (m, *shape), m from 1 to `size`, filled up with copies of its first row to one of SHAPES lengths.

    A search asks about many different numbers of rows, and cuDNN plans each convolution again for each new number. The
    plan takes 0.3 ms on an H200, as long as a thousand rows.
    """
    step = -(-size // SHAPES)
    missing = -len(batch) % step
    return torch.cat([batch, batch[:1].expand(missing, *batch.shape[1:])]) if missing else batch


def _laid_out(batch: Tensor, *, channels_last: bool) -> Tensor:
    return batch.contiguous(memory_format=torch.channels_last) if channels_last else batch


def _out_of_memory(error: RuntimeError | MemoryError) -> bool:
    # CUDA's allocator raises its own type; the CPU's allocator, cuBLAS and others only say it in the message.
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    message = str(error).lower()
    return any(words in message for words in ("out of memory", "allocate memory", "not enough memory", "alloc_failed"))
