"""Whoever waits and has enough of it is asked what shall become of the rest."""

from __future__ import annotations

import io
from typing import Any

import pytest

from launcher.hydra_app.waiting import Waiting
from launcher.item import ItemFilter, RunState, Sweep
from launcher.queues.sqlite import SqliteStore
from launcher.spec import LaunchSpec


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("answer", "state"), [("y\n", RunState.CANCELLED), ("\n", RunState.PENDING), ("", RunState.PENDING)]
)
def test_the_answer_decides(
    answer: str,
    state: RunState,
    store: SqliteStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    document = {"overrides": {"entry_point": ["true"]}, "resource": "local-process"}
    ids = store.push(Sweep("my sweep"), [LaunchSpec(document), LaunchSpec({**document, "name": "n"})]).ids
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    monkeypatch.setattr(store, "wait", interrupted)
    caplog.set_level("INFO")
    with pytest.raises(SystemExit) as ended:
        Waiting(store, "my sweep", ids).returns()
    assert ended.value.code == 130
    assert "2 runs of sweep my sweep have not ended. Cancel them? [y/N]" in capsys.readouterr().out
    assert {item.state for item in store.items(ItemFilter())} == {state}
    assert ("launcher cancel 'my sweep' cancels them" in caplog.text) == (state is RunState.PENDING)
