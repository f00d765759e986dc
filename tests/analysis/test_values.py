"""What values mean: as Hydra reads them, and the same again where their text is given back as a condition."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from launcher.analysis.conditions import Condition
from launcher.analysis.table import tabulate
from launcher.analysis.values import meant, order
from launcher.compose.sweepfile import override_value
from tests.analysis.making import record

TRICKY = (
    "1_", "1__0", "1_0", "1e5", "1e5_", "1e-3", "1.", ".5", "1._5", "007", "0x1F", "0b1", "0o7", "1:30", "yes", "no",
    "on", "true", "True", "null", "~", "None", "inf", "-inf", "nan", ".inf", "+5", "-0", "2024-01-01", "1,2", "a b", "",
    "'a'", '"', "\\", "a\\ b", "it's \\'", "[1,2]", "{a:1}", "${x}", "١", "a=b", "=b", "<3", "!a", " a ", "\n", "\t",
)  # fmt: skip
TEXTS = st.sampled_from(TRICKY) | st.text("019_.:eE+-xinfat'\"\\ ,", max_size=6) | st.text(max_size=4)
VALUES = TEXTS | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False)


@cache
def parser() -> OverridesParser:
    return OverridesParser.create()


def parsed(text: str) -> Override | None:
    """What Hydra reads; None where it reads nothing, or several values."""
    try:
        override = parser().parse_override(f"key={text}")
        return None if override.is_sweep_override() else override
    except (HydraException, ValueError):
        return None


@given(st.text("0129_.:eE+-xXinfatrueNl'\"\\ \t=$/", max_size=7) | st.sampled_from(TRICKY))
@example("'it\\'s'")
@example("'a\\\\'")
@example("a\\ b\\ ")
@example("\\\\ ")
@example("1\\")
@settings(max_examples=800, deadline=None)
def test_a_text_means_what_hydra_takes_it_for(text: str) -> None:
    assume(not re.search(r"^[ \t]+:|:[ \t]+$", text))  # Hydra keeps spaces there, alone; no grid writes them
    override = parsed(text)
    assume(override is not None)
    assert override is not None
    value = override.value()
    assume(value is None or isinstance(value, str | int | float))
    assert repr(meant(text)) == repr(value)
    assert repr(meant(override.get_value_element_as_str())) == repr(value)  # as points of a grid have it


@given(VALUES)
@settings(max_examples=300, deadline=None)
def test_what_launcher_writes_means_the_value_it_was(value: Any) -> None:
    assert repr(meant(override_value(value))) == repr(value)


def same(one: Any, other: Any) -> bool:
    kinds = [bool if isinstance(value, bool) else float if isinstance(value, int | float) else type(value)
             for value in (one, other)]  # fmt: skip
    return kinds[0] is kinds[1] and bool(one == other)


@given(VALUES, VALUES)
@example("1", 1)
@example(True, 1)
@example("true", True)
@example("null", None)
@example("1_", 1)
@example(1, 1.0)
@settings(max_examples=400, deadline=None)
def test_a_text_given_back_as_a_condition_selects_the_same_value_of_the_same_type(one: Any, other: Any) -> None:
    texts = [override_value(value) for value in (one, other)]
    table = tabulate([record({"key": text}) for text in texts])
    condition = Condition.parse(f"key={texts[0]}")
    assert len(table.where([condition])) == 1 + same(one, other)
    assert len(table.where([Condition.parse(f"key!={texts[0]}")])) == 1 - same(one, other)


def test_numbers_of_any_size_are_ordered() -> None:
    large = "1" + "0" * 400
    assert sorted(["1", f"-{large}", large, "0.5", "9" * 5000], key=order) == [
        f"-{large}",
        "0.5",
        "1",
        large,
        "9" * 5000,
    ]
