"""A store with a history: many items that have finished, made in the database instead of one after another."""

from __future__ import annotations

from typing import Any

from launcher.item import Sweep
from launcher.outcome import Finished
from launcher.spec import LaunchSpec

SWEEP = "old"


def add_finished(store: Any, count: int) -> None:
    """`count` items of one sweep that have finished, their events and counts included: copies of one that was pushed,
    popped and finished, with other IDs and fingerprints. Nothing may wait in the store."""
    store.push(Sweep(SWEEP), [LaunchSpec({"resource": "local-process"})])
    store.finish((lease, Finished()) for lease in store.pop("agent", ["default"], 1))
    postgres = store.dialect == "postgres"
    series = "(WITH RECURSIVE n (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < {}) SELECT n FROM n) AS many"
    numbers = ("generate_series(2, {}) AS many" if postgres else series).format(count)
    uuid = "replace(gen_random_uuid()::text, '-', '')" if postgres else "lower(hex(randomblob(16)))"
    drawn = {"id": f"substr({uuid}, 1, 12)", "fingerprint": uuid}
    with store._session() as db, store._transaction(db):
        columns = [column[0] for column in db.execute("SELECT * FROM items LIMIT 0").description if column[0] != "seq"]
        values = ", ".join(drawn.get(name, f"one.{name}") for name in columns)
        db.execute(f"INSERT INTO items ({', '.join(columns)}) SELECT {values} FROM items AS one, {numbers}")  # noqa: S608
        if postgres:
            db.execute(f"INSERT INTO identities SELECT id, seq, sweep, {uuid} FROM items ON CONFLICT DO NOTHING")  # noqa: S608
        db.execute(
            "INSERT INTO events (item, at, before, after, attempt, actor, reason) "
            "SELECT items.seq, one.at, one.before, one.after, one.attempt, one.actor, one.reason "
            "FROM items, (SELECT * FROM events ORDER BY seq) AS one WHERE items.seq <> one.item"
        )
        added = f"INSERT INTO counts (sweep, queue, state, number) VALUES ('old', 'default', 'finished', {count - 1})"  # noqa: S608
        db.execute(added + ("" if postgres else " ON CONFLICT DO UPDATE SET number = number + excluded.number"))
    with store._session() as db:
        db.execute("VACUUM ANALYZE" if postgres else "PRAGMA wal_checkpoint(TRUNCATE)")
