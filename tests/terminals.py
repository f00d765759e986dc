"""A terminal for tests: tmux runs a command in a screen of a given size, gets keys, and says what is on it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
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
