"""How many rows a request has and how many requests wait at once: what the server can take, found while asking."""

import threading
import time
from collections.abc import Callable

FIRST_ROWS, MOST_ROWS = 16, 512  # Rows of a request; more would leave nothing to send at once.
FIRST_AT_ONCE, MOST_AT_ONCE = 4, 16  # Requests at once.
SHORT, LONG = 0.25, 4.0  # Seconds: quicker answers let requests grow, slower ones let them shrink.
SLOWER = 1.5  # Times the best seconds per row at which more requests at once no longer help.
WAITING = 2.0  # Seconds for which requests wait for the rate, at most.
MOST_BYTES = 2**22  # Of the body of a request.


class Pace:
    """Sizes that settle. Thread-safe.

    Rows double while full requests are answered within SHORT seconds, and halve above LONG. Requests at once grow one
    by one while answers stay as quick as they were, and halve when the server is busy.

    Args:
        most_rows: The most rows of a request; None for MOST_ROWS.
        rate: Most requests in a second; None for no limit.
        clock: Seconds.
        sleep: Waits.

    Example:
        >>> from hardlabel.targets.http.pace import Pace
        >>> pace = Pace(most_rows=8)
        >>> pace.rows
        8
    """

    def __init__(
        self,
        *,
        most_rows: int | None = None,
        rate: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._most = MOST_ROWS if most_rows is None else most_rows
        self._rows, self._at_once = min(FIRST_ROWS, self._most), FIRST_AT_ONCE
        self._rate, self._clock, self._sleep = rate, clock, sleep
        self._lock = threading.Lock()
        self._next = 0.0  # When the next request may be sent.
        self._good = 0  # Answers in a row since `at_once` last changed.
        self._best: float | None = None  # Seconds per row of the quickest answer with as many rows.

    @property
    def rows(self) -> int:
        """The most rows of a request, as it is known now."""
        return self._rows

    @property
    def at_once(self) -> int:
        """How many requests may wait at once, as it is known now; few where the rate would have them wait for long."""
        return self._at_once if self._rate is None else min(self._at_once, max(1, round(WAITING * self._rate)))

    def wait(self) -> None:
        """Waits until the rate allows another request."""
        if self._rate is None:
            return
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + 1 / self._rate
        if turn > now:
            self._sleep(turn - now)

    def answered(self, rows: int, seconds: float, sent: int) -> None:
        """A request of so many rows and bytes was answered."""
        with self._lock:
            self._good += 1
            full = rows >= self._rows
            if seconds > LONG and rows > 1:
                self._rows = max(1, min(self._rows, rows) // 2)
                self._best = None
            elif full and seconds < SHORT and self._rows < self._most and 2 * sent <= MOST_BYTES:
                self._rows, self._best = min(self._most, 2 * self._rows), None
            elif full:
                each = seconds / rows
                self._best = each if self._best is None else min(each, self._best)
                if self._good > self._at_once and self._at_once < MOST_AT_ONCE and each <= SLOWER * self._best:
                    self._at_once, self._good = self._at_once + 1, 0

    def too_large(self, rows: int) -> int:
        """A request was too large: smaller ones from now on. Returns how many rows they have."""
        with self._lock:
            self._most = self._rows = min(self._rows, max(1, rows // 2))
            return self._rows

    def busy(self) -> None:
        """The server said that it has too much to do."""
        with self._lock:
            self._at_once, self._good = max(1, self._at_once // 2), 0
