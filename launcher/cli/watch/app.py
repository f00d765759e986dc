"""The loop of `launcher watch`: look, show, obey a key. What a key may change is asked for once more first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.console import RenderableType

from launcher.cli.targets import user
from launcher.cli.watch.screen import HEAD, Row, frame, help_frame, log_frame, rows
from launcher.cli.watch.snapshot import Reader, Snapshot
from launcher.errors import LaunchError, StoreError
from launcher.item import HELD, ItemFilter, RunState
from launcher.paths import RunPaths
from launcher.queues import Store
from launcher.spec import PRIORITY_NAMES

LOOK_SECONDS = 1.0
LOG_BYTES = 1 << 18
"""Of a log only the end is read, however long it is."""


class Screen(Protocol):
    """Where frames go and keys come from; see `launcher.cli.watch.terminal.Terminal`."""

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines."""

    def show(self, frame: RenderableType) -> None:
        """Show a frame."""

    def key(self, seconds: float) -> str | None:
        """The next key, if one comes."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked before something changes, and what then changes it; the answer is what to tell."""

    text: str
    yes: Callable[[], str]


class App:
    """A watcher of a store, or of one of its sweeps."""

    def __init__(self, store: Store, sweep: str | None) -> None:
        self._store = store
        self._sweep = sweep
        self._reader = Reader(store, sweep)
        self._snapshot: Snapshot | None = None
        self._listed: list[Row] = []
        self._chosen: str | None = None
        self._question: Question | None = None
        self._message = ""

    def run(self, screen: Screen) -> None:
        """Until q."""
        anew = True
        try:
            while True:
                self._look(anew=anew)
                self._show(screen)
                key = screen.key(LOOK_SECONDS)
                if key == "q" and self._question is None:
                    return
                anew = key is not None and self._press(key, screen)
        except KeyboardInterrupt:
            return

    # -- what is there --------------------------------------------------------------------------------------------

    def _look(self, *, anew: bool) -> None:
        try:
            self._snapshot = self._reader.look(anew=anew)
        except StoreError as error:
            self._message = f"{error}; trying again"

    def _show(self, screen: Screen) -> None:
        if self._snapshot is None:
            return
        width, height = screen.size
        self._listed = rows(self._snapshot, width, height - HEAD - 1)
        title = self._sweep or "all sweeps"
        told = f"{self._question.text} (y/n)" if self._question else self._message
        screen.show(frame(title, self._snapshot, self._listed, self._place(), told, (width, height)))

    def _place(self) -> int:
        """Where the chosen item is in the list; the first one where it is not there any more."""
        places = [place for place, row in enumerate(self._listed) if row.id]
        found = next((place for place in places if self._listed[place].id == self._chosen), None)
        if found is None and places:
            found = places[0]
            self._chosen = self._listed[found].id
        return -1 if found is None else found

    # -- keys -----------------------------------------------------------------------------------------------------

    def _press(self, key: str, screen: Screen) -> bool:
        """Obey a key; True where it changed something in the store."""
        if self._question is not None:
            question, self._question = self._question, None
            self._message = ""
            return key.lower() == "y" and self._change(question.yes)
        self._message = ""
        match key:
            case "up" | "down" | "page up" | "page down" | "home" | "end":
                self._move(key, screen.size[1] - HEAD - 2)
            case "?":
                screen.show(help_frame(screen.size))
                while screen.key(3600.0) is None:
                    screen.show(help_frame(screen.size))
            case "R":
                failed = self._snapshot.states.get(RunState.FAILED, 0) if self._snapshot else 0
                self._question = Question(f"retry all {failed:,} that failed?", self._retry_all)
            case "enter" | "l" | "c" | "r" | "+" | "-" | "=":
                return self._press_on_item(key, screen)
        return False

    def _press_on_item(self, key: str, screen: Screen) -> bool:
        place = self._place()
        if place < 0:
            self._message = "nothing is chosen"
            return False
        row = self._listed[place]
        only = ItemFilter(ids=(row.id,))
        match key:
            case "enter" | "l":
                try:
                    self._read_log(row.id, screen)
                except LaunchError as error:
                    self._message = str(error)
            case "c" if row.state is RunState.PENDING or row.state in HELD:
                self._question = Question(f"cancel {row.id}?", lambda: self._cancel(only))
            case "r" if row.state is RunState.FAILED:
                self._question = Question(f"retry {row.id}?", lambda: self._retry(only))
            case "+" | "=" | "-" if row.state is RunState.PENDING:
                return self._change(lambda: self._prefer(row.id, -1 if key in "+=" else 1))
            case _:
                what = {"c": "cancelled", "r": "retried"}.get(key, "given another priority")
                self._message = f"{row.id} is {row.state.value if row.state else ''}, so it cannot be {what}"
        return False

    def _move(self, key: str, page: int) -> None:
        places = [place for place, row in enumerate(self._listed) if row.id]
        if not places:
            return
        at = places.index(self._place())
        step = {"up": -1, "down": 1, "page up": -page, "page down": page, "home": -len(places), "end": len(places)}
        self._chosen = self._listed[places[min(max(at + step[key], 0), len(places) - 1)]].id

    # -- what keys change -----------------------------------------------------------------------------------------

    def _change(self, work: Callable[[], str]) -> bool:
        try:
            self._message = work()
        except LaunchError as error:
            self._message = str(error).replace("\n", "; ")
        return True

    def _cancel(self, which: ItemFilter) -> str:
        waiting, stopping = self._store.cancel(which, user())
        return f"{waiting} waiting cancelled, {stopping} running being stopped"

    def _retry(self, which: ItemFilter) -> str:
        return f"{self._store.retry(which, user())} queued again"

    def _retry_all(self) -> str:
        return self._retry(ItemFilter(sweep=self._sweep, states=frozenset({RunState.FAILED})))

    def _prefer(self, item_id: str, step: int) -> str:
        item = self._store.item(item_id)
        priority = min(max(item.priority + step, 0), len(PRIORITY_NAMES) - 1)
        if self._store.set_priority(ItemFilter(ids=(item_id,)), priority):
            return f"{item_id} is now {PRIORITY_NAMES[priority]}"
        return f"{item_id} does not wait any more, or its queue {item.queue} has no priorities"

    # -- a log ----------------------------------------------------------------------------------------------------

    def _read_log(self, item_id: str, screen: Screen) -> None:
        """Show the end of a log as it grows, until Esc or q."""
        above = 0
        while True:
            item = self._store.item(item_id)
            lines, why = _log_end(item.run_dir)
            page = screen.size[1] - 3
            above = min(above, max(len(lines) - page, 0))
            title = f"{item.id}  {item.state.value}  {' '.join(item.point)}"
            screen.show(log_frame(title, lines, above, why, screen.size))
            match screen.key(LOOK_SECONDS):
                case "escape" | "q" | "enter" | "l":
                    return
                case "up":
                    above += 1
                case "down":
                    above = max(above - 1, 0)
                case "page up":
                    above += page
                case "page down":
                    above = max(above - page, 0)
                case "home":
                    above = len(lines)
                case "end":
                    above = 0


def _log_end(folder: str | None) -> tuple[list[str], str]:
    """The last lines of a run's log, and why there are none, if so."""
    if folder is None:
        return [], "it has not started, so it has no log yet"
    path = RunPaths(Path(folder)).log
    try:
        with path.open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(0, size - LOG_BYTES))
            text = log.read().decode(errors="replace")
    except OSError:
        return [], f"its log is not at {path} (did it run on another machine?)"
    lines = text.rstrip("\n").split("\n")
    return lines[1:] if size > LOG_BYTES else lines, ""
