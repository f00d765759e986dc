"""The short form of the chaos suite: every scenario, over every store that it is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.item import RunState
from tests.chaos import faults
from tests.chaos.harness import world
from tests.chaos.scenarios import SCENARIOS, Scenario, play
from tests.conftest import needs
from tests.services import postgres_programs

PLAYS = [(scenario, store) for scenario in SCENARIOS for store in scenario.stores]


@pytest.mark.timeout(300)  # also beside other tests
@pytest.mark.parametrize(("scenario", "store"), PLAYS, ids=[f"{scenario.name}-{store}" for scenario, store in PLAYS])
def test_nothing_is_lost_doubled_stale_or_left_behind(scenario: Scenario, store: str, tmp_path: Path) -> None:
    if store == "postgres":
        needs("postgres", postgres_programs() is not None, "the server's programs are not installed (make services)")
    verdict, notes = play(scenario, store, tmp_path / "world", long=False)
    assert (verdict.lost, verdict.doubled, verdict.stale, verdict.orphans) == (0, 0, 0, 0), notes
    assert verdict.faults


def test_a_run_that_no_store_knows_of_ends_before_its_item_is_put_back(tmp_path: Path) -> None:
    with world("sqlite", tmp_path / "world", long=False, seconds=6.0) as made:
        made.add(1)
        made.agent(dies="before ack 1").wait()
        assert made.items(RunState.LEASED), "its run began, and nobody was told"
        made.agent()
        verdict = made.finish()
    assert (verdict.lost, verdict.doubled, verdict.orphans) == (0, 0, 0), made.notes


def test_a_run_whose_item_another_machine_put_back_ends_before_it_starts_again(tmp_path: Path) -> None:
    with world("sqlite", tmp_path / "world", long=False, seconds=0.0, lease_seconds=60.0) as made:
        made.add(1, "before")
        other = made.agent()
        made.progresses()  # so it looks for what others left only in a while
        made.seconds = 6.0
        with faults.stopped(other):
            made.add(1)
            victim = made.agent(dies="before ack 1")
            victim.wait()
            assert made.store.release(made.name(victim), "silent") == 1
        verdict = made.finish()
    assert (verdict.lost, verdict.doubled, verdict.orphans) == (0, 0, 0), made.notes
