"""Tokens: read from environment variables, sent in headers, and nowhere else."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hardlabel.checks import InvalidInput

_PAIR = re.compile(r"(?P<header>[A-Za-z0-9!#$%&'*+.^_`|~-]+)=(?P<variable>[A-Za-z_][A-Za-z0-9_]*)")
_SCHEME = "Bearer"  # Of a token in `Authorization` that names none.
_SCHEMES = ("bearer", "basic", "token", "digest", "apikey")
_SHORTEST = 4  # Characters of a text that is blotted out: less would blot out words.
_OF_CONNECTION = ("host", "content-length", "transfer-encoding", "connection")


def header_pairs(given: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs (header, variable) in texts NAME=VARIABLE. No error shows the text: it may be the token itself.

    Raises:
        InvalidInput: A text is no such pair, or a header is given twice or belongs to the connection.

    Example:
        >>> from hardlabel.targets.http.secrets import header_pairs
        >>> header_pairs(["Authorization=TOKEN"])
        [('Authorization', 'TOKEN')]
    """
    pairs = []
    for place, text in enumerate(given, 1):
        match = _PAIR.fullmatch(text)
        if match is None:
            raise InvalidInput(
                f"header_env must be NAME=VARIABLE, the header and the environment variable with its value, number "
                f"{place} is not (it is not shown here, since it may hold a token)"
            )
        pairs.append((match["header"], match["variable"]))
    names = [header.lower() for header, _ in pairs]
    for name in names:
        if names.count(name) > 1 or name in _OF_CONNECTION:
            raise InvalidInput(f"header_env must name each header once, and none of the connection's, got {name!r}")
    return pairs


@dataclass(frozen=True)
class Tokens:
    """Headers with secret values. Its text shows no value, and it cannot be pickled.

    Attributes:
        variables: The environment variable of each header.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    _values: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, pairs: Iterable[tuple[str, str]]) -> "Tokens":
        """Reads the values from the environment.

        Raises:
            InvalidInput: A variable is not set, or its value cannot stand in a header.
        """
        variables, values = {}, {}
        for header, variable in pairs:
            value = os.environ.get(variable, "").strip()
            if not value:
                # The name of the variable may be a token that somebody typed.
                raise InvalidInput(
                    f"header_env must name an environment variable that is set, the one for {header} is not: "
                    "export it first, and give its name, not the token"
                )
            if not (value.isascii() and value.isprintable()):
                raise InvalidInput(f"header_env {header}={variable}: its value must be one line of ASCII characters")
            alone = header.lower() == "authorization" and " " not in value
            variables[header], values[header] = variable, f"{_SCHEME} {value}" if alone else value
        return cls(variables, values)

    def headers(self) -> dict[str, str]:
        """The headers with their values, for one request."""
        return dict(self._values)

    def blotted(self, text: str) -> str:
        """The text without the secret values, which a server may repeat."""
        for secret, variable in self._secrets():
            text = text.replace(secret, f"[{variable}]")
        return text

    def blotted_out(self, body: bytes) -> bytes:
        """The same for the bytes of an answer."""
        for secret, variable in self._secrets():
            body = body.replace(secret.encode(), f"[{variable}]".encode())
        return body

    def _secrets(self) -> list[tuple[str, str]]:
        """Each secret value, and each word of it, with its variable; the longest first."""
        secrets = {
            (secret, self.variables[header])
            for header, value in self._values.items()
            for secret in (value, *value.split())
        }
        long = [pair for pair in secrets if len(pair[0]) >= _SHORTEST and pair[0].lower() not in _SCHEMES]
        return sorted(long, key=lambda pair: -len(pair[0]))

    @property
    def words(self) -> str:
        """What an error calls the tokens: "the token in TOKEN"."""
        names = list(self.variables.values())
        return f"the token{'s' * (len(names) > 1)} in {' and '.join(names)}" if names else "a request without a token"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("tokens are never pickled")
