"""What every store must honour about records."""

from __future__ import annotations

from launcher.queues import Store
from tests.queues.steps import OpenAgain, at_once


class RecordsContract:
    def test_a_record_comes_back_as_it_was_given(self, store: Store, open_again: OpenAgain) -> None:
        value = {"name": "ünï", "nested": {"list": [1, 2.5, None, True]}}
        assert store.record("user", "ann") is None
        assert store.keep_record("user", "ann", value)
        found = open_again().record("user", "ann")
        assert found
        assert (found.key, found.value, found.revision) == ("ann", value, 1)

    def test_records_are_listed_by_key_and_kind_and_beginning(self, store: Store) -> None:
        for key in ("b/2", "a/1", "b/1", "b", "bb/1"):
            store.keep_record("run", key, {})
        store.keep_record("user", "b/3", {})
        assert [record.key for record in store.records("run", "b/")] == ["b/1", "b/2"]
        assert [record.key for record in store.records("run")] == ["a/1", "b", "b/1", "b/2", "bb/1"]

    def test_a_record_is_added_once_and_changed_by_whoever_saw_its_last_change(self, store: Store) -> None:
        assert store.keep_record("run", "a", {"n": 1})
        assert not store.keep_record("run", "a", {"n": 2})
        assert store.keep_record("run", "a", {"n": 3}, 1)
        assert not store.keep_record("run", "a", {"n": 4}, 1)
        found = store.record("run", "a")
        assert found
        assert (found.value, found.revision) == ({"n": 3}, 2)

    def test_a_record_that_is_dropped_is_gone(self, store: Store) -> None:
        store.keep_record("run", "a", {})
        assert store.drop_record("run", "a")
        assert not store.drop_record("run", "a")
        assert store.record("run", "a") is None
        assert not store.keep_record("run", "a", {}, 1)

    def test_of_many_that_change_a_record_at_once_one_does(self, store: Store, open_again: OpenAgain) -> None:
        store.keep_record("run", "a", {})
        stores = [open_again() for _ in range(4)]
        done = at_once(4, lambda place: stores[place].keep_record("run", "a", {"by": place}, 1))
        assert sorted(done) == [False, False, False, True]
