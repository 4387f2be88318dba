"""Texts as the caller has them, split without loss into words and what stands between them."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.data import limits
from hardlabel.data.tokens import Alternation, Tokens

Texts: TypeAlias = "Sequence[str] | NDArray[np.object_] | NDArray[np.str_] | pd.Series[Any]"

LIST, ARRAY, WIDE, SERIES = "list", "array", "text array", "series"
LONGEST = 4001  # Pieces of a text: 2,000 words.
POPULATION = "population"  # The group whose words may replace others.
PADDING, BLANK, FIRST_SEPARATOR = 0, 1, 2
_WORD = re.compile(r"(\w+)")  # Letters and digits of any alphabet, and underscores.
_SHOWN = 40  # Most characters of a piece that an error shows.


@dataclass(frozen=True, kw_only=True)
class TextCodec:
    """Texts and points of `Tokens`; see `Codec`.

    A text is split into separator, word, separator, ..., separator. The first and the last separator may be empty, so
    that the pieces together are the text, to the last character. Only words are ever replaced, and by words only: two
    words never merge, and every legal point is the encoding of the text that it decodes to.

    Attributes:
        domain: Which sequences of pieces are legal, and which words may be put in.
        pieces: The piece of each id: padding, the empty separator, separators, words.
        container: "list", "array" (NumPy, objects), "text array" (NumPy, text) or "series" (pandas).
        dtype: Type of a series.
        title: Name of a series.

    Example:
        >>> from hardlabel.data.codecs.texts import TextCodec
        >>> codec = TextCodec.fit({"members": ["Call me!", "ok"], "nonmembers": ["", "me too :-)"]})
        >>> codec.decode(codec.encode(["too ok!", ""]))
        ['too ok!', '']
    """

    domain: Tokens
    pieces: tuple[str, ...]
    container: str = LIST
    dtype: str = "object"
    title: Hashable = None

    @classmethod
    def fit(cls, groups: Mapping[str, Texts], *, longest: int = LONGEST) -> "TextCodec":
        """The codec of the texts of all groups.

        Words of the group "population" may replace others, the more often they occur there the likelier; where there
        is no such group, or it holds fewer than two different words, those of all groups. Decoded texts have the
        container of the first group.

        Args:
            groups: Texts by the name of the group.
            longest: Most pieces of a text; every encoded text takes as much memory as the longest one.

        Raises:
            InvalidInput: No texts or no word; a value that is no text; a text of more than `longest` pieces.
        """
        checks.whole_number(1, longest=longest)
        counts = {name: _counted(_listed(texts, name), name, longest) for name, texts in groups.items()}
        words, separators = Counter[str](), set[str]()
        for group_words, group_separators, _ in counts.values():
            words += group_words
            separators |= group_separators
        if not words:
            raise InvalidInput("texts must hold at least one word, got none")
        replacing = counts[POPULATION][0] if POPULATION in counts else words
        if len(replacing) == 1 or not replacing:
            replacing = words  # A single word would replace all others, and itself never be replaced.
        pieces = ("", "", *sorted(separators), *sorted(words))
        first_word = FIRST_SEPARATOR + len(separators)
        place = {word: first_word + number for number, word in enumerate(pieces[first_word:])}
        domain = Tokens(
            length=max(most for _, _, most in counts.values()),
            vocabulary=len(pieces),
            padding=PADDING,
            kept=tuple(range(BLANK, first_word)),
            substitutes=tuple(place[word] for word in replacing),
            counts=tuple(replacing.values()),
            alternation=Alternation(first_word=first_word, blank=BLANK),
            meaning=hashlib.sha256(json.dumps(pieces).encode()).hexdigest(),
        )
        container, dtype, title = _form(next(iter(groups.values())))
        return cls(domain=domain, pieces=pieces, container=container, dtype=dtype, title=title)

    @property
    def summary(self) -> str:
        return f"texts of up to {self.domain.length // 2} words"

    def encode(self, given: Texts, name: str = "inputs") -> Tensor:
        """Points (n, length), float32, of n texts.

        Raises:
            InvalidInput: A value is no text; a word or separator that the codec does not know; a text with more pieces
                than the longest one that the codec was made for.
        """
        texts, length = _listed(given, name), self.domain.length
        limits.afford(8 * len(texts) * length, f"{len(texts):,} texts of up to {length:,} pieces")
        ids = np.zeros((len(texts), length), dtype=np.float32)
        words, separators = _places(self.pieces, self._first_word)
        for row, text in enumerate(texts):
            parts = _WORD.split(text)
            if len(parts) > length:
                raise InvalidInput(
                    f"{name} must have at most {length // 2} words each, got {len(parts) // 2} in row {row}: fit the "
                    "codec on these texts too"
                )
            try:
                ids[row, : len(parts) : 2] = [separators[part] for part in parts[::2]]
                ids[row, 1 : len(parts) : 2] = [words[part] for part in parts[1::2]]
            except KeyError as error:
                piece = str(error.args[0])
                shown = piece if len(piece) <= _SHOWN else piece[:_SHOWN] + "..."
                raise InvalidInput(
                    f"{name} must consist of words and separators that the codec was fitted on, got {shown!r} in row "
                    f"{row}: fit it on these texts too"
                ) from error
        return torch.from_numpy(ids)

    def decode(self, points: Tensor) -> Any:
        """The texts (n,) of points (n, length), in the caller's container.

        Raises:
            InvalidInput: A point is not legal.
        """
        self.domain.check(points, "points")
        ids = points.detach().cpu().numpy()
        used = ids != PADDING
        ends = used.sum(1).cumsum()
        table = _table(self.pieces)
        pieces = table[ids[used].astype(np.int64)].tolist()
        texts = ["".join(pieces[start:end]) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        if self.container == SERIES:
            return pd.Series(texts, dtype=self.dtype, name=self.title)
        if self.container == WIDE:
            return np.array(texts, dtype=np.str_)
        if self.container == ARRAY:
            array = np.empty(len(texts), dtype=object)
            array[:] = texts
            return array
        return texts

    @property
    def _first_word(self) -> int:
        assert self.domain.alternation is not None, "texts alternate"
        return self.domain.alternation.first_word


def _counted(texts: list[str], name: str, longest: int) -> tuple[Counter[str], set[str], int]:
    """How often each word occurs, all separators but the empty one, and the most pieces of a text."""
    words, separators, most = Counter[str](), set[str](), 1
    for row, text in enumerate(texts):
        parts = _WORD.split(text)
        if len(parts) > longest:
            raise InvalidInput(
                f"{name} must be texts of at most {longest // 2} words, got {len(parts) // 2} in row {row}: split long "
                "texts into parts as the model gets them"
            )
        words.update(parts[1::2])
        separators.update(parts[::2])
        most = max(most, len(parts))
    return words, separators - {""}, most


def _listed(texts: Texts, name: str) -> list[str]:
    if isinstance(texts, str) or not isinstance(texts, Sequence | np.ndarray | pd.Series) or np.ndim(texts) != 1:
        raise InvalidInput(f"{name} must be a sequence of texts (n,), got {type(texts).__name__}")
    listed = list(texts)
    for row, text in enumerate(listed):
        if not isinstance(text, str):
            raise InvalidInput(
                f"{name} must be texts, got {type(text).__name__} in row {row}: give an empty text where there is none"
            )
    return listed


def _form(texts: Texts) -> tuple[str, str, Hashable]:
    if isinstance(texts, pd.Series):
        return SERIES, str(texts.dtype), texts.name
    if isinstance(texts, np.ndarray):
        return (WIDE if texts.dtype.kind == "U" else ARRAY), "object", None
    return LIST, "object", None


@lru_cache(maxsize=4)
def _table(pieces: tuple[str, ...]) -> NDArray[np.object_]:
    return np.array(pieces, dtype=object)


@lru_cache(maxsize=4)
def _places(pieces: tuple[str, ...], first_word: int) -> tuple[dict[str, int], dict[str, int]]:
    """The ids of words and those of separators."""
    words = {word: first_word + number for number, word in enumerate(pieces[first_word:])}
    separators = {piece: BLANK + number for number, piece in enumerate(pieces[BLANK:first_word])}
    return words, separators
