"""What every store must honour about documents: whatever JSON was pushed comes back the same, however it is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.errors import NotFoundError
from launcher.item import Sweep
from launcher.outcome import Failed
from launcher.queues import Store
from launcher.spec import LaunchSpec
from tests.queues.steps import Broken, OpenAgain, ids, pop, push_and_pop, push_one, spec, strict

BIG: dict[str, Any] = {
    "resource": "slurm",
    "nothing": None,
    "yes": True,
    "one": 1,
    "one point": 1.0,
    "minus zero": -0.0,
    "tiny": 5e-324,
    "huge": 1.7976931348623157e308,
    "64 bits": [2**63 - 1, -(2**63), 2**64 - 1, 2**64, 2**53 + 1],
    "beyond": 10**30,
    "empty": {"": {}, "list": [], "text": ""},
    "ünï→код🦀": {"日本": "語\u2028\u0000\t\"'\\", "~": "a/b.c[0]"},
    "deep": {"a": {"b": {"c": {"d": {"e": {"f": [1, [2, {"g": None}]]}}}}}},
    "wide": {f"key{number}": {"value": number, "text": "x" * 50} for number in range(200)},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """BIG with another value at a dotted path."""
    document: dict[str, Any] = json.loads(json.dumps(BIG))
    node = document
    *parents, last = path.split(".")
    for key in parents:
        node = node[key]
    node[last] = value
    return document


def without(path: str) -> dict[str, Any]:
    document = changed(path, None)
    node = document
    *parents, last = path.split(".")
    for key in parents:
        node = node[key]
    del node[last]
    return document


VARIANTS = [
    BIG,
    *(changed("yes", value) for value in (1, 1.0, "true", None, [True], {"a": True})),
    *(changed("one", value) for value in (True, 1.0, "1", 10**30, -(10**30))),
    *(changed("minus zero", value) for value in (0.0, 0, False)),
    *(changed("64 bits", value) for value in ([True], [1], [1.0], [], [2**64])),
    *(changed("deep.a.b.c", value) for value in (None, {}, {"d": None}, {"d": {"e": {"f": [True, [2, {"g": 0}]]}}})),
    *(changed("empty", value) for value in (None, {}, {"": None})),
    changed("ünï→код🦀.日本", "другой"),
    changed("new", {"a": None}),
    changed("deep.a.new", None),
    without("nothing"),
    without("deep.a.b"),
    without("empty."),
    {"resource": "slurm"},
    {"resource": "slurm", "wide": {f"key{number}": number for number in range(300)}},
    BIG,
]

_KEYS = st.sampled_from(["a", "b", "c", "é", ""])
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.lists(st.dictionaries(_KEYS, _VALUES, max_size=5), min_size=1, max_size=8)


class DocumentsContract:
    def test_the_document_of_an_unknown_item_is_not_found(self, store: Store) -> None:
        item_id = push_one(store)
        with pytest.raises(NotFoundError, match="unknown"):
            store.document("unknown")
        with pytest.raises(NotFoundError):
            store.document(item_id[:4])

    def test_documents_come_back_as_they_were_pushed(self, store: Store, open_again: OpenAgain) -> None:
        pushed = store.push(Sweep("s"), (LaunchSpec(document) for document in VARIANTS), again=True).ids
        assert len(pushed) == len(VARIANTS)
        seen = open_again()
        for item_id, document in zip(pushed, VARIANTS, strict=True):
            assert strict(seen.document(item_id)) == strict(document)
        popped = {lease.item.id: strict(lease.document) for lease in pop(seen)}
        assert popped == {item_id: strict(document) for item_id, document in zip(pushed, VARIANTS, strict=True)}

    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
            HealthCheck.too_slow,
        ],
    )
    @given(documents=DOCUMENTS)
    def test_any_json_document_comes_back_as_it_was_pushed(self, store: Store, documents: list[dict[str, Any]]) -> None:
        pushed = store.push(None, [LaunchSpec(document) for document in documents]).ids
        leases = pop(store)
        assert ids(leases) == list(pushed)
        for item_id, document, lease in zip(pushed, documents, leases, strict=True):
            assert strict(store.document(item_id)) == strict(document)
            assert strict(lease.document) == strict(document)

    def test_documents_of_later_pushes_do_not_mix_with_those_of_earlier_ones(
        self, store: Store, open_again: OpenAgain
    ) -> None:
        stores = [store, open_again()]
        wanted = {}
        for number in range(12):
            document = changed("one", number)
            [item_id] = stores[number % 2].push(Sweep(f"s{number % 3}"), [LaunchSpec(document)]).ids
            wanted[item_id] = strict(document)
            with pytest.raises(Broken):
                stores[number % 2].push(None, (spec(1 // 0) if seed else spec() for seed in _then_break()))
        for reader in stores:
            assert {item_id: strict(reader.document(item_id)) for item_id in wanted} == wanted

    def test_texts_that_no_database_holds_come_back_marked(self, store: Store) -> None:
        lease = push_and_pop(store)
        store.finish([(lease, Failed("run", "bad \0 byte", 1))])
        assert store.item(lease.item.id).reason == "bad \N{REPLACEMENT CHARACTER} byte"


def _then_break() -> Iterator[int]:
    yield 0
    raise Broken
