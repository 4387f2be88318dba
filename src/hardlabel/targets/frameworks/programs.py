"""TorchScript modules and programs of torch.export as torch modules that other processes can be sent."""

import hashlib
import io
from typing import Any

import torch
from torch import Tensor, nn

from hardlabel.checks import InvalidInput
from hardlabel.targets.frameworks.base import OWN_CODE, forwarding, in_batches, logits_of

_TRAINING = {"dropout.default": 2, "batch_norm.default": 5, "native_dropout.default": 2}  # Position of the flag.


class Scripted(nn.Module):
    """A TorchScript module that can be pickled; its modes, weights and structure are the script's.

    Args:
        script: Maps inputs (q, *shape) to logits (q, classes), or to a mapping with `logits`.
        role: What errors call it.
    """

    def __init__(self, script: torch.jit.ScriptModule, *, role: str = "target") -> None:
        super().__init__()
        self.script, self.role = script, role
        for module in script.modules():
            if not hasattr(module, "training"):  # A frozen script has no mode.
                module.training = False
        self.training = script.training

    def __repr__(self) -> str:
        return repr(self.script)

    def state_dict(self, *args: Any, **options: Any) -> Any:
        """The script's own weights, under its own names."""
        return self.script.state_dict(*args, **options)

    def forward(self, inputs: Tensor) -> Tensor:
        with forwarding(inputs, self.role):
            return logits_of(self.script(inputs), self.role)

    def __reduce__(self) -> Any:
        archive = io.BytesIO()
        torch.jit.save(self.script, archive)
        return _scripted, (archive.getvalue(), self.role)


class Exported(nn.Module):
    """A program of torch.export that can be asked in batches of any size, and pickled.

    A program without a free batch dimension gets batches of its own size: short ones are filled up with copies of
    their last row. The mode is part of the program: `train` and `eval` change nothing.

    Args:
        program: Maps one tensor (q, *shape) to logits (q, classes), or to a mapping with `logits`.
        role: What errors call it.

    Raises:
        InvalidInput: It has several inputs, or was exported in training mode, in which its answers are random.
    """

    def __init__(self, program: torch.export.ExportedProgram, *, role: str = "target") -> None:
        super().__init__()
        self.role = role
        self._program = program
        graph = program.graph_module.graph
        named = set(program.graph_signature.user_inputs)
        examples = [node.meta.get("val") for node in graph.nodes if node.op == "placeholder" and node.name in named]
        if len(examples) != 1 or not isinstance(examples[0], Tensor):
            raise InvalidInput(
                f"{role} must take one tensor, got a program of {len(examples)} inputs: call it in a function of your "
                f"own, {OWN_CODE}"
            )
        if any(_trains(node) for node in graph.nodes):
            raise InvalidInput(
                f"{role} was exported in training mode, in which its answers are random: call model.eval() before "
                "torch.export.export"
            )
        self._dtype, (batch, *self._shape) = examples[0].dtype, examples[0].shape
        self._least, self._most = _bounds(batch, program)
        self._digest = hashlib.sha256(str(graph).encode()).hexdigest()[:16]
        self.network = program.module()

    def extra_repr(self) -> str:
        return f"graph={self._digest}"

    def train(self, mode: bool = True) -> "Exported":
        """Notes the mode; the program stays in the mode in which it was exported."""
        self.training = mode
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        wanted = [size for size in self._shape if isinstance(size, int)]
        if len(wanted) == len(self._shape) and list(inputs.shape[1:]) != wanted:
            raise InvalidInput(f"{self.role} wants inputs (q, {_sizes(wanted)}), got {tuple(inputs.shape)}")

        def answer(batch: Tensor) -> Tensor:
            # Contiguous: the program checks the strides that it was exported with.
            return logits_of(self.network(batch.to(self._dtype).contiguous()), self.role)

        with forwarding(inputs, self.role):
            return in_batches(inputs, answer, least=self._least, most=self._most)

    def __reduce__(self) -> Any:
        archive = io.BytesIO()
        torch.export.save(self._program, archive)
        return _exported, (archive.getvalue(), self.role)


def is_script(model: object) -> bool:
    """Whether this is a TorchScript module."""
    return isinstance(model, torch.jit.ScriptModule)


def is_program(model: object) -> bool:
    """Whether this is a program of torch.export."""
    return any(
        kind.__name__ == "ExportedProgram" and kind.__module__.startswith("torch") for kind in type(model).__mro__
    )


def plain_script(model: Any, role: str) -> nn.Module:
    """The script as a module that can be pickled; it maps inputs (q, *shape) to logits (q, classes).

    Example:
        >>> import torch
        >>> from hardlabel.targets.frameworks.programs import plain_script
        >>> script = torch.jit.trace(torch.nn.Linear(4, 2), torch.zeros(1, 4))
        >>> plain_script(script, "target")(torch.zeros(3, 4)).shape
        torch.Size([3, 2])
    """
    return Scripted(model, role=role)


def plain_program(model: Any, role: str) -> nn.Module:
    """The program as a module that maps inputs (q, *shape) to logits (q, classes); see `Exported`.

    Raises:
        InvalidInput: The program has several inputs, or was exported in training mode.

    Example:
        >>> import torch
        >>> from hardlabel.targets.frameworks.programs import plain_program
        >>> program = torch.export.export(torch.nn.Linear(4, 2).eval(), (torch.zeros(2, 4),))
        >>> plain_program(program, "target")(torch.zeros(3, 4)).shape  # In batches of 2, as it was exported.
        torch.Size([3, 2])
    """
    return Exported(model, role=role)


def _scripted(archive: bytes, role: str) -> Scripted:
    return Scripted(torch.jit.load(io.BytesIO(archive)), role=role)  # type: ignore[no-untyped-call]


def _exported(archive: bytes, role: str) -> Exported:
    return Exported(torch.export.load(io.BytesIO(archive)), role=role)


def _trains(node: Any) -> bool:
    place = _TRAINING.get(str(node.target).removeprefix("aten."))
    return place is not None and len(node.args) > place and node.args[place] is True


def _bounds(batch: Any, program: Any) -> tuple[int, int | None]:
    """The fewest and the most rows of a batch; None for any number."""
    if isinstance(batch, int):
        return batch, batch
    limits = program.range_constraints.get(batch.node.expr)
    least, most = (1, 2**31) if limits is None else (limits.lower, limits.upper)
    try:
        return max(1, int(least)), int(most) if int(most) < 2**31 else None
    except (OverflowError, TypeError, ValueError):  # Infinity.
        return max(1, int(least)), None


def _sizes(sizes: list[int]) -> str:
    return ", ".join(map(str, sizes))
