"""Sequences of token ids, whose words may be replaced by other words and whose special tokens stay."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import LARGEST_WHOLE, NoiseLevel, check_form
from hardlabel.data.steps import EmbeddedSlope, Steps

FLIPS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8)  # Shares of words that noise replaces.
SLOPES_IN_MEMORY = 2**23  # Float64 values: gains of so many (row, position, id) are computed at once.


@dataclass(frozen=True, kw_only=True)
class Alternation:
    """Texts as separator, word, separator, ..., separator: two words never touch.

    Attributes:
        first_word: Ids from here on are words; they stand at odd positions. Lower ids are separators.
        blank: The separator without characters: only the first and the last separator may be blank.
    """

    first_word: int
    blank: int


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Tokens:
    """Sequences (n, length) of ids from 0 to `vocabulary` - 1, held as float32 whole numbers.

    Noise replaces each id, except padding and kept ids, with probability `flip` by another id of `substitutes`. The
    number of ids never changes. The distance is Hamming's: the number of positions that differ.

    Two domains are equal if all fields are; their text holds a digest of the fields in place of long lists.

    Attributes:
        length: Positions of a sequence, padding included; 1 or more.
        vocabulary: Number of ids, from 1 to 2**24.
        padding: The id that fills up shorter sequences; None if there is none.
        padding_first: Whether padding stands before the other ids; else after them.
        kept: Ids that are never replaced and never put in: special tokens, separators.
        substitutes: Ids that may be put in; empty for all ids except padding and kept ids.
        counts: How often each substitute occurs: noise draws frequent ids more often. Empty for equal chances.
        alternation: Set for texts only.
        meaning: Distinguishes vocabularies whose ids stand for different words; "" where only ids are known.

    Raises:
        InvalidInput: A field breaks a rule.

    Example:
        >>> import hardlabel
        >>> hardlabel.Tokens(length=16, vocabulary=1000, padding=0, kept=(1, 2)).shape
        (16,)
    """

    length: int
    vocabulary: int
    padding: int | None = None
    padding_first: bool = False
    kept: tuple[int, ...] = ()
    substitutes: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()
    alternation: Alternation | None = None
    meaning: str = ""
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        checks.whole_number(1, length=self.length, vocabulary=self.vocabulary)
        if self.vocabulary > LARGEST_WHOLE:
            raise InvalidInput(f"vocabulary must be at most 2**24, got {self.vocabulary}")
        if self.padding is not None:
            self._ids((self.padding,), "padding")
        kept = np.unique(self._ids(self.kept, "kept"))
        special = kept if self.padding is None else np.append(kept, self.padding)
        substitutes = self._ids(self.substitutes, "substitutes")
        if not len(substitutes):
            if self.counts:
                raise InvalidInput("counts must be empty without substitutes")
            substitutes = np.setdiff1d(np.arange(self.vocabulary), special)
        counts = np.asarray(self.counts or np.ones(len(substitutes)), dtype=np.int64)
        if len(counts) != len(substitutes) or (len(counts) and int(counts.min()) < 1):
            raise InvalidInput(
                f"counts must be one number of 1 or more per substitute, got {len(counts)} counts for "
                f"{len(substitutes)} substitutes"
            )
        if not len(substitutes):
            raise InvalidInput("substitutes must be at least one id, got none: every id is kept or padding")
        if len(np.unique(substitutes)) < len(substitutes) or len(np.intersect1d(substitutes, special)):
            raise InvalidInput("substitutes must be distinct ids that are neither padding nor kept")
        order = substitutes.argsort()
        object.__setattr__(self, "kept", tuple(kept.tolist()))
        object.__setattr__(self, "substitutes", tuple(substitutes[order].tolist()))
        object.__setattr__(self, "counts", tuple(counts[order].tolist()))
        facts = (self.length, self.vocabulary, self.padding, self.padding_first, self.alternation, self.meaning)
        content = hashlib.sha256(repr(facts).encode())
        for values in (kept, substitutes[order], counts[order]):
            content.update(f"{len(values)};".encode() + values.astype("<i8").tobytes())
        object.__setattr__(self, "digest", content.hexdigest())

    @classmethod
    def of(
        cls,
        ids: ArrayLike | Tensor,
        *,
        padding: int | None = None,
        kept: Collection[int] = (),
        vocabulary: int | None = None,
    ) -> "Tokens":
        """The domain of sequences like `ids` (n, t): its substitutes are the ids that occur, with their counts.

        Give the ids of all groups together: an id that does not occur in them is legal, but is never put in.

        Args:
            ids: Whole numbers (n, t), 0 or more.
            padding: The id that fills up shorter sequences, None if there is none. The ids show on which side it
                stands.
            kept: Ids of special tokens, such as those for start, end and mask.
            vocabulary: Number of ids of the tokenizer; None for the largest id plus 1.

        Raises:
            InvalidInput: `ids` are not whole numbers (n, t); padding stands between other ids; nothing can be replaced.

        Example:
            >>> from hardlabel import Tokens
            >>> Tokens.of([[1, 5, 7, 0], [1, 6, 0, 0]], padding=0, kept=[1]).substitutes
            (5, 6, 7)
        """
        rows = ids.detach().cpu().numpy() if isinstance(ids, Tensor) else np.asarray(ids)
        if rows.ndim != 2 or rows.dtype.kind not in "iu" or not rows.size or int(rows.min()) < 0:
            raise InvalidInput(f"ids must be whole numbers (n, t), 0 or more, got {rows.dtype} {rows.shape}")
        values, counts = np.unique(rows, return_counts=True)
        special = np.asarray([*kept, *(() if padding is None else (padding,))], dtype=np.int64)
        free = ~np.isin(values, special)
        if not free.any():
            raise InvalidInput("ids must hold some that are neither padding nor kept, got none")
        first = padding is not None and bool((rows[:, 0] == padding).any()) and not bool((rows[:, -1] == padding).any())
        domain = cls(
            length=rows.shape[1],
            vocabulary=max(int(values[-1]), *special.tolist(), 0) + 1 if vocabulary is None else vocabulary,
            padding=padding,
            padding_first=first,
            kept=tuple(kept),
            substitutes=tuple(values[free].tolist()),
            counts=tuple(counts[free].tolist()),
        )
        domain.check(torch.from_numpy(rows.astype(np.float32)), "ids")
        return domain

    def __repr__(self) -> str:
        return (
            f"Tokens(length={self.length}, vocabulary={self.vocabulary}, padding={self.padding}, "
            f"kept={len(self.kept)} ids, substitutes={len(self.substitutes)} ids, digest={self.digest[:16]})"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokens) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def kind(self) -> str:
        return "tokens"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length,)

    @property
    def continuous(self) -> bool:
        return False

    @property
    def noise_levels(self) -> tuple[NoiseLevel, ...]:
        return tuple(NoiseLevel(flip=flip) for flip in FLIPS)

    @property
    def most_steps(self) -> int:
        """One step per position; a second one would undo the first."""
        return self.length

    def check(self, inputs: Tensor, name: str = "inputs") -> None:
        check_form(inputs, self.shape, name)
        wrong = (inputs < 0) | (inputs >= self.vocabulary) | (inputs != inputs.round())
        if bool(wrong.any()):
            raise InvalidInput(
                f"{name} must be ids, whole numbers from 0 to {self.vocabulary - 1}, got "
                f"{float(inputs[wrong][0]):g} in row {_row(wrong)}; pass vocabulary= if there are more ids"
            )
        if self.padding is not None:
            filled = inputs == self.padding
            between = filled[:, :-1] & ~filled[:, 1:] if not self.padding_first else ~filled[:, :-1] & filled[:, 1:]
            if bool(between.any()):
                side = "before" if self.padding_first else "after"
                raise InvalidInput(
                    f"{name} must have padding {self.padding} {side} all other ids, got it between them in row "
                    f"{_row(between)}; list an id that also stands elsewhere under kept= and leave padding=None"
                )
        if self.alternation is not None:
            self._check_alternation(inputs, self.alternation, name)

    def clip(self, inputs: Tensor, *, out: Tensor | None = None) -> Tensor:
        raise InvalidInput("a domain of tokens has no points between two ids to clip to")

    def noise_source(self, draws: int, generator: torch.Generator) -> Tensor:
        """Per copy: one uniform per position for whether its id is replaced, then one for which id comes."""
        return torch.rand(draws, 2 * self.length, generator=generator)

    def noisy(self, inputs: Tensor, source: Tensor, level: NoiseLevel) -> Tensor:
        """Legal noisy copies (n, draws, length) of `inputs` (n, length).

        Each id that is not kept is, with probability `flip`, replaced by another one: `flip` is the probability of a
        change. The new id is drawn by the counts of the substitutes.
        """
        lookup = _lookup(self, inputs.device)
        source = source.to(inputs.device)
        copies = inputs[:, None].repeat(1, len(source), 1)
        replaced = (source[:, : self.length] < level.flip) & lookup.replaceable[inputs.long()][:, None]
        row, draw, position = replaced.nonzero(as_tuple=True)
        ids = inputs[row, position].long()
        place = lookup.place[ids]
        known = place >= 0
        weight = torch.where(known, lookup.weights[place], 0.0)
        # Without the id that stands there: the draws beyond it move up by its weight.
        drawn = source[draw, self.length + position].double() * (lookup.edges[-1] - weight)
        drawn += torch.where(known & (drawn >= lookup.edges[place.clamp_min(0)]), weight, 0.0)
        chosen = torch.searchsorted(lookup.edges[1:], drawn, right=True).clamp_max(len(lookup.weights) - 1)
        copies[row, draw, position] = lookup.substitutes[chosen].to(inputs.dtype)
        return copies

    def random(self, count: int, generator: torch.Generator) -> Tensor:
        """Sequences (count, length) of substitutes drawn with equal chances.

        With padding the number of ids is drawn too. In texts, separators stand between the words.
        """
        substitutes = torch.tensor(self.substitutes)
        rows = substitutes[torch.randint(len(substitutes), (count, self.length), generator=generator)]
        lengths = torch.full((count, 1), self.length)
        if self.padding is not None:
            lengths = torch.randint(1, self.length + 1, (count, 1), generator=generator)
        position = torch.arange(self.length)
        if self.alternation is not None:
            alternation, separators = self.alternation, self._separators
            if not separators:
                lengths.clamp_(max=3)  # One word at most: nothing could stand between two.
            lengths -= 1 - lengths % 2
            between = torch.tensor(separators or (alternation.blank,))
            between = between[torch.randint(len(between), rows.shape, generator=generator)]
            edge = (position == 0) | (position == lengths - 1)
            bare = torch.rand(rows.shape, generator=generator) < 0.5
            between = torch.where(edge & bare, alternation.blank, between)
            rows = torch.where(position % 2 == 0, between, rows)
        if self.padding is not None:
            beyond = position < self.length - lengths if self.padding_first else position >= lengths
            rows = rows.masked_fill(beyond, self.padding)
        return rows.to(torch.float32)

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        return (first != second).flatten(1).sum(1).to(torch.float32)

    def steepest(self, inputs: Tensor, slope: EmbeddedSlope, most: int) -> Steps:
        """The first `most` steps of `inputs` (n, length): each puts in the id that gains most among all that are left.

        Greatest gain first; only gains above 0 count. A position changes once. An id is put in once, unless there are
        fewer substitutes than steps: a model may not know the best id, and a walk with this id alone would lead
        nowhere.
        """
        lookup = _lookup(self, inputs.device)
        ids, table = inputs.long(), slope.table.double()
        row, position = lookup.replaceable[ids].nonzero(as_tuple=True)  # In long texts, few of all cells.
        field = slope.field[row, position]
        width = min(most, len(lookup.substitutes))
        best, words = field.new_empty(len(row), 0), row.new_empty(len(row), 0)
        block = max(1, SLOPES_IN_MEMORY // max(1, len(row)))
        for start in range(0, len(lookup.substitutes), block):
            candidates = lookup.substitutes[start : start + block]
            best = torch.cat([best, field @ table[candidates].T], 1)
            words = torch.cat([words, candidates.expand(len(row), -1)], 1)
            best, order = best.topk(min(width, best.shape[1]), dim=1)
            words = words.gather(1, order)
        gains = slope.field.new_full((*inputs.shape, width), -torch.inf)
        put_in = ids.new_zeros(gains.shape)
        gains[row, position] = best - (field * table[ids[row, position]]).sum(1, keepdim=True)
        put_in[row, position] = words
        every, once = torch.arange(len(inputs), device=inputs.device), len(lookup.substitutes) >= most
        columns, values, rates = [], [], []
        for _ in range(most):
            rate, place = gains.flatten(1).max(1)
            column, word = place // width, put_in.flatten(1)[every, place]
            gains[every, column] = -torch.inf
            if once:
                gains.masked_fill_(put_in == word[:, None, None], -torch.inf)
            columns.append(column)
            values.append(word.to(inputs.dtype))
            rates.append(rate)
        cells = torch.stack(columns, 1)[..., None].expand(-1, -1, 2)
        written = torch.stack(values, 1)[..., None].expand(-1, -1, 2)
        return Steps(cells, written, (torch.stack(rates, 1) > 0).sum(1))

    @property
    def _separators(self) -> Sequence[int]:
        """Separators with characters."""
        assert self.alternation is not None
        special = {self.alternation.blank, self.padding}
        return [one for one in self.kept if one < self.alternation.first_word and one not in special]

    def _check_alternation(self, inputs: Tensor, alternation: Alternation, name: str) -> None:
        position = torch.arange(self.length, device=inputs.device)
        used = torch.ones_like(inputs, dtype=torch.bool) if self.padding is None else inputs != self.padding
        lengths = used.sum(1, keepdim=True)
        words = inputs >= alternation.first_word
        inner = (position > 0) & (position < lengths - 1)
        wrong = used & ((words != (position % 2 == 1)) | (inner & (inputs == alternation.blank)))
        wrong |= lengths % 2 == 0
        if bool(wrong.any()):
            raise InvalidInput(
                f"{name} must be separator, word, ..., separator, only the outer separators blank, got another order "
                f"in row {_row(wrong)}"
            )

    def _ids(self, ids: Collection[int], name: str) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        try:
            values = np.asarray(ids).reshape(-1)
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"{name} must be whole numbers, got {type(ids).__name__}") from error
        if not len(values):
            return np.empty(0, dtype=np.int64)
        if values.dtype.kind not in "iu":
            raise InvalidInput(f"{name} must be whole numbers, got {values[0]!r}")
        outside = (values < 0) | (values >= self.vocabulary)
        if outside.any():
            raise InvalidInput(
                f"{name} must be ids from 0 to vocabulary - 1 = {self.vocabulary - 1}, got {int(values[outside][0])}"
            )
        return values.astype(np.int64)


class _Lookup(NamedTuple):
    """What a domain says of each id, on one device.

    Attributes:
        replaceable: Whether an id may be replaced, (vocabulary,) bool.
        place: The place of an id among the substitutes, -1 for others, (vocabulary,) int64.
        substitutes: Ids (s,), int64.
        weights: Their counts (s,), float64.
        edges: The counts before each and the sum of all, (s + 1,) float64.
    """

    replaceable: Tensor
    place: Tensor
    substitutes: Tensor
    weights: Tensor
    edges: Tensor


@lru_cache(maxsize=8)
def _lookup(domain: Tokens, device: torch.device) -> _Lookup:
    substitutes = torch.tensor(domain.substitutes)
    weights = torch.tensor(domain.counts, dtype=torch.float64)
    place = torch.full((domain.vocabulary,), -1)
    place[substitutes] = torch.arange(len(substitutes))
    replaceable = torch.ones(domain.vocabulary, dtype=torch.bool)
    replaceable[list(domain.kept)] = False
    if domain.padding is not None:
        replaceable[domain.padding] = False
    if len(substitutes) == 1:
        replaceable[substitutes] = False  # No other id could come in its place.
    edges = torch.cat([torch.zeros(1, dtype=torch.float64), weights.cumsum(0)])
    return _Lookup(*(part.to(device) for part in (replaceable, place, substitutes, weights, edges)))


def _row(wrong: Tensor) -> int:
    return int(wrong.any(1).nonzero()[0])
