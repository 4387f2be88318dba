"""An address as an `Endpoint`: one request for each attempt, and what its answer means."""

import datetime
import email.utils
import hashlib
import html
import re
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardlabel import printed
from hardlabel.checks import InvalidInput, cut, shown
from hardlabel.data.codecs.labels import ClassNames
from hardlabel.oracles.paid import Fate, Outcome
from hardlabel.reading import Unreadable, content, json_value
from hardlabel.targets.frameworks.base import package, reason
from hardlabel.targets.http.address import Address
from hardlabel.targets.http.answers import Reading, WrongAnswer
from hardlabel.targets.http.pace import MOST_AT_ONCE, Pace
from hardlabel.targets.http.protocols import BUILT_IN, Request, Speaks, fits, problem_of
from hardlabel.targets.http.secrets import Tokens
from hardlabel.targets.http.templates import Template, read_template

TIMEOUT = 30.0  # Seconds in which an answer must be whole.
MOST_BYTES = 2**26  # Of an answer.
LONGEST_WAIT = 3600.0  # Seconds of a Retry-After that are believed.
BETWEEN, LONGEST_BETWEEN = (0.5, 1.0, 2.0), 30.0  # Seconds between requests that ask about no row; by Retry-After.
KEPT_ALIVE = 2.0  # Seconds; servers close idle connections after 5 s as a rule, and a request then is of unknown fate.
LONGEST_PROBLEM, MOST_WORDS = 200, 2000  # Characters of what a server says, and of what we say about it.
_SIZE = re.compile(
    r"too large|too many|too long|batch.?size|max(imum)?.{0,12}(batch|rows|instances|size)", re.IGNORECASE
)
_HTML = re.compile(rb"\s*(<!doctype|<html|<head|<body)", re.IGNORECASE)
_DENIED = (401, 403)
_BUSY = (429, 503)
_GATEWAY = (408, 500, 502, 504)  # The rows may have been processed.


