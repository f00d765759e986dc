"""What every store must honour about jobs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from launcher.errors import NotFoundError
from launcher.item import JobVersion
from launcher.queues import Store
from tests.queues.steps import OpenAgain, at_once


def version(commit: str = "a", name: str = "team/vision/train", **changes: Any) -> JobVersion:
    source = {"uri": "/code", "git": {"repo": "file:///code", "version": commit * 40}}
    made = JobVersion(name, "git", source, ("python", "train.py"), {"type": "object"}, "ann")
    return replace(made, **changes)


def told(store: Store, name: str | None = None) -> list[tuple[str, tuple[str, ...]]]:
    return [(found.reference, found.aliases) for found in store.jobs(name)]


class JobsContract:
    def test_a_version_comes_back_as_it_was_given_with_its_number(self, store: Store, open_again: OpenAgain) -> None:
        given = version(kind="image", source={"docker": {"docker_image": "a:1"}}, entry_point=(), inputs={})
        kept = store.keep_job(given)
        assert kept.created_at > 0
        assert kept == replace(given, aliases=("latest",), created_at=kept.created_at)
        assert open_again().jobs() == [kept]
        assert kept.reference == "team/vision/train:v0"

    def test_versions_are_numbered_and_the_newest_is_latest(self, store: Store) -> None:
        for commit in "abc":
            store.keep_job(version(commit))
        store.keep_job(version("a", "team/vision/test"))
        assert told(store, "team/vision/train") == [
            ("team/vision/train:v0", ()),
            ("team/vision/train:v1", ()),
            ("team/vision/train:v2", ("latest",)),
        ]
        assert told(store)[0] == ("team/vision/test:v0", ("latest",))
        assert store.jobs("team/vision/other") == []

    @pytest.mark.parametrize(
        "other",
        [
            {"entry_point": ("python", "test.py")},
            {"inputs": {}},
            {"kind": "code"},
            {"source": {"uri": "/elsewhere"}},
        ],
    )
    def test_the_same_content_is_one_version_and_other_content_another(
        self, store: Store, other: dict[str, Any]
    ) -> None:
        first = store.keep_job(version())
        assert store.keep_job(version(**other)).number == 1
        again = store.keep_job(version(author="bob"))
        assert again == replace(first, aliases=("latest",)), "and what was added last is latest"
        assert told(store) == [("team/vision/train:v0", ("latest",)), ("team/vision/train:v1", ())]

    def test_code_that_was_pushed_since_is_the_same_version_and_says_where_it_is(self, store: Store) -> None:
        git = {"version": "a" * 40}
        kept = store.keep_job(version(kind="code", source={"uri": "/code", "git": git | {"dirty": True}}))
        pushed = version(kind="code", source={"uri": "/code", "git": git | {"repo": "file:///code"}})
        assert store.keep_job(pushed) == replace(kept, source=pushed.source)
        assert store.keep_job(replace(pushed, source={"uri": "/code", "git": git})).source == pushed.source

    def test_an_alias_names_one_version_of_a_job(self, store: Store) -> None:
        store.keep_job(version("a"), ["best", "paper"])
        store.keep_job(version("b"), ["best"])
        store.keep_job(version("a", "team/vision/test"), ["best"])
        assert [aliases for _, aliases in told(store, "team/vision/train")] == [("paper",), ("best", "latest")]
        store.alias_job("team/vision/train", 0, ["best", "new"])
        assert [aliases for _, aliases in told(store, "team/vision/train")] == [("best", "new", "paper"), ("latest",)]
        assert told(store, "team/vision/test") == [("team/vision/test:v0", ("best", "latest"))]

    def test_an_alias_of_a_version_that_is_not_there_is_refused_and_none_is_set(self, store: Store) -> None:
        store.keep_job(version())
        for name, number in (("team/vision/train", 1), ("team/vision/trian", 0)):
            with pytest.raises(NotFoundError, match=f"job {name} has no version v{number}"):
                store.alias_job(name, number, ["best"])
        assert told(store) == [("team/vision/train:v0", ("latest",))]

    def test_versions_that_are_added_at_once_get_numbers_of_their_own(
        self, store: Store, open_again: OpenAgain
    ) -> None:
        stores = [store, *(open_again() for _ in range(3))]

        def add(place: int) -> list[int]:
            return [stores[place].keep_job(version(f"{place}{number}")).number for number in range(5)]

        numbers = [number for found in at_once(4, add) for number in found]
        assert sorted(numbers) == list(range(20))
        same = at_once(4, lambda place: stores[place].keep_job(version("same")).number)
        assert set(same) == {20}
