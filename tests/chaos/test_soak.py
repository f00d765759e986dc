"""The short form of the soak: hundreds of runs, agents that come and go, and nothing grows in the one that stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.soak import soak
from tests.conftest import needs
from tests.services import postgres_programs

SECONDS = 10.0


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_an_agent_that_stays_takes_no_more_in_the_end(store: str, tmp_path: Path) -> None:
    if store == "postgres":
        needs("postgres", postgres_programs() is not None, "the server's programs are not installed (make services)")
    soaked, notes = soak(store, tmp_path / "world", SECONDS)
    assert notes == []
    assert soaked.runs > 20
    assert soaked.agents > 2
    assert soaked.flat, soaked
