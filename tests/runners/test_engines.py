"""How two words become one outcome: an engine's on a job, and the run's own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.outcome import Cancelled, Failed, Finished, Lost, Outcome, Preempted
from launcher.runners import engines
from launcher.runners.engines import Judge, Said, Word
from launcher.runners.node import OUTCOME, REQUEST

LEASE = "t0k3n"
BY_ITSELF = {"token": LEASE, "stopped": False, "timed_out": False}
STOPPED = {"token": LEASE, "stopped": True, "timed_out": False, "exit_code": -15}


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "MISSING_SECONDS", 0.0)


def judged(folder: Path, word: Word, own: dict[str, Any] | None, *, stopping: bool = False) -> Outcome | None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / REQUEST).touch()
    (folder / "output.log").write_text("begun\n")
    if own:
        (folder / OUTCOME).write_text(json.dumps(own))
    return Judge("It").outcome(Said(word, word.name, "why"), LEASE, folder, stopping)


@pytest.mark.parametrize(
    ("word", "own", "expected"),
    [
        (Word.GOES_ON, None, None),
        (Word.GOES_ON, STOPPED, None),
        (Word.GOES_ON, BY_ITSELF | {"exit_code": 0}, Finished(None)),
        (Word.ENDED, BY_ITSELF | {"exit_code": 0}, Finished(None)),
        (Word.ENDED, None, Lost("It says ENDED (why), but the run left no word of its own")),
        (Word.GONE, None, Lost("It does not know its job any more, and the run left no word of its own")),
        (Word.GONE, STOPPED, Lost("It does not know its job any more, which was stopped")),
        (Word.GONE, BY_ITSELF | {"exit_code": 3}, Failed("run", "exit code 3: begun", 3)),
        (Word.BROKEN, None, Lost("It says BROKEN (why): its node failed")),
        (Word.BROKEN, BY_ITSELF | {"exit_code": 0}, Finished(None)),
        (Word.PREEMPTED, STOPPED, Preempted("It says PREEMPTED (why)")),
        (Word.FAILED, STOPPED | {"exit_code": 75}, Failed("run", "exit code 75: begun", 75)),
        (Word.FAILED, None,
         Failed("run", "It says FAILED (why), and the run left no word of its own: begun")),
        (Word.CANCELLED, STOPPED,
         Cancelled("It says CANCELLED (why): somebody cancelled it there; it ended with signal 15")),
        (Word.TIMED_OUT, STOPPED,
         Failed("timeout", "It says TIMED_OUT (why): it reached the time limit of its job; signal 15", -15)),
        (Word.OUT_OF_MEMORY, BY_ITSELF | {"exit_code": -9},
         Failed("run", "out of memory, It says; ask for more in resources.memory", -9)),
        (Word.OUT_OF_MEMORY, None, Failed("run", "out of memory, It says; ask for more in resources.memory")),
    ],
)  # fmt: skip
def test_both_words_make_an_outcome(
    tmp_path: Path, word: Word, own: dict[str, Any] | None, expected: Outcome | None
) -> None:
    assert judged(tmp_path / "run", word, own) == expected


codes = st.sampled_from([0, 1, 75, -9, -15])
words = st.none() | st.builds(
    lambda token, stopped, timed_out, code: {
        "token": token, "stopped": stopped, "timed_out": timed_out, "exit_code": code,
    },
    st.sampled_from([LEASE, "another"]), st.booleans(), st.booleans(), codes,
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(Word), words, st.booleans())
def test_no_run_finishes_by_an_engines_word_alone(
    tmp_path: Path, word: Word, own: dict[str, Any] | None, stopping: bool
) -> None:
    found = judged(tmp_path / "run", word, own, stopping=stopping)
    ours = own is not None and own["token"] == LEASE
    if isinstance(found, Finished):
        assert ours
        assert own is not None
        assert own["exit_code"] == 0
    if word is Word.GOES_ON and not ours:
        assert found is None, "nothing is ended by our doubt"
    if isinstance(found, Lost):
        assert not (tmp_path / "run" / REQUEST).exists(), "it cannot start any more"
