"""Terminals for tests: tmux runs a command in a screen of a given size, gets keys, and says what is on it; a bare one
says each byte that a command writes."""

from __future__ import annotations

import contextlib
import os
import pty
import shlex
import subprocess
import sys
import termios
from pathlib import Path

from tests.conftest import until


class Terminal:
    """A detached tmux session of its own server."""

    def __init__(self, folder: Path, size: tuple[int, int], *command: str) -> None:
        self._socket = folder / "tmux.sock"
        environment = {name: value for name, value in os.environ.items() if name not in ("TMUX", "NO_COLOR")}
        program = Path(sys.executable).parent
        environment |= {"LC_ALL": "C.UTF-8", "PATH": f"{program}{os.pathsep}{environment['PATH']}"}
        width, height = map(str, size)
        inner = f"{shlex.join(command)}; echo ended with $?; exec sleep 60"
        start = ["new-session", "-d", "-x", width, "-y", height, "-c", str(folder), "sh", "-c", inner]
        subprocess.run(self._tmux("-f", os.devnull, *start), check=True, env=environment)

    def _tmux(self, *words: str) -> list[str]:
        return ["tmux", "-S", str(self._socket), "-u", *words]

    def text(self) -> str:
        """What is on the screen."""
        done = subprocess.run(self._tmux("capture-pane", "-p"), capture_output=True, text=True, check=True)
        return done.stdout

    def lines(self) -> list[str]:
        return self.text().splitlines()

    def press(self, *keys: str) -> None:
        """Keys by tmux's names."""
        subprocess.run(self._tmux("send-keys", *keys), check=True)

    def resize(self, width: int, height: int) -> None:
        subprocess.run(self._tmux("resize-window", "-x", str(width), "-y", str(height)), check=True)

    def shows(self, *texts: str) -> str:
        """Wait until all of these are on the screen, and return it."""

        def there() -> str | None:
            screen = self.text()
            return screen if all(text in screen for text in texts) else None

        try:
            found: str = until(there, f"{texts} on the screen")
        except BaseException:
            print(self.text())  # noqa: T201 - for whoever reads the failure
            raise
        return found

    def close(self) -> None:
        subprocess.run(self._tmux("kill-server"), check=False)


def printed(folder: Path, width: int, *command: str, **environ: str) -> bytes:
    """What a command writes to a terminal of this width, byte by byte, until it ends. The carriage returns that the
    terminal adds to ends of lines are left out."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (40, width))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    environment |= {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **environ}
    process = subprocess.Popen(command, cwd=folder, stdin=follower, stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    blocks = []
    with contextlib.suppress(OSError):  # Linux says so that nobody has the other end open any more
        while block := os.read(leader, 1 << 16):
            blocks.append(block)
    os.close(leader)
    process.wait()
    return b"".join(blocks).replace(b"\r\n", b"\n")
