"""Equal inputs in the data: each is counted once, none is in two groups, and the reader is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples
from hardlabel.data.split import content

MOST_SHARED = 0.1  # Where members and non-members share more than this, a mistake is likelier than chance.
SHOWN = 5  # Row numbers in a message.


@dataclass(frozen=True, kw_only=True, eq=False)
class Cleaned:
    """Samples without equal inputs, and what the reader must know.

    Attributes:
        groups: By name, the samples left, in the order given.
        notes: What was dropped, with row numbers counted from 0 in the data given.
    """

    groups: dict[str, Samples]
    notes: tuple[str, ...]


def without_repeats(groups: Mapping[str, Samples], *, strict: bool) -> Cleaned:
    """The groups without equal inputs.

    An input of members and non-members alike is dropped from both. Of equal inputs within a group the first is kept.
    A population loses what members or non-members have.

    Args:
        groups: Samples by name: "members" and "nonmembers" (both or neither), then any others.
        strict: Whether to refuse equal inputs instead of dropping them.

    Raises:
        InvalidInput: `strict` and two inputs are equal, or members and non-members share more than MOST_SHARED of a
            group.

    Example:
        >>> import torch
        >>> from hardlabel.audits.cases.repeats import without_repeats
        >>> from hardlabel.data.domain import BinaryFeatures
        >>> from hardlabel.data.samples import Samples
        >>> bits, two = torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.arange(2)
        >>> data = Samples(ids=two, inputs=bits, labels=two, domain=BinaryFeatures(2))
        >>> len(without_repeats({"data": data}, strict=False).groups["data"])
        1
    """
    contents = {name: content(samples.inputs) for name, samples in groups.items()}
    notes = []
    shared: set[bytes] = set()
    if "members" in groups:
        shared = set(contents["members"]) & set(contents["nonmembers"])
    if shared:
        notes.append(_told_shared(contents, shared, strict=strict))
    kept, taken = dict[str, Samples](), set[bytes]()
    for name, samples in groups.items():
        pair = name in ("members", "nonmembers")
        firsts: dict[bytes, int] = {}
        rows, repeats, others = list[int](), list[int](), list[int]()
        for row, values in enumerate(contents[name]):
            if values in shared and pair:
                continue
            if values in taken or values in shared:
                others.append(row)
            elif values in firsts:
                repeats.append(row)
            else:
                firsts[values] = row
                rows.append(row)
        if repeats:
            notes.append(_told_repeats(name, samples, contents[name], firsts, repeats, strict=strict))
        if others:
            notes.append(_told_others(name, others, strict=strict))
        taken |= firsts.keys()
        dropped = len(rows) < len(samples)
        kept[name] = samples.take(torch.tensor(rows, dtype=torch.int64)) if dropped else samples
    return Cleaned(groups=kept, notes=tuple(notes))


@dataclass(frozen=True, kw_only=True, eq=False)
class Counted:
    """Samples of a file, which may repeat inputs: groups keep every row, each input is attacked once.

    Attributes:
        contents: The fingerprint of each row; see `data.split.content`.
        firsts: The id of the first row of each input.
        notes: How many rows repeat an input.
    """

    contents: Sequence[bytes]
    firsts: Tensor
    notes: tuple[str, ...]

    def once(self, group: Samples) -> Samples:
        """The samples of a group without repeats. All rows of an input must be in the same group."""
        if len(self.firsts) == len(self.contents):
            return group
        return group.take(torch.isin(group.ids, self.firsts))


def counted(samples: Samples, *, strict: bool) -> Counted:
    """Finds the repeated inputs of samples that are to be split into groups.

    Raises:
        InvalidInput: `strict` and an input is repeated.
    """
    contents = content(samples.inputs)
    firsts: dict[bytes, int] = {}
    repeats = [row for row, values in enumerate(contents) if firsts.setdefault(values, row) != row]
    notes: tuple[str, ...] = ()
    if repeats:
        told = _told_repeats("data", samples, contents, firsts, repeats, strict=strict, dropped=False)
        notes = (told,)
    return Counted(contents=contents, firsts=samples.ids[torch.tensor(list(firsts.values()))], notes=notes)


def listed(rows: Sequence[int]) -> str:
    """The first row numbers, as a message has them: "rows 3, 4, 9"; "and more" where there are more than SHOWN."""
    shown = ", ".join(map(str, rows[:SHOWN]))
    return f"row{'s' if len(rows) > 1 else ''} {shown}{' and more' if len(rows) > SHOWN else ''}"


def _told_shared(contents: Mapping[str, list[bytes]], shared: set[bytes], *, strict: bool) -> str:
    rows = {name: [row for row, values in enumerate(contents[name]) if values in shared] for name in contents}
    inside, outside = rows["members"], rows["nonmembers"]
    where = f"members {listed(inside)}; nonmembers {listed(outside)}"
    if strict:
        raise InvalidInput(
            f"members and nonmembers must not share inputs where strict, got {len(shared)} in both ({where}): "
            "leave them out of both, or leave out strict to have them dropped"
        )
    for name, part in (("members", inside), ("nonmembers", outside)):
        if len(part) > MOST_SHARED * len(contents[name]):
            raise InvalidInput(
                f"members and nonmembers must not share inputs, got {len(shared)} in both, {len(part)} of "
                f"{len(contents[name])} {name} ({where}): at most {MOST_SHARED:.0%} of a group are dropped, more is "
                "likely a mistake; give non-members that the target was not trained on"
            )
    return f"Inputs that are members and non-members at once were dropped from both: {len(shared)} ({where})."


def _told_repeats(
    name: str,
    samples: Samples,
    contents: Sequence[bytes],
    firsts: Mapping[bytes, int],
    repeats: Sequence[int],
    *,
    strict: bool,
    dropped: bool = True,
) -> str:
    first = firsts[contents[repeats[0]]]
    if strict:
        raise InvalidInput(
            f"{name} must not repeat inputs where strict, got {len(repeats)} repeats "
            f"(the first is {name}[{repeats[0]}], equal to {name}[{first}]): drop them, or leave out strict"
        )
    labels = samples.labels.tolist()
    differ = [row for row in repeats if labels[row] != labels[firsts[contents[row]]]]
    conflict = f" The label of {len(differ)} differs from the label of the first ({listed(differ)})." if differ else ""
    which = f"{len(repeats)} of {len(samples)} ({listed(repeats)}).{conflict}"
    if dropped:
        return f"Inputs repeated within {name} were dropped, so that each input counts once: {which}"
    return f"Each input is attacked once; rows that repeat the input of an earlier row: {which}"


def _told_others(name: str, rows: Sequence[int], *, strict: bool) -> str:
    if strict:
        raise InvalidInput(
            f"{name} must not hold inputs of members or nonmembers where strict, got {len(rows)} "
            f"(the first is {name}[{rows[0]}]): drop them, or leave out strict"
        )
    return f"Inputs of {name} that are members or non-members were dropped: {len(rows)} ({listed(rows)})."
