"""The state machine of items, explored: hypothesis makes up stories (story.py), and after every step of one a real
store must hold exactly what the model (model.py) does. `LAUNCHER_TEST_STORIES=20000` explores for long, at random."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from launcher.queues import Store
from launcher.queues.postgres import PostgresStore
from launcher.queues.sqlite import SqliteStore
from tests.queues.story import Story
from tests.services import Postgres

STORIES = int(os.environ.get("LAUNCHER_TEST_STORIES", "0"))
STEPS = 40


# -- the stores -------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that stores are told; they sleep for none of it."""
    import_module("launcher.queues.adding")  # which a store imports on its first push, too late to be told
    told = [0.0]
    faked = SimpleNamespace(**vars(time) | {"time": lambda: told[0], "sleep": lambda _: None})
    for name, module in sorted(sys.modules.items()):
        if name.startswith("launcher.queues") and getattr(module, "time", None) is time:
            monkeypatch.setattr(module, "time", faked)
    return told


@pytest.fixture
def open_sqlite(tmp_path: Path) -> Iterator[Callable[[], tuple[Store, Store]]]:
    """A new file a story."""
    SqliteStore(f"sqlite:///{tmp_path}/empty.db").close()
    opened: list[SqliteStore] = []

    def close() -> None:
        while opened:
            opened.pop().close()

    def fresh() -> tuple[Store, Store]:
        close()
        path = shutil.copy(tmp_path / "empty.db", tmp_path / "story.db")
        for _ in range(2):
            opened.append(SqliteStore(f"sqlite:///{path}"))
            with opened[-1]._session() as db:
                db.execute("PRAGMA synchronous = OFF")  # no power fails here
        return opened[0], opened[1]

    yield fresh
    close()


EMPTY = """
    DELETE FROM launcher.items; DELETE FROM launcher.counts; DELETE FROM launcher.sweeps; DELETE FROM launcher.agents;
    DELETE FROM launcher.shapes; DELETE FROM launcher.bases; DELETE FROM launcher.queues WHERE name <> 'default';
    UPDATE launcher.queues SET paused = false, prioritization = 'V0', max_running = NULL, deleted_at = NULL;
"""


@pytest.fixture
def open_postgres(postgres: Postgres) -> Iterator[Callable[[], tuple[Store, Store]]]:
    """One database, emptied for each story."""
    import psycopg

    url = postgres.database()
    pair = PostgresStore(url), PostgresStore(url)
    with psycopg.connect(url, autocommit=True) as db:

        def fresh() -> tuple[Store, Store]:
            db.execute(EMPTY)
            return pair

        yield fresh
    for store in pair:
        store.close()


# -- the stories ------------------------------------------------------------------------------------------------------


def explore(open_stores: Callable[[], tuple[Store, Store]], clock: list[float], stories: int) -> None:
    told = type("Told", (Story,), {"open_stores": staticmethod(open_stores), "clock": clock})
    phases = (Phase.generate, Phase.shrink) if STORIES else (Phase.generate,)  # shrinking takes minutes
    often = settings(
        max_examples=STORIES or stories, stateful_step_count=STEPS, derandomize=not STORIES, database=None,
        deadline=None, suppress_health_check=list(HealthCheck), phases=phases, report_multiple_bugs=False,
    )  # fmt: skip
    run_state_machine_as_test(told, settings=often)


@pytest.mark.timeout(0 if STORIES else 600)
def test_sqlite_does_what_the_model_does(open_sqlite: Callable[[], tuple[Store, Store]], clock: list[float]) -> None:
    explore(open_sqlite, clock, 200)


@pytest.mark.timeout(0 if STORIES else 600)
def test_postgres_does_what_the_model_does(
    open_postgres: Callable[[], tuple[Store, Store]], clock: list[float]
) -> None:
    explore(open_postgres, clock, 100)
