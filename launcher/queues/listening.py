"""How a PostgreSQL store hears of others' changes: the server notifies a thread with a connection of its own."""

from __future__ import annotations

import random
import threading

CONNECT_SECONDS = 10.0
LONGEST_PAUSE = 10.0
"""Seconds between two tries to listen again, after the server was lost."""


class Listener(threading.Thread):
    """Listens until it is stopped. The first `wait` returns at once: what happened before it was not heard.

    >>> listener = Listener("postgresql://host/queues")
    >>> listener.wait(threading.Event(), timeout=5.0)  # doctest: +SKIP
    True
    """

    def __init__(self, conninfo: str) -> None:
        super().__init__(daemon=True, name="listener")
        self._conninfo = conninfo
        self._wake: threading.Event | None = None
        self._news = threading.Event()
        self._ending = threading.Event()

    def wait(self, wake: threading.Event, timeout: float) -> bool:
        """Whether the store may have changed since the last call; `timeout` seconds, or until `wake` is set, if not."""
        self._wake = wake
        if not self.ident:
            self.start()
            self._news.wait(CONNECT_SECONDS)
        elif not self._news.is_set():
            wake.wait(timeout)
        if not self._news.is_set():
            return False  # what comes from here on, the next call tells
        self._news.clear()
        return True

    def stop(self) -> None:
        """Ask the thread to end, which takes it a second at most."""
        self._ending.set()

    def run(self) -> None:
        """Wake who waits when the server notifies, and whenever it may have meanwhile."""
        import psycopg

        troubles = 0
        while not self._ending.is_set():
            try:
                with psycopg.connect(self._conninfo, autocommit=True) as db:
                    db.execute("LISTEN launcher")
                    troubles = 0
                    self._tell()  # what was told before we listened
                    while not self._ending.is_set():
                        for _ in db.notifies(timeout=1.0, stop_after=1):
                            self._tell()
            except psycopg.Error:
                troubles += 1
                pause = min(LONGEST_PAUSE, 0.1 * 2**troubles)
                self._ending.wait(random.uniform(0.5, 1.0) * pause)  # noqa: S311 - jitter

    def _tell(self) -> None:
        self._news.set()
        if self._wake:
            self._wake.set()
