"""Which codec inputs need, by what the caller gave."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from torch import Tensor

from hardlabel.checks import InvalidInput
from hardlabel.data.codecs.base import Codec
from hardlabel.data.codecs.frames import FrameCodec
from hardlabel.data.codecs.pixels import PixelCodec
from hardlabel.data.codecs.series import SeriesCodec
from hardlabel.data.codecs.texts import TextCodec
from hardlabel.data.codecs.tokens import TokenCodec
from hardlabel.data.domain import Domain
from hardlabel.data.series import Series
from hardlabel.data.tokens import Tokens


def codec_of(groups: Mapping[str, object], domain: Domain | None) -> Codec | None:
    """The codec of inputs by group; None for numbers that are points as they are.

    Frames need a `FrameCodec` and texts a `TextCodec`, whatever the domain. Arrays need a codec for a domain of tokens
    or series, and where they hold images as whole numbers or with channels last.

    Raises:
        InvalidInput: The groups are of several sorts, or a frame or texts are given with a domain.

    Example:
        >>> import pandas as pd
        >>> from hardlabel.data.codecs.choosing import codec_of
        >>> codec_of({"members": pd.DataFrame({"age": [31, 45]})}, None).domain.kind
        'mixed table'
    """
    frames = {name: given for name, given in groups.items() if isinstance(given, pd.DataFrame)}
    texts: dict[str, Any] = {name: given for name, given in groups.items() if _is_text(given)}
    for sort, found in (("frames", frames), ("texts", texts)):
        if found and len(found) < len(groups):
            other = next(name for name in groups if name not in found)
            raise InvalidInput(
                f"all groups must be {sort} where one is, got {next(iter(found))} as {sort} and {other} as "
                f"{type(groups[other]).__name__}"
            )
        if found and domain is not None:
            raise InvalidInput(
                f"domain must be left out for {sort}, which have their own, got {type(domain).__name__}; encoded rows "
                "go with a domain"
            )
    if frames:
        return FrameCodec.fit(frames)
    if texts:
        return TextCodec.fit(texts)
    if isinstance(domain, Tokens):
        return TokenCodec.fit(cast("Mapping[str, Any]", groups), domain)
    if isinstance(domain, Series):
        return SeriesCodec.fit(groups, domain)
    return PixelCodec.fit(groups) if domain is None else None


def is_frame_or_text(given: object) -> bool:
    """Whether inputs are a frame or texts, and not an array of numbers."""
    return isinstance(given, pd.DataFrame) or _is_text(given)


def _is_text(given: Any) -> bool:
    """Whether inputs (n,) are texts: a list, an array or a series of str."""
    if isinstance(given, Tensor | str) or not isinstance(given, Sequence | np.ndarray | pd.Series):
        return False
    if isinstance(given, np.ndarray | pd.Series) and (given.ndim != 1 or given.dtype.kind in "biufc"):
        return False
    return len(given) > 0 and all(isinstance(text, str) for text in given)
