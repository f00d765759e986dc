"""Each hot statement finds its rows by an index, on both stores: what has ended costs it nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import pytest

from launcher.item import Sweep
from launcher.queues.postgres import PostgresStore
from launcher.queues.sql import statement
from launcher.queues.sqlite import SqliteStore
from launcher.spec import LaunchSpec
from tests.queues.filling import add_finished
from tests.queues.steps import agent
from tests.services import Postgres

ENDED = 20_000
KEY = "the key of"
"""Stands for a table's own key, which each dialect names in its way."""

READ_IN_PART = {"items", "identities", "agents", "events"}

ROWS = '[{"id": "a", "token": "t", "state": "finished", "again": false, "grant": 0, "handle": "{}", "run_dir": "/r"}]'
VALUES = {
    "queues": '["default"]', "now": 1e9, "limit": 10, "agent": "a", "rows": ROWS, "sweep": "s1", "after": 0,
    "page": 1000, "seqs": "[5, 7]", "ids": '["x", "y"]', "actor": "ann", "tokens": '["t"]', "id": "x", "prefix": "x",
    "fingerprints": '["f", "g"]',
}  # fmt: skip


class Hot(NamedTuple):
    """A statement (its verb and conditions), and the indexes by which it must find its rows."""

    verb: tuple[str, ...]
    indexes: frozenset[str]


def hot(*verb: str, by: str) -> Hot:
    return Hot(verb, frozenset(by.split(", ")))


HOT = [
    hot("has_waiting", by="items_waiting, items_sized, items_on_hold, items_expiring"),
    hot("pop_items", by="items_waiting"),
    hot("select_leases", "where_seqs", by=f"{KEY} seq"),
    hot("ack_items", by=f"{KEY} id"),
    hot("finish_items", by=f"{KEY} id"),
    hot("beat_agent", by=f"{KEY} agents"),
    hot("revive_agent", by=f"{KEY} agents"),
    hot("select_tokens", by="items_held"),
    hot("select_leases", "where_held", by="items_held"),
    hot("expire_items", by="items_expiring"),
    hot("end_backoff", by="items_on_hold"),
    hot("next_due", by="items_on_hold"),
    hot("has_items", by=f"{KEY} sweep"),
    hot("select_present", by=f"{KEY} spec"),
    hot("select_taken_ids", by=f"{KEY} id"),
    hot("retry_present", by=f"{KEY} spec"),
    hot("cancel_waiting", "where_sweep", by="items_by_sweep"),
    hot("select_items", "where_sweep", by="items_by_sweep"),
    hot("select_items", "where_ids", by=f"{KEY} id"),
    hot("select_events", by=f"{KEY} id, events_of_item"),
]


def filled(store: Any) -> Any:
    """A store with a long history, a few sweeps that wait, agents that hold items, and many that have left."""
    add_finished(store, ENDED)
    store.register(agent("a"))
    for number in range(5):
        specs = (LaunchSpec({"overrides": {"run_config": {"seed": seed}}}) for seed in range(40))
        store.push(Sweep(f"s{number}"), specs)
    for number in range(20):
        store.pop(f"holder-{number}", ["default"], 5)
    with store._session() as db:
        columns = [column[0] for column in db.execute("SELECT * FROM agents LIMIT 0").description]
        number = "lower(hex(randomblob(8)))" if store.dialect == "sqlite" else "gen_random_uuid()::text"
        values = ", ".join({"id": number, "state": "'left'"}.get(name, f"agents.{name}") for name in columns)
        db.execute(f"INSERT INTO agents SELECT {values} FROM agents, (SELECT seq FROM items LIMIT 5000) AS many")  # noqa: S608
        db.execute("ANALYZE")
    return store


