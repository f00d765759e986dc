"""Pushes that arrive together: over a store that fails in the middle of one, and with others that are wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from launcher.errors import NotFoundError, StoreError
from launcher.item import ItemFilter
from launcher.queues import Store
from launcher.server import items
from launcher.server.pushing import Pusher
from launcher.spec import LaunchSpec
from tests.server.conftest import Served
from tests.server.test_protocol import QUEUE, spec

DOCUMENT = {"overrides": {"entry_point": ["true"]}, "resource": "local-process"}
PATIENCE_SECONDS = 60


class Faulty:
    """A store whose next pushes fail: before they are written, or after that, as when its reply is lost."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.before = self.after = 0
        self.writes = threading.Event()
        self.writes.set()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(self.store, name)
        return found

    def push(self, *given: Any, **more: Any) -> Any:
        assert self.writes.wait(PATIENCE_SECONDS)
        if self.before:
            self.before -= 1
            raise StoreError("cannot be reached")
        receipt = self.store.push(*given, **more)
        if self.after:
            self.after -= 1
            raise StoreError("the connection broke")
        return receipt


@pytest.fixture
def faulty(store: Store) -> Faulty:
    return Faulty(store)


@pytest.fixture
def pusher(faulty: Faulty) -> Iterator[Pusher]:
    made = Pusher(faulty, threading.Lock())  # type: ignore[arg-type]
    yield made
    made.close()


def specs(*queues: str) -> list[LaunchSpec]:
    return [LaunchSpec(DOCUMENT, queue) for queue in queues]


@pytest.mark.parametrize("number", [1, 5])
def test_what_was_written_before_the_reply_was_lost_is_added_once(
    number: int, pusher: Pusher, faulty: Faulty, store: Store
) -> None:
    faulty.after = 9
    made = pusher.push(specs(*["default"] * number))
    told = {each.result(PATIENCE_SECONDS) for each in made}
    assert [item.id for item in store.items(ItemFilter()) if item.id not in told] == []
    assert len(told) == number


def test_what_was_not_written_is_told_and_not_added(pusher: Pusher, faulty: Faulty, store: Store) -> None:
    faulty.before = 9
    for each in pusher.push(specs("default", "default")):
        with pytest.raises(StoreError, match="cannot be reached"):
            each.result(PATIENCE_SECONDS)
    assert list(store.items(ItemFilter())) == []


def test_a_queue_that_is_gone_is_the_fault_of_no_other_push(pusher: Pusher, faulty: Faulty, store: Store) -> None:
    faulty.writes.clear()  # so that the next ones wait together
    first, *rest = pusher.push(specs("default", "default", "gone", "default"))
    faulty.writes.set()
    before, gone, after = rest
    told = {each.result(PATIENCE_SECONDS) for each in (first, before, after)}
    with pytest.raises(NotFoundError, match="'gone'"):
        gone.result(PATIENCE_SECONDS)
    assert {item.id for item in store.items(ItemFilter())} == told


# -- several in one request -------------------------------------------------------------------------------------------

NAMED = (
    '{name}: pushToRunQueueByName(input: {{entityName: "team", projectName: "p", queueName: "gpu", runSpec: {spec}}})'
)
GOOD = spec()


def pushed(served: Served, *texts: str) -> tuple[dict[str, Any], list[str]]:
    """What is told of pushes of these specs in one document, by their names p0, p1, ...; and the IDs of all items."""
    fields = [NAMED.format(name=f"p{place}", spec=json.dumps(text)) for place, text in enumerate(texts)]
    response = served.ask(f"mutation {{ {' '.join(f'{field} {{ runQueueItemId }}' for field in fields)} }}")
    return response.json(), [item.id for item in served.store.items(ItemFilter())]


FIELDS = ("entity", "project", "author", "job", "resource", "git", "docker", "overrides", "run_id", "name", "sweep_id")


@pytest.mark.parametrize("bad", [*({name: ["x"]} for name in FIELDS), {"entity": {"a": 1}}, {"entity": "lab"}])
def test_one_spec_that_is_wrong_is_the_fault_of_no_other_in_its_request(bad: dict[str, Any], served: Served) -> None:
    served.data(QUEUE, name="gpu")
    told, ids = pushed(served, GOOD, GOOD, spec(**bad), GOOD)
    assert [each["path"] for each in told["errors"]] == [["p2"]]
    assert "internal error" not in told["errors"][0]["message"]
    assert told["data"].pop("p2") is None
    assert sorted(each["runQueueItemId"] for each in told["data"].values()) == sorted(ids)
    assert len(ids) == 3


def test_a_defect_of_ours_is_the_fault_of_no_other_push(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.data(QUEUE, name="gpu")
    plain = items.spec_of

    def broken(ask: Any, target: Any, text: str, *more: Any) -> LaunchSpec:
        if "broken" in text:
            raise ZeroDivisionError
        return plain(ask, target, text, *more)

    monkeypatch.setattr(items, "spec_of", broken)
    told, ids = pushed(served, GOOD, spec(name="broken"), GOOD)
    assert "internal error: ZeroDivisionError" in told["errors"][0]["message"]
    assert len(ids) == 2
