"""Combinations by number and one after another are the same, and samples are fair, reproducible and never held."""

from __future__ import annotations

import itertools
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.compose.axes import Axis, RangeStrings
from launcher.compose.grid import Selection
from launcher.compose.product import Dimension, Product, permutation

PINNED = [6, 7, 3, 2, 5, 8, 0, 1, 9, 4]
PINNED_LARGE = [159814338367606, 408963747823337]


def axis(key: str, length: int) -> Axis:
    numbers = range(length)
    return Axis(key, RangeStrings(key, numbers), numbers if length % 2 else None)


@given(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=2), max_size=4))
def test_a_product_is_the_same_by_number_and_in_turn(lengths: list[list[int]]) -> None:
    dimensions = tuple(
        Dimension(tuple(axis(f"k{place}{which}", zipped[0]) for which in range(len(zipped))))
        for place, zipped in enumerate(lengths)
    )
    product = Product(dimensions)
    expected = [
        tuple(string for strings in combination for string in strings)
        for combination in itertools.product(*([strings for strings, _ in dimension] for dimension in dimensions))
    ]
    assert [strings for strings, _ in product] == expected
    assert [product[number] for number in range(len(product))] == list(product)


def test_a_huge_range_is_never_held() -> None:
    product = Product((Dimension((axis("a", 10**9 + 1),)), Dimension((axis("b", 3),))))
    assert len(product) == 3 * 10**9 + 3
    assert product[len(product) - 1] == ((f"a={10**9}", "b=2"), (10**9, 2))
    assert next(iter(product))[0] == ("a=0", "b=0")


@given(st.integers(1, 700), st.integers(-5, 10**12))
@settings(max_examples=60)
def test_a_permutation_has_every_number_once(size: int, seed: int) -> None:
    assert sorted(permutation(size, seed)) == list(range(size))
    assert list(permutation(size, seed)) == list(permutation(size, seed))


def test_a_permutation_is_the_same_on_every_machine() -> None:
    assert list(permutation(10, 0)) == PINNED
    assert list(itertools.islice(permutation(10**15, 7), 2)) == PINNED_LARGE


def test_every_number_comes_first_about_as_often() -> None:
    first = Counter(next(permutation(10, seed)) for seed in range(5000))
    assert set(first) == set(range(10))
    assert all(400 < count < 600 for count in first.values()), first  # 500 ± 4.7 standard deviations


@given(st.integers(1, 200), st.integers(1, 250), st.integers(0, 9))
@settings(max_examples=60)
def test_a_sample_is_in_the_grids_order_unless_shuffled(size: int, n: int, seed: int) -> None:
    chosen = list(Selection(n, seed).numbers(size))
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(n, size)
    assert sorted(Selection(n, seed, shuffle=True).numbers(size)) == chosen
    assert list(Selection(None, seed, shuffle=True).numbers(size)) == list(permutation(size, seed))