def names_of_plan(store: Any, text: str) -> tuple[set[str], set[str]]:
    """The indexes that the planner chose, and the tables that it reads from end to end."""
    values = {name: VALUES[name] for name in re.findall(r"(?<!:)[:(](\w+)\b", text) if name in VALUES}
    with store._session() as db:
        if store.dialect == "sqlite":
            plan = "\n".join(row["detail"] for row in db.execute(f"EXPLAIN QUERY PLAN {text}", values))
            scans = {line.split()[1] for line in plan.splitlines() if line.startswith("SCAN ") and "INDEX" not in line}
            tables = {name: table for table, name in re.findall(r"\b(items|agents|events)(?: AS (\w+))?", text)}
            chosen = set(re.findall(r"INDEX (\w+)", plan)) | set(re.findall("INTEGER PRIMARY KEY", plan))
            return chosen, {tables.get(name, name) for name in scans} & READ_IN_PART
        [row] = db.execute(f"EXPLAIN (FORMAT JSON) {text}", values)
        nodes = list(walk(row["QUERY PLAN"][0]["Plan"]))
    whole_index = [node for node in nodes if node.get("Index Name") == "items_waiting" and "Index Cond" not in node]
    scans = {node["Relation Name"] for node in [n for n in nodes if n["Node Type"] == "Seq Scan"] + whole_index}
    return {node["Index Name"] for node in nodes if "Index Name" in node}, scans & READ_IN_PART


def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from walk(below)


class Plans:
    keys: ClassVar[dict[str, str]]

    @pytest.mark.parametrize("statement_", HOT, ids=lambda entry: "-".join(entry.verb))
    def test_a_hot_statement_uses_its_index(self, filled_store: Any, statement_: Hot) -> None:
        text = statement(filled_store.dialect, *statement_.verb)
        indexes, scans = names_of_plan(filled_store, text)
        assert {self.keys.get(name, name) for name in statement_.indexes} <= indexes
        assert not scans

    def test_counting_reads_no_item(self, filled_store: Any) -> None:
        text = statement(filled_store.dialect, "count_items")
        indexes, scans = names_of_plan(filled_store, text)
        assert not re.search(r"\bitems\b", text.split("\n", 1)[-1])
        assert not {name for name in indexes if name.startswith("items")} | scans


@pytest.fixture(scope="module")
def filled_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    made = SqliteStore(f"sqlite:///{tmp_path_factory.mktemp('plans')}/store.db")
    yield filled(made)
    made.close()


@pytest.fixture(scope="module")
def filled_postgres(postgres: Postgres) -> Iterator[Any]:
    made = PostgresStore(postgres.database())
    yield filled(made)
    made.close()


class TestSqlite(Plans):
    keys: ClassVar = {
        f"{KEY} seq": "INTEGER PRIMARY KEY", f"{KEY} id": "sqlite_autoindex_items_1",
        f"{KEY} agents": "sqlite_autoindex_agents_1", f"{KEY} spec": "items_of_sweep",
        f"{KEY} sweep": "items_by_sweep",
    }  # fmt: skip

    @pytest.fixture
    def filled_store(self, filled_sqlite: Any) -> Any:
        return filled_sqlite


class TestPostgres(Plans):
    keys: ClassVar = {
        f"{KEY} seq": "items_pkey", f"{KEY} id": "identities_pkey", f"{KEY} agents": "agents_pkey",
        f"{KEY} spec": "identities_of_sweep", f"{KEY} sweep": "identities_of_sweep",
    }  # fmt: skip

    @pytest.fixture
    def filled_store(self, filled_postgres: Any) -> Any:
        return filled_postgres

    def test_items_that_are_cancelled_are_locked_by_their_index(self, filled_store: Any) -> None:
        indexes, scans = names_of_plan(filled_store, statement("postgres", "lock_items", "where_sweep"))
        assert "items_by_sweep" in indexes
        assert not scans

    def test_no_statement_is_compiled_first(self, filled_store: Any) -> None:
        with filled_store._session() as db:
            db.execute("SET jit_above_cost = 0")
            [row] = db.execute(f"EXPLAIN (FORMAT JSON) {filled_store._sql('select_blockers')}", VALUES)
            db.execute("RESET jit_above_cost")
        assert "JIT" not in row["QUERY PLAN"][0]
