"""Packing: whatever two documents hold, a base and a difference give the second one back, type for type."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from launcher import canonical
from launcher.queues.packing import BASES, LARGEST, Packer, unpack

VALUES = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 0.0, -0.0, 1.0, "", "a", "1", 2**70])
    | st.integers()
    | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=10,
)
DOCUMENTS = st.dictionaries(st.sampled_from("abcdef"), VALUES, max_size=6)


def text(value: Any) -> str:
    return canonical.encode(value, sort=True)


def stored(value: Any) -> Any:
    """`value` as a store gives it back."""
    return canonical.decode(canonical.encode(value))


def unpacked(documents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pack, store and unpack, as a store does; a base is stored when the packer says so."""
    packer = Packer()
    bases: dict[int, dict[str, Any]] = {}
    results = []
    for document in documents:
        number, changes, new = packer.pack(document)
        assert new == (number not in bases)
        if new:
            assert changes == []
            bases[number] = stored(document)
        results.append(unpack(bases[number], stored(changes)))
    return results


@given(DOCUMENTS, DOCUMENTS)
@settings(max_examples=400)
@example({"a": 1}, {"a": True})
@example({"a": 0.0}, {"a": -0.0})
@example({"a": [1, {"x": 1, "y": 2}]}, {"a": [1.0, {"y": 2, "x": 1}]})
@example({"a": {"b": {"c": 1}}, "d": 2}, {"a": {"b": {}}})
@example({"a": {"b": 1}}, {"a": []})
@example({"a": None}, {})
def test_base_and_difference_give_any_second_document_back_exactly(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert list(map(text, unpacked([first, second]))) == [text(first), text(second)]


@given(st.lists(DOCUMENTS, max_size=30))
@settings(max_examples=60)
def test_a_sequence_of_documents_comes_back_exactly(documents: list[dict[str, Any]]) -> None:
    assert list(map(text, unpacked(documents))) == list(map(text, documents))


@given(DOCUMENTS, DOCUMENTS)
@settings(max_examples=100)
def test_neither_packing_nor_unpacking_changes_what_it_was_given(first: dict[str, Any], second: dict[str, Any]) -> None:
    before = copy.deepcopy([first, second])
    packer = Packer()
    packer.pack(first)
    _, changes, new = packer.pack(second)
    if not new:
        kept = copy.deepcopy(changes)
        unpack(first, changes)
        assert changes == kept
    assert [first, second] == before


def test_a_document_of_a_known_base_costs_only_its_differences() -> None:
    packer = Packer()
    base = {"seed": 0, "model": {"name": "svm", "args": [1, 2]}, "old": 1}
    assert packer.pack(base) == (0, [], True)
    assert packer.pack({"seed": 1, "model": {"name": "svm", "args": [1, 3]}}) == (
        0,
        [[["seed"], 1], [["model", "args"], [1, 3]], [["old"]]],
        False,
    )


@pytest.mark.parametrize(("changed", "new"), [(LARGEST, False), (LARGEST + 1, True)])
def test_a_document_that_differs_in_more_places_than_allowed_becomes_a_base(changed: int, new: bool) -> None:
    packer = Packer()
    packer.pack({f"k{number}": 0 for number in range(200)})
    number, _, made = packer.pack({f"k{number}": int(number < changed) for number in range(200)})
    assert (number, made) == (int(new), new)


@pytest.mark.parametrize(("removed", "new"), [(LARGEST, False), (LARGEST + 1, True)])
def test_a_document_that_lacks_more_keys_than_allowed_becomes_a_base(removed: int, new: bool) -> None:
    packer = Packer()
    packer.pack({f"k{number}": 0 for number in range(200)})
    assert packer.pack({f"k{number}": 0 for number in range(removed, 200)})[2] is new


def test_group_choices_that_alternate_make_one_base_each_as_long_as_they_are_few() -> None:
    def document(group: int, seed: int) -> dict[str, Any]:
        return {"seed": seed, **{f"g{group}_{number}": number for number in range(LARGEST)}}

    rounds = [(group, seed) for seed in range(3) for group in range(BASES)]
    packer = Packer()
    packed = [packer.pack(document(*pair)) for pair in rounds]
    assert sum(new for _, _, new in packed) == BASES
    assert all(number == group for (group, _), (number, _, _) in zip(rounds, packed, strict=True))
    assert unpacked([document(*pair) for pair in rounds]) == [document(*pair) for pair in rounds]


def test_a_base_that_was_given_up_is_not_used_again_and_numbers_are_not_reused() -> None:
    documents = [{f"g{group}_{number}": 0 for number in range(LARGEST)} for group in range(BASES + 1)]
    packer = Packer()
    numbers = [packer.pack(document)[0] for document in [*documents, documents[0]]]
    assert numbers == list(range(BASES + 2))
