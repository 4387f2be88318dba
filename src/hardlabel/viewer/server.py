"""The server behind `hardlabel view`: the standard library's, for this machine and its owner's browser only.

It listens on 127.0.0.1 alone. Its addresses begin with a random token, without which every answer is the same "not
found". A request that names another host is refused: a page from elsewhere cannot make the browser read this one by
giving its own name our address.
"""

import contextlib
import secrets
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs

from hardlabel import printed
from hardlabel.checks import InvalidInput
from hardlabel.viewer.runs import Runs, problem_page

LOOPBACK = "127.0.0.1"
SECONDS = 30  # That a browser may take to send a request.
LONGEST_PATH = 2000
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
OWN_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# A report brings its own policy, which allows its own script and pictures and nothing else; this one adds to it.
REPORT_POLICY = "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"


class Viewer(ThreadingHTTPServer):
    """Shows runs on a free port of 127.0.0.1.

    Args:
        runs: The runs.

    Attributes:
        url: The address of the list, with its token.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, runs: Runs) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.runs, self.token = runs, secrets.token_urlsafe(32)
        self.hosts = {f"{name}:{self.server_port}" for name in (LOOPBACK, "localhost")}
        self.url = f"http://{LOOPBACK}:{self.server_port}/{self.token}/"
        self.turn = threading.Lock()  # A report takes a processor for a second; two at once would take longer.

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that goes away is no news; anything else is told in one line, without the request."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            print(printed.line(f"hardlabel view: {type(error).__name__}: {error}"), file=sys.stderr)  # noqa: T201


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    server: Viewer
    protocol_version = "HTTP/1.1"
    timeout = SECONDS
    server_version, sys_version = "hardlabel", ""
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(code)d\n"
    known: ClassVar[tuple[str, ...]] = ("GET", "HEAD")

    def parse_request(self) -> bool:
        """Refuses every method but GET and HEAD."""
        if not super().parse_request():
            return False
        if self.command not in self.known:
            self.close_connection = True
            self.send_error(405)
            return False
        return True

    def do_GET(self) -> None:
        """Sends a page."""
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # What follows would be read as the next request.
            self.send_error(400)
            return
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self.server.hosts:
            self._send(403, problem_page("Refused", "This page is only for the machine that it runs on."))
            return
        path, _, query = self.path.partition("?")
        token, slash, rest = path.lstrip("/").partition("/")
        same = secrets.compare_digest(token.encode(errors="replace"), self.server.token.encode())
        if len(self.path) > LONGEST_PATH or not same or not slash:
            self._not_found()
            return
        try:
            with self.server.turn:
                self._page(rest, _fields(query))
        except InvalidInput as error:
            self._send(422, problem_page("This cannot be shown", str(error)))
        except ConnectionError:
            raise
        except Exception as error:
            print(printed.line(f"hardlabel view: {type(error).__name__}: {error}"), file=sys.stderr)  # noqa: T201
            self._send(500, problem_page("This cannot be shown", f"{type(error).__name__}: see the terminal."))

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing: requests hold the token."""

    def _page(self, rest: str, query: dict[str, list[str]]) -> None:
        runs, (folder, _, key) = self.server.runs, rest.partition("/")
        if rest == "":
            self._send(200, runs.list_page(" ".join(query.get("q", []))))
        elif folder == "run" and (row := runs.row(key)) is not None:
            self._send(200, runs.report_page(row), policy=REPORT_POLICY)
        elif rest == "compare":
            chosen = [runs.row(key) for name in ("first", "second") for key in query.get(name, [])[:1]]
            if len(chosen) < 2 or chosen[0] is None or chosen[1] is None:
                self._not_found()
            else:
                self._send(200, runs.compared_page(chosen[0], chosen[1]), policy=REPORT_POLICY)
        else:
            self._not_found()

    def _not_found(self) -> None:
        self._send(404, problem_page("Not found", "There is no such page."))

    def _send(self, status: int, page: str, *, policy: str = OWN_POLICY) -> None:
        content = page.encode("utf-8", errors="replace")
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Security-Policy": policy}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _fields(query: str) -> dict[str, list[str]]:
    """The fields of a query; none of one that is damaged."""
    try:
        return parse_qs(query, max_num_fields=10)
    except ValueError:
        return {}


@contextlib.contextmanager
def viewing(runs: Runs) -> Iterator[Viewer]:
    """A viewer that answers in a thread of its own until the block ends.

    Example:
        >>> from pathlib import Path
        >>> from hardlabel.store import default_store
        >>> from hardlabel.viewer.runs import Runs
        >>> from hardlabel.viewer.server import viewing
        >>> with viewing(Runs(Path("runs"), default_store())) as viewer:
        ...     print(viewer.url)
        http://127.0.0.1:.../
    """
    viewer = Viewer(runs)
    thread = threading.Thread(target=viewer.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield viewer
    finally:
        viewer.shutdown()
        viewer.server_close()
        thread.join()
