"""The summary of a part: one small file of text, from which every published figure is computed.

It holds who was called a member, one bit for each sample, so that any two attacks on the same samples can be compared.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from hardlabel import reading
from hardlabel.checks import InvalidInput
from hardlabel.reading import Unreadable
from hardlabel.records.part import RecordPart
from hardlabel.reproduction.declared import Part
from hardlabel.store import write_whole

FORMAT = 1
MOST_BYTES = 10_000_000
Bools = NDArray[np.bool_]


class AttackSummary(RecordPart):
    """An attack on one target.

    Attributes:
        signal: What was measured, with the settings chosen on the shadow model.
        queries: Mean number of queries to the target per sample; None for what sees gradients.
        called: Whom the attack called members, one bit for each sample, as hexadecimal digits.
        auc: Area under the ROC curve; None if all samples are members, or none is.
        seconds: Time spent asking the target.
    """

    signal: str
    queries: float | None
    called: str
    auc: float | None
    seconds: float


class PlaySummary(RecordPart):
    """The attacks on the same samples.

    Attributes:
        mask: The defense of answers that the target wore; "" for none.
        samples: Number of samples, members and non-members together.
        content: Fingerprint of the samples, their order and who is a member.
        members: Who is a member, one bit for each sample.
        right: Which samples the target labels correctly.
        attacks: By name, under a mask with its name.
        left_out: Attacks that could not be run, with the reason.
    """

    mask: str = ""
    samples: int
    content: str
    members: str
    right: str
    attacks: dict[str, AttackSummary]
    left_out: dict[str, str] = Field(default_factory=dict)

    def contradictions(self) -> Iterable[str]:
        if self.samples < 1:
            yield f"samples must be at least 1, got {self.samples}"
        digits = -(-self.samples // 8) * 2
        for name, bits in [("members", self.members), ("right", self.right)]:
            if len(bits) != digits:
                yield f"{name} must have a bit for each of {self.samples} samples"
        for name, attack in self.attacks.items():
            if len(attack.called) != digits:
                yield f"attack {name} must have a bit for each of {self.samples} samples"


class PartSummary(RecordPart):
    """The summary of one target of one cell.

    Attributes:
        experiment, cell, target: Which part.
        declared: Fingerprint of the cell's declaration. A part of another declaration counts as not run.
        description: How the target was trained, in words.
        train_accuracy, test_accuracy: Shares of right labels on the training samples and on the other group.
        shadow_train_accuracy, shadow_test_accuracy: The same of the shadow model; None without one.
        train_size, shadow_size: Training samples of both.
        epsilon: The privacy that the training promises; None without a promise.
        plays: The attacks.
        notes: What a reader must know about the data and the training.
        seconds: Time of the whole part. What the store already had took none.
        device: Where models ran.
        machine, versions: The machine, and the versions of Python and packages.
    """

    format: int = FORMAT
    experiment: str
    cell: str
    target: int
    declared: str
    description: str
    train_accuracy: float
    test_accuracy: float
    shadow_train_accuracy: float | None
    shadow_test_accuracy: float | None
    train_size: int
    shadow_size: int
    epsilon: float | None = None
    plays: list[PlaySummary]
    notes: list[str]
    seconds: float
    device: str
    machine: str
    versions: dict[str, str]


def declared(part: Part) -> str:
    """The fingerprint of a part's cell."""
    text = json.dumps(part.cell.identity(), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def packed(marks: Bools) -> str:
    """One bit for each mark, as hexadecimal digits."""
    return np.packbits(marks).tobytes().hex()


def unpacked(digits: str, count: int) -> Bools:
    """The first `count` marks of `packed`, bool (count,)."""
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(digits), dtype=np.uint8))[:count]
    return bits.astype(bool)


def save(summary: PartSummary, file: Path) -> None:
    """Writes the summary; makes missing folders.

    Raises:
        InvalidInput: The file cannot be written.
    """
    text = json.dumps(summary.model_dump(mode="json"), indent=1) + "\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, text.encode())
    except OSError as error:
        raise InvalidInput(f"out must be a folder that can be written to, got {str(file.parent)!r}: {error}") from error


def kept(part: Part, folder: Path) -> PartSummary | None:
    """The summary of a part; None if it was not run, or its cell was declared otherwise then.

    Raises:
        InvalidInput: The file is damaged.
    """
    file = folder / part.file
    if not file.exists():
        return None
    try:
        summary = PartSummary.model_validate_json(reading.content(file, most=MOST_BYTES))
        wrong = [words for play in summary.plays for words in play.contradictions()]
    except (Unreadable, ValidationError, ValueError) as error:
        raise InvalidInput(f"summary {part.file} cannot be read: {error}") from error
    if wrong:
        raise InvalidInput(f"summary {part.file} contradicts itself: {wrong[0]}")
    return summary if summary.format == FORMAT and summary.declared == declared(part) else None


def summaries_of(parts: Sequence[Part], folder: Path) -> dict[str, list[PartSummary]]:
    """The summaries that a folder holds, by cell as EXPERIMENT/CELL, in the order of the targets."""
    found: dict[str, list[PartSummary]] = {}
    for part in sorted(parts, key=lambda part: part.target):
        summary = kept(part, folder)
        if summary is not None:
            found.setdefault(f"{part.experiment}/{part.cell.name}", []).append(summary)
    return found
