"""Addresses and rates, as users write them."""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from hardlabel.checks import InvalidInput, shown

_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
_SECRET_QUERY = re.compile(r"key|token|secret|passw|sig|auth|credential|^code$", re.IGNORECASE)


def is_address(text: str) -> bool:
    """Whether a target is an address of http or https, not a file.

    Example:
        >>> from hardlabel.targets.http.address import is_address
        >>> is_address("https://host/v2/models/credit"), is_address("models/credit.onnx")
        (True, False)
    """
    return _ADDRESS.match(text) is not None


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a target is.

    Attributes:
        origin: Scheme, host and port: "https://host:8080".
        path: The path.
        query: The query, "" without one.
        local: Whether it is this machine.
    """

    origin: str
    path: str
    query: str
    local: bool

    @classmethod
    def of(cls, text: str) -> "Address":
        """Reads an address.

        Raises:
            InvalidInput: It is none of http or https, or holds a password or what looks like a token: addresses are
                recorded, and other users of the machine see them among its processes.
        """
        try:
            parts = urlsplit(text)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise InvalidInput(f"target must be an address as in https://host/v2/models/NAME: {error}") from error
        if parts.scheme.lower() not in ("http", "https") or not host or not text.isprintable() or " " in text:
            raise InvalidInput("target must be an address as in https://host/v2/models/NAME")
        if "@" in parts.netloc:
            raise InvalidInput(
                "target must hold no user and password: give them as --header-env Authorization=VARIABLE"
            )
        strange = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True) if _SECRET_QUERY.search(name)]
        if strange:
            raise InvalidInput(
                f"target must hold no token in its address, {shown(strange[0])} looks like one: use --header-env "
                "NAME=VARIABLE"
            )
        named = f"[{host}]" if ":" in host else host
        origin = f"{parts.scheme.lower()}://{named}" + (f":{port}" if port is not None else "")
        local = host in ("localhost", "::1") or host.startswith("127.")
        return cls(origin=origin, path=parts.path or "/", query=parts.query, local=local)

    def __str__(self) -> str:
        return f"{self.origin}{self.path}" + (f"?{self.query}" if self.query else "")


def rate_of(text: str) -> float:
    """Requests in a second, of "20/s", "600/min" or "1000/h".

    Raises:
        InvalidInput: It is none of these.

    Example:
        >>> from hardlabel.targets.http.address import rate_of
        >>> rate_of("600/min")
        10.0
    """
    match = re.fullmatch(r"(?P<number>\d{1,9}(\.\d{1,9})?)\s*/\s*(?P<unit>s|sec|min|m|h)", str(text).strip())
    seconds = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}
    if match is None or not float(match["number"]):
        raise InvalidInput(f"rate must be requests per time, such as 20/s, 600/min or 1000/h, got {shown(text)}")
    return float(match["number"]) / seconds[match["unit"]]
