"""What stores over SQL do for jobs: numbered versions, each content once, and the aliases that name them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from typing import Any

from launcher import canonical
from launcher.errors import NotFoundError
from launcher.item import JobVersion
from launcher.spec import identifying

LATEST = "latest"


class Jobs:
    """The verbs of a `SqlStore` that are about jobs; it gives the connections and the statements."""

    url: str
    _session: Callable[[], AbstractContextManager[Any]]
    _transaction: Callable[[Any], AbstractContextManager[Any]]
    _sql: Callable[..., str]

    def keep_job(self, version: JobVersion, aliases: Collection[str] = ()) -> JobVersion:
        """See `Store.keep_job`."""
        row = _row(version)
        with self._session() as db, self._transaction(db):
            while (kept := db.execute(self._sql("select_job_number"), row).fetchone()) is None:
                db.execute(self._sql("insert_job"), row)  # again, where another process took the number
            if (version.source.get("git") or {}).get("repo"):
                db.execute(self._sql("update_job_source"), row)  # the code was pushed since, maybe
            for alias in {LATEST, *aliases}:
                db.execute(self._sql("set_job_alias"), row | {"alias": alias, "number": kept["number"]})
            found = db.execute(self._sql("select_jobs", "where_job"), {"name": version.name}).fetchall()
        return next(_version(row) for row in found if row["number"] == kept["number"])

    def alias_job(self, name: str, number: int, aliases: Collection[str]) -> None:
        """See `Store.alias_job`."""
        with self._session() as db, self._transaction(db):
            for alias in aliases:
                values = {"name": name, "number": number, "alias": alias}
                if not db.execute(self._sql("set_job_alias"), values).rowcount:
                    raise NotFoundError(f"job {name} has no version v{number} in {self.url}")

    def jobs(self, name: str | None = None) -> list[JobVersion]:
        """See `Store.jobs`."""
        conditions = [] if name is None else ["where_job"]
        with self._session() as db:
            return [_version(row) for row in db.execute(self._sql("select_jobs", *conditions), {"name": name})]


def _row(version: JobVersion) -> dict[str, Any]:
    content = {"source": version.source, "entry_point": list(version.entry_point), "inputs": version.inputs}
    return {
        "name": version.name, "kind": version.kind, "author": version.author, "now": time.time(),
        "digest": canonical.digest({"kind": version.kind, **content, "source": identifying(version.source)}),
        **{name: canonical.encode(value, sort=True) for name, value in content.items()},
    }  # fmt: skip


def _version(row: Any) -> JobVersion:
    return JobVersion(
        row["name"], row["kind"], canonical.decode(row["source"]), tuple(canonical.decode(row["entry_point"])),
        canonical.decode(row["inputs"]), row["author"], row["number"],
        tuple(sorted(canonical.decode(row["aliases"]))), row["created_at"],
    )  # fmt: skip