class Http:
    """A model behind an address. Thread-safe; see `oracles.paid.Endpoint`.

    Args:
        address: Where it is.
        speaks: The protocol.
        tokens: Headers with secret values.
        ca: A file with the certificates of those who sign the server's; None for the usual ones.
        rate: Most requests in a second; None for no limit.
        use_scores: Whether the score attacks may have scores in the answers.
        timeout: Seconds for the requests that ask about no row.

    Raises:
        InvalidInput: httpx is not installed, or `ca` cannot be read.
    """

    def __init__(
        self,
        address: Address,
        speaks: Speaks,
        *,
        tokens: Tokens = Tokens(),  # noqa: B008  # Frozen.
        ca: Path | None = None,
        rate: float | None = None,
        use_scores: bool = False,
        timeout: float = TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        httpx = package("httpx", "http")
        self._httpx: Any = httpx
        self._address, self._speaks, self._tokens = address, speaks, tokens
        self._timeout, self._clock, self._rate = timeout, clock, rate
        self._reading = Reading(use_scores=use_scores)
        self._moved: str | None = None  # The path that the server redirects to.
        self._client: Any = httpx.Client(
            base_url=address.origin,
            verify=_context(ca),
            follow_redirects=False,
            limits=httpx.Limits(
                max_connections=MOST_AT_ONCE * 2,
                max_keepalive_connections=MOST_AT_ONCE * 2,
                keepalive_expiry=KEPT_ALIVE,
            ),
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "hardlabel"},
        )
        self._pace = Pace(most_rows=speaks.most_rows, rate=rate, clock=clock, sleep=sleep)
        self._sleep = sleep

    @property
    def identity(self) -> str:
        """The address, the protocol and the version that the server declares; of the query, a hash."""
        address, version = self._address, self._speaks.version
        query = f", query {hashlib.sha256(address.query.encode()).hexdigest()[:8]}" if address.query else ""
        declared = f", version {version}" if version else ""
        return printed.line(f"{address.origin}{address.path} ({self._speaks.name}{query}{declared})")

    @property
    def most_rows(self) -> int:
        """The most rows of a request, as it is known now."""
        return self._pace.rows

    @property
    def at_once(self) -> int:
        """How many requests may wait at once, as it is known now."""
        return self._pace.at_once

    @property
    def shows_scores(self) -> bool:
        """Whether answers are scores."""
        return self._reading.use_scores

    @property
    def warning(self) -> str:
        """What the user must know about the address; "" if nothing."""
        encrypted = self._address.origin.startswith("https://") or self._address.local
        if encrypted or not self._tokens.variables:
            return ""
        return f"{self._address.origin} gets {self._tokens.words} unencrypted: use https"

    def meet(self) -> "Http":
        """Asks the server what it says about the model, without a row; returns this endpoint.

        Raises:
            InvalidInput: The server cannot be reached, does not accept the token, or has no such model.
        """
        try:
            self._speaks = self._speaks.met(self._get)
        except _Denied as error:
            raise InvalidInput(f"target: {error}") from error
        self._pace = Pace(most_rows=self._speaks.most_rows, rate=self._rate, clock=self._clock, sleep=self._sleep)
        return self

    def expect(self, names: ClassNames | None, classes: int, label_map: Sequence[str] = ()) -> None:
        """Answers must be labels of the data from now on; others are wrong.

        Args:
            names: The labels of the data; None where these are classes.
            classes: Number of classes that the data show.
            label_map: "ANSWER=LABEL" for each answer that is no label of the data.

        Raises:
            InvalidInput: A pair of `label_map` has no "=", or names no label.
        """
        every = ClassNames(tuple(range(classes))) if names is None else names
        mapped = every.mapped(label_map)
        self._reading = Reading(
            labels=every.labels,
            meant=dict(mapped.answers),
            numbered=names is None,
            use_scores=self._reading.use_scores,
        )

    def prepare(self, rows: Any) -> "Prepared":
        """The request about rows (n, ...) in the caller's terms, to be given to `attempt`. Sends and raises nothing."""
        try:
            return Prepared(len(rows), self._speaks.request(rows))
        except InvalidInput as error:
            return Prepared(len(rows), None, str(error))

    def attempt(self, rows: Any, *, timeout: float) -> Outcome:
        """Sends one request about rows (n, ...), or the one prepared; waits for the rate before. Raises nothing.

        The outcome is `denied` where no request like this one would be answered: 401, 404, a certificate that is not
        trusted, rows that the model does not take.
        """
        prepared = rows if isinstance(rows, Prepared) else self.prepare(rows)
        request = prepared.request
        if request is None:
            return Outcome.denied(prepared.problem)
        self._pace.wait()
        started = self._clock()
        try:
            status, headers, body = self._send(request, timeout)
        except _TooLong as error:
            return Outcome.wrong(f"target {error}")
        except _Denied as error:
            return Outcome.denied(str(error))
        except (self._httpx.ConnectTimeout, self._httpx.PoolTimeout):
            return Outcome.refused("no connection in time")
        except self._httpx.TimeoutException:
            self._pace.busy()
            return Outcome.unknown(f"no answer within {timeout:g} s")
        except self._httpx.ConnectError as error:
            try:
                return Outcome.refused(self._unconnected(error))
            except _Denied as denied:
                return Outcome.denied(str(denied))
        except self._httpx.HTTPError as error:
            return Outcome.unknown(self._said(f"the connection broke ({type(error).__name__})"))
        seconds = self._clock() - started
        try:
            outcome = self._outcome(status, headers, body, prepared.rows)
        except _Denied as error:
            return Outcome.denied(str(error))
        if outcome.fate == Fate.ANSWERED:
            self._pace.answered(prepared.rows, seconds, len(request.body))
        return outcome

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("an endpoint is asked by one process, and never pickled")

    def _send(self, request: Request, timeout: float) -> tuple[int, Mapping[str, str], bytes]:
        """The answer to a request: its status, its headers and its whole body."""
        end = self._clock() + timeout
        path = self._moved or _with_query(request.path, self._address.query)
        with self._client.stream(
            request.method,
            path,
            content=request.body or None,
            headers={**request.headers, **self._tokens.headers()},
            timeout=timeout,
        ) as response:
            parts, size = [], 0
            for part in response.iter_bytes():
                parts.append(part)
                size += len(part)
                if size > MOST_BYTES:
                    raise _TooLong(f"answered with more than {MOST_BYTES:,} bytes")
                if self._clock() > end:
                    raise self._httpx.ReadTimeout("the answer took too long")
        # A server may repeat the tokens: here they end, before anything is read, cut or told.
        return response.status_code, response.headers, self._tokens.blotted_out(b"".join(parts))

    def _outcome(self, status: int, headers: Mapping[str, str], body: bytes, rows: int) -> Outcome:
        payload = _parsed(body)
        fine = 200 <= status < 300 and not isinstance(self._speaks, Template)
        problem = "" if fine else self._said(self._problem(payload) or _first_words(body))
        told = f"{status} ({problem})" if problem else f"{status}"
        if status in _DENIED:
            raise _Denied(self._denied(status))
        if status == 413 or (status in (400, 422) and rows > 1 and (status == 422 or _SIZE.search(problem))):
            self._pace.too_large(rows)
            return Outcome.too_large(told if rows == 1 else f"{status}")
        if status in _BUSY:
            self._pace.busy()
            return Outcome.refused(told, wait=wait_of(headers.get("retry-after")))
        if status in _GATEWAY:
            return Outcome.unknown(told, wait=wait_of(headers.get("retry-after")))
        if 300 <= status < 400:
            return self._redirected(status, headers.get("location") or "")
        if not 200 <= status < 300:
            raise _Denied(f"the target answered {told}")
        if isinstance(payload, _NoJson):
            kind = "a page of HTML" if _HTML.match(body) else "what is no JSON"
            return Outcome.wrong(f"target answered with {kind}")
        if isinstance(self._speaks, Template) and self._speaks.problem(payload):
            return Outcome.wrong(f"target answered with an error: {problem}")
        try:
            values = self._speaks.values(payload, rows, scores=self._reading.use_scores)
            read = self._reading.read(values, rows)
        except WrongAnswer as error:
            return Outcome.wrong(f"target {self._said(str(error), longest=MOST_WORDS)}")
        except OverflowError:
            return Outcome.wrong("target answered with a number that is too large")
        return Outcome.answered(scores=read) if self._reading.use_scores else Outcome.answered(read)

    def _redirected(self, status: int, place: str) -> Outcome:
        """Another path of the same server is followed, another server never: it would get the token."""
        try:
            target = self._httpx.URL(self._address.origin).join(place) if place else None
        except (self._httpx.InvalidURL, ValueError):
            target = None
        same = target is not None and self._httpx.URL(self._address.origin).copy_with(path="/") == target.copy_with(
            path="/", query=None, fragment=None
        )
        if target is None or not same or status not in (307, 308) or self._moved == target.raw_path.decode():
            where = "" if target is None else f" to {target.scheme}://{target.host}{target.path}"
            raise _Denied(
                self._said(f"{status}: the target redirects{where}, which is not followed: name that address")
            )
        self._moved = target.raw_path.decode()
        return Outcome.refused(f"{status}", wait=0.0)

    def _get(self, path: str) -> Any:
        """The JSON at a path; None where there is none. Asked again where the server is busy or starting."""
        for wait in (*BETWEEN, None):
            try:
                status, headers, body = self._send(Request(path, b"", "GET", {}), self._timeout)
            except _TooLong:
                return None
            except self._httpx.HTTPError as error:
                problem, pause = self._unconnected(error), None
            else:
                if status in _DENIED:
                    raise _Denied(self._denied(status))
                if status not in (*_BUSY, *_GATEWAY):
                    payload = _parsed(body)
                    return None if isinstance(payload, _NoJson) or status != 200 else payload
                problem, pause = f"{status}", wait_of(headers.get("retry-after"))
            if wait is not None:
                self._sleep(wait if pause is None else min(pause, LONGEST_BETWEEN))
        raise InvalidInput(f"target cannot be reached: {problem}")

    def _unconnected(self, error: Exception) -> str:
        """Why there is no connection. Certificates that are not trusted do not get better by trying again."""
        text = self._said(reason(error))
        if "CERTIFICATE_VERIFY_FAILED" in text:
            raise _Denied(f"the certificate is not trusted ({text}): --ca FILE names who signed it")
        return f"no connection ({text})"

    def _denied(self, status: int) -> str:
        several = "were" if len(self._tokens.variables) > 1 else "was"
        return f"{status}: {self._tokens.words} {several} not accepted"

    def _problem(self, payload: Any) -> str:
        told = self._speaks.problem(payload) if isinstance(self._speaks, Template) else ""
        return told or problem_of(payload)

    def _said(self, text: str, *, longest: int = LONGEST_PROBLEM) -> str:
        """A server's words in one line, without the tokens."""
        return cut(printed.line(" ".join(self._tokens.blotted(text).split())), longest)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A request that can be sent.

    Attributes:
        rows: About how many rows it is.
        request: The request; None where the model does not take the rows.
        problem: Why not.
    """

    rows: int
    request: Request | None
    problem: str = ""


class _Denied(Exception):
    """No request like this one would be answered; the message says why in one line."""


class _TooLong(Exception):
    """An answer has too many bytes."""


class _NoJson:
    """A body is no JSON."""


def endpoint_of(
    target: str,
    *,
    protocol: str | None = None,
    tokens: Tokens = Tokens(),  # noqa: B008  # Frozen.
    ca: Path | None = None,
    rate: float | None = None,
    use_scores: bool = False,
    timeout: float = TIMEOUT,
) -> Http:
    """The endpoint at an address. Sends nothing.

    Args:
        target: The address.
        protocol: "v2", "tensorflow", "tensorflow-inputs", "mlflow", or a YAML file with a template; None to tell by the
            address.
        tokens, ca, rate, use_scores, timeout: See `Http`.

    Raises:
        InvalidInput: The address, the protocol or a file breaks a rule.

    Example:
        >>> from hardlabel.targets.http.client import endpoint_of
        >>> endpoint_of("https://example.org/v2/models/credit").identity
        'https://example.org/v2/models/credit (v2)'
    """
    address = Address.of(target)
    name = protocol or fits(address.path)
    if name is None:
        raise InvalidInput(f"protocol must be {', '.join(BUILT_IN)} or FILE.yaml for this address, got nothing")
    if name in BUILT_IN:
        speaks = BUILT_IN[name](address.path)
    elif name.lower().endswith((".yaml", ".yml")):
        speaks = read_template(Path(name), address.path)
    else:
        raise InvalidInput(f"protocol must be {', '.join(BUILT_IN)} or FILE.yaml, got {shown(name)}")
    return Http(address, speaks, tokens=tokens, ca=ca, rate=rate, use_scores=use_scores, timeout=timeout)


def wait_of(header: str | None, *, now: Callable[[], float] = time.time) -> float | None:
    """Seconds to wait by a Retry-After header, which holds seconds or a date; None if it says nothing.

    Example:
        >>> from hardlabel.targets.http.client import wait_of
        >>> wait_of("120")
        120.0
    """
    if header is None:
        return None
    text = header.strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        return min(float(text), LONGEST_WAIT)
    try:
        moment = email.utils.parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        return min(max(0.0, moment.timestamp() - now()), LONGEST_WAIT)
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def _context(ca: Path | None) -> ssl.SSLContext | bool:
    if ca is None:
        return True
    try:
        text = content(ca, most=2**24).decode("ascii")
        return ssl.create_default_context(cadata=text)
    except (Unreadable, ssl.SSLError, ValueError) as error:
        raise InvalidInput(f"ca must be a file of certificates in PEM, {ca.name}: {reason(error)}") from error


def _with_query(path: str, query: str) -> str:
    if not query:
        return path
    return f"{path}{'&' if '?' in path else '?'}{query}"


def _parsed(body: bytes) -> Any:
    try:
        return json_value(body)
    except Unreadable:
        return _NoJson()


def _first_words(body: bytes) -> str:
    """The text of an error that is no JSON: of a page its title."""
    if _HTML.match(body):
        title = re.search(rb"<title[^>]*>(.{1,300}?)</title>", body, re.IGNORECASE | re.DOTALL)
        return html.unescape(title[1].decode(errors="replace")) if title else "a page of HTML"
    return body[:LONGEST_PROBLEM].decode(errors="replace") if not body.lstrip().startswith((b"{", b"[")) else ""
