"""Which records two audits of a model both asked about, recognised by their pseudonyms."""

from typing import Any

import numpy as np
import pandas as pd

from hardlabel.metrics.changes import Scored
from hardlabel.records.model import AuditRecord

INDEPENDENT = "The changes are between independent samples."


class Pairs:
    """Which samples of two audits are the same.

    Attributes:
        words: What was compared with what, in a sentence.
        same: Samples that both asked about with the same membership; None if they cannot be recognised.
        of_each: Number of samples of either.
        any: Whether any sample is in both, with whatever membership.
    """

    def __init__(self, frames: tuple[pd.DataFrame, pd.DataFrame], keys: tuple[Any, Any] | None, why: str) -> None:
        self._frames = frames
        self.of_each = _people(frames[0]), _people(frames[1])
        self._numbers: list[pd.Series] = []
        if keys is None:
            self.same, self.any, self.words = (
                None,
                False,
                f"Not paired: {why}. The changes are between independent samples.",
            )
            return
        every = {key: number for number, key in enumerate(dict.fromkeys([*keys[0], *keys[1]]))}
        self._numbers = [pd.Series([every[key] for key in own], index=own.index) for own in keys]
        members = [
            dict(zip(numbers, frame.drop_duplicates("id").set_index("id")["member"].loc[numbers.index], strict=True))
            for numbers, frame in zip(self._numbers, frames, strict=True)
        ]
        shared = members[0].keys() & members[1].keys()
        self.any = bool(shared)
        self.same = sum(members[0][number] == members[1][number] for number in shared)
        turned = len(shared) - self.same
        if not shared:
            self.words = (
                "Not paired: no record is in both runs (other records, or pseudonyms by another secret). The changes "
                "are between independent samples."
            )
        elif self.same == len(members[0]) == len(members[1]):
            self.words = f"Paired: both runs asked about the same {self.same:,} records, with the same membership."
        else:
            self.words = (
                f"Partly paired: {self.same:,} records are in both runs, of {self.of_each[0]:,} and {self.of_each[1]:,}"
                + (f"; {turned:,} more are members in one run only" if turned else "")
                + ". The intervals count this."
            )

    @classmethod
    def of(cls, first: AuditRecord, second: AuditRecord) -> "Pairs":
        frames = first.scores, second.scores
        if not (len(frames[0]) and len(frames[1])):
            return cls(frames, None, "a run has no scores")
        people = [frame.drop_duplicates("id").set_index("id").sort_index() for frame in frames]
        if all("pseudonym" in frame for frame in frames):
            return cls(frames, (_keys(people[0]), _keys(people[1])), "")
        if any("pseudonym" in frame for frame in frames):
            return cls(frames, None, "a run has no pseudonyms")
        alike = all(people[0][name].equals(people[1][name]) for name in ("member", "label"))
        seeds = [record.results.environment.seed for record in (first, second)]
        alike &= seeds[0] == seeds[1] and first.results.data == second.results.data
        if alike and people[0]["label"].nunique() > 1:
            own = people[0].index.to_series()
            return cls(frames, (own, own), "")
        return cls(frames, None, "the runs have no pseudonyms, and their records do not agree")

    def scored(self, which: int, attack: str) -> Scored | None:
        """The scores of an attack in one of the two runs, in the order of the numbers of their samples."""
        if not self._numbers:
            return None
        frame = self._frames[which]
        rows = frame[frame["attack"] == attack]
        if rows.empty or rows["score"].isna().any():
            return None
        records = self._numbers[which].loc[rows["id"]].to_numpy(dtype=np.int64)
        order = np.argsort(records)
        return Scored(
            scores=rows["score"].to_numpy(dtype=np.float64)[order],
            member=rows["member"].to_numpy(dtype=bool)[order],
            records=records[order],
        )


def _people(frame: pd.DataFrame) -> int:
    return int(frame["id"].nunique()) if len(frame) else 0


def _keys(people: pd.DataFrame) -> "pd.Series[Any]":
    """What names each sample: its pseudonym, and which of the samples with this pseudonym it is."""
    ordered = people.sort_values(["pseudonym", "member"], kind="stable")
    place = ordered.groupby("pseudonym").cumcount()
    keys = pd.Series(list(zip(ordered["pseudonym"], place, strict=True)), index=ordered.index)
    return keys.loc[people.index]
