"""The short form of the chaos suite: every scenario, over every store that it is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.scenarios import SCENARIOS, Scenario, play
from tests.conftest import needs
from tests.services import postgres_programs

PLAYS = [(scenario, store) for scenario in SCENARIOS for store in scenario.stores]


@pytest.mark.parametrize(("scenario", "store"), PLAYS, ids=[f"{scenario.name}-{store}" for scenario, store in PLAYS])
def test_nothing_is_lost_doubled_stale_or_left_behind(scenario: Scenario, store: str, tmp_path: Path) -> None:
    if store == "postgres":
        needs("postgres", postgres_programs() is not None, "the server's programs are not installed (make services)")
    verdict, notes = play(scenario, store, tmp_path / "world", long=False)
    assert (verdict.lost, verdict.doubled, verdict.stale, verdict.orphans) == (0, 0, 0, 0), notes
    assert verdict.faults
