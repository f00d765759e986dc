"""YAML: what is written is read back as it was, and what people write is read as a config would be."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from launcher.errors import UsageError
from launcher.yaml_text import read_yaml, yaml_text

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | (st.text(max_size=6) | st.text("019_.:eE+-xinfaNytso~", max_size=6))
    | st.sampled_from(
        ["yes", "null", "~", "1e3", "0x1", "12:30", "2020-01-01", "???", "${x}", "- a", "a: b", "\n", "1_0"]
    )
)
CONFIGS = st.dictionaries(
    st.text(max_size=4),
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


@given(CONFIGS)
@settings(max_examples=150, deadline=None)
def test_yaml_gives_the_config_back_type_for_type_in_the_same_order(config: dict[str, Any]) -> None:
    assert repr(yaml.safe_load(yaml_text(config))) == repr(config)


@given(st.dictionaries(st.sampled_from("abc"), SCALARS, max_size=3))
@example({"a": "1e3"})
@example({"a": "1e-05"})
@settings(max_examples=100, deadline=None)
def test_omegaconf_reads_the_yaml_as_the_config_it_was(config: dict[str, Any]) -> None:
    assert repr(OmegaConf.to_container(OmegaConf.create(yaml_text(config)))) == repr(config)


@given(CONFIGS)
def test_a_config_is_read_back_as_it_was(config: dict[str, Any]) -> None:
    assert repr(read_yaml(yaml_text(config), "a config")) == repr(config)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 0.001), ("1.0e3", 1000.0), ("2024-13-45", "2024-13-45"), ("2024-01-01", "2024-01-01"), ("1_0", 10)],
)
def test_a_value_is_what_hydra_takes_it_for(text: str, value: Any) -> None:
    assert read_yaml(f"key: {text}", "file") == OmegaConf.create(f"key: {text}") == {"key": value}


@pytest.mark.parametrize(
    ("text", "told"),
    [("a: 1\na: 2", "found duplicate key a"), ("a: &a [*a]", "Circular reference"), ("a: [", "while parsing"),
     ("[" * 3000, "recursion")],
)  # fmt: skip
def test_what_stands_for_no_value_is_told(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=f"(?s)^file a.yaml is not YAML: .*{told}"):
        read_yaml(text, "file a.yaml")
