"""Packing: whatever two documents hold, a base and a difference give the second one back, type for type."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from launcher import canonical
from launcher.queues.packing import BASES, LARGEST, Packer, Shape, unpack

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
    """Pack, store and unpack, as a store does; bases and shapes are stored when the packer hands them out."""
    packer = Packer()
    bases: dict[int, dict[str, Any]] = {}
    shapes: dict[int, Shape] = {}
    results = []
    for document in documents:
        number, leaves = packer.pack(document)
        new_bases, new_shapes = packer.take_new()
        bases |= {number: stored(base) for number, base in new_bases}
        shapes |= dict(new_shapes)
        shape = shapes[number]
        results.append(unpack(bases[shape.base], stored(shape.changed), stored(shape.gone), stored(leaves)))
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
    number, leaves = packer.pack(second)
    shape = dict(packer.take_new()[1])[number]
    if shape.base == 0:
        kept = copy.deepcopy(leaves)
        unpack(first, shape.changed, shape.gone, leaves)
        assert leaves == kept
    assert [first, second] == before


def test_a_document_of_a_known_base_costs_only_its_differences() -> None:
    packer = Packer()
    base = {"seed": 0, "model": {"name": "svm", "args": [1, 2]}, "old": 1}
    assert packer.pack(base) == (0, [])
    number, leaves = packer.pack({"seed": 1, "model": {"name": "svm", "args": [1, 3]}})
    shape = dict(packer.take_new()[1])[number]
    assert shape == Shape(0, (("model", "args"), ("seed",)), (("old",),))
    assert leaves == [[1, 3], 1]


def test_the_documents_of_a_grid_share_one_shape_though_some_values_equal_the_bases() -> None:
    packer = Packer()
    grid = [{"seed": seed, "lr": lr, "name": f"{seed}-{lr}"} for seed in range(20) for lr in (0.1, 0.2)]
    numbers = [packer.pack(document)[0] for document in grid]
    bases, shapes = packer.take_new()
    assert (len(bases), len(shapes)) == (1, 3)  # nothing differs; lr and name; all three
    assert numbers[2:] == [2] * (len(grid) - 2)
    assert unpacked(grid) == grid


def bases_made(documents: Sequence[dict[str, Any]]) -> int:
    packer = Packer()
    for document in documents:
        packer.pack(document)
    return len(packer.take_new()[0])


@pytest.mark.parametrize(("changed", "made"), [(LARGEST, 1), (LARGEST + 1, 2)])
def test_a_document_that_differs_in_more_places_than_allowed_becomes_a_base(changed: int, made: int) -> None:
    first = {f"k{number}": 0 for number in range(200)}
    assert bases_made([first, {f"k{number}": int(number < changed) for number in range(200)}]) == made


@pytest.mark.parametrize(("removed", "made"), [(LARGEST, 1), (LARGEST + 1, 2)])
def test_a_document_that_lacks_more_keys_than_allowed_becomes_a_base(removed: int, made: int) -> None:
    first = {f"k{number}": 0 for number in range(200)}
    assert bases_made([first, {f"k{number}": 0 for number in range(removed, 200)}]) == made


def test_group_choices_that_alternate_make_one_base_each_as_long_as_they_are_few() -> None:
    def document(group: int, seed: int) -> dict[str, Any]:
        return {"seed": seed, **{f"g{group}_{number}": number for number in range(LARGEST)}}

    rounds = [document(group, seed) for seed in range(3) for group in range(BASES)]
    assert bases_made(rounds) == BASES
    assert unpacked(rounds) == rounds


def test_a_base_that_was_given_up_is_not_used_again() -> None:
    documents = [{f"g{group}_{number}": 0 for number in range(LARGEST)} for group in range(BASES + 1)]
    assert bases_made([*documents, documents[0]]) == BASES + 2
    assert unpacked([*documents, documents[0]]) == [*documents, documents[0]]
