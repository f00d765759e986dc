"""The terminal of `launcher watch`: keys as words, frames on the alternate screen, all as before at the end."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from types import FrameType, TracebackType

from rich.console import Console, ConsoleDimensions, RenderableType
from rich.live import Live

KEYS = {
    "\x1b[A": "up", "\x1bOA": "up", "k": "up", "\x1b[B": "down", "\x1bOB": "down", "j": "down",
    "\x1b[5~": "page up", "\x1b[6~": "page down", " ": "page down", "b": "page up",
    "\x1b[H": "home", "\x1bOH": "home", "\x1b[1~": "home", "g": "home",
    "\x1b[F": "end", "\x1bOF": "end", "\x1b[4~": "end", "G": "end",
    "\r": "enter", "\n": "enter", "\x1b": "escape", "\x7f": "escape", "\x03": "q", "\x04": "q",
}  # fmt: skip
"""What terminals send, and what it means; other characters mean themselves."""


class Terminal:
    """Reads keys and shows frames; a context, for the terminal must be given back however that ends."""

    def __init__(self) -> None:
        self._console = Console()
        self._live = Live(console=self._console, screen=True, auto_refresh=False, redirect_stderr=False)
        self._input = sys.stdin.fileno()
        self._woken, self._wake = os.pipe()
        self._unread = ""

    def __enter__(self) -> Terminal:
        self._before = termios.tcgetattr(self._input)
        self._resized = signal.signal(signal.SIGWINCH, self._wake_up)
        self._ended = signal.signal(signal.SIGTERM, self._end)
        tty.setcbreak(self._input)
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)
        signal.signal(signal.SIGWINCH, self._resized)
        signal.signal(signal.SIGTERM, self._ended)
        os.close(self._woken)
        os.close(self._wake)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, as the terminal has them now: what COLUMNS and LINES say may be of an earlier time."""
        return os.get_terminal_size(sys.stdout.fileno())

    def show(self, frame: RenderableType) -> None:
        """Show a frame in place of the last one."""
        self._console.size = ConsoleDimensions(*self.size)
        self._live.update(frame, refresh=True)

    def key(self, seconds: float) -> str | None:
        """The next key, waiting so long for it at most; None where none came, or the terminal has another size."""
        if not self._unread:
            ready, _, _ = select.select([self._input, self._woken], [], [], seconds)
            if self._woken in ready:
                os.read(self._woken, 64)
            if self._input not in ready:
                return None
            self._unread = os.read(self._input, 1024).decode(errors="replace")
            if not self._unread:
                return "q"  # the terminal is gone
        known = max((text for text in KEYS if self._unread.startswith(text)), key=len, default=self._unread[0])
        self._unread = self._unread[len(known) :]
        return KEYS.get(known, known)

    def _wake_up(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a handler's signature
        os.write(self._wake, b"r")

    def _end(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        raise KeyboardInterrupt
