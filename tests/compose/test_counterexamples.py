"""Configs and grids on which a draft of the fast composer was wrong, kept by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.compose import Grid, Repository
from launcher.errors import ComposeError
from tests.compose.test_equality import assert_equal_to_hydra, write

CASES: dict[str, tuple[dict[str, str], list[str], int]] = {
    "a select whose target only the app can resolve, inside a text": (
        {"config": "a: ???\nb: ${a}\nseed: 0\nc: ${oc.select:b,7}-${seed}\n"}, ["seed=1,2"], 2,
    ),
    "a select of a key that is not there, with a swept default": (
        {"config": "seed: 0\nc: ${oc.select:nowhere,${seed}}\n"}, ["seed=1,2"], 2,
    ),
    "a swept key that another override deletes by value": ({"config": "a: 1\nb: 2\n"}, ["a=1,2", "~a=1"], 0),
    "a key added below a swept one": ({"config": "a: {b: 1}\nc: ${a}\n"}, ["a.b=1,2", "+a.d=3"], 0),
    "two overrides of which one holds the other": ({"config": "a: [1, 2]\nb: ${a}\n"}, ["a.0=5,6", "a=[7,8]"], 0),
    "escaped interpolations beside real ones": (
        {"config": 'seed: 0\na: "\\\\${seed}-${seed}"\nb: ${a}\n'}, ["seed=1,2"], 2,
    ),
    "a text that is a number again behind a typed node": (
        {"config": "defaults: [_self_, {typed: t}]\nseed: 0\n"}, ["seed=1,a", "typed.k2=1,2"], 4,
    ),
    "numbers that YAML and Hydra's grammar read differently": (
        {"config": "lr: 0\nb: x${lr}\n"}, ["lr=1e-3,1E3,0x10,1_000,.5,+3,-0,0.10"], 8,
    ),
    "a reference to a whole subtree with a swept leaf": (
        {"config": "a: {b: 1, c: {d: 2}}\ne: ${a}\nf: ${e}\ng: ${f.c.d}\n"}, ["a.c.d=3,4"], 2,
    ),
    "a reference through a swept name": ({"config": "a: {x: 1, y: 2}\np: x\nb: ${a.${p}}\n"}, ["p=x,y"], 2),
    "a swept name that leads nowhere": ({"config": "a: {x: 1}\np: x\nb: ${a.${p}}\n"}, ["p=x,z"], 1),
    "a swept leaf below a reference": ({"config": "a: {b: 1}\nc: ${a}\n"}, ["c.b=2,3"], 0),
    "a macro and a swept key in one launch argument": (
        {"config": "seed: 0\nlaunch: {args: ['${seed}-${run_id}', '${seed}']}\n"}, ["seed=1,2"], 2,
    ),
    "an inner resolver that is not registered": (
        {"config": "seed: 0\na: ${oc.decode:${nope:${seed}}}\n"}, ["seed=1,2"], 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_it_equals_hydra_now(tmp_path: Path, name: str) -> None:
    files, overrides, patched = CASES[name]
    write(tmp_path, files)
    assert assert_equal_to_hydra(tmp_path, "config", overrides) == patched


def test_a_leaf_that_selects_itself_is_told_as_such(tmp_path: Path) -> None:
    write(tmp_path, {"config": "seed: 0\na: ${oc.select:a,7}\n"})
    with pytest.raises(ComposeError, match=r"a: '\$\{oc.select:a,7\}': it refers to itself, without an end$"):
        list(Grid.of(Repository(tmp_path), "config", ["seed=1,2"], multirun=True))


def test_a_config_that_refers_to_itself_ends_at_once(tmp_path: Path) -> None:
    write(tmp_path, {"config": "seed: 0\na: {x: '${b}', y: '${b}'}\nb: {x: '${a}', y: '${a}'}\n"})
    with pytest.raises(ComposeError) as error:
        list(Grid.of(Repository(tmp_path), "config", ["seed=1,2"], multirun=True))
    assert str(error.value).endswith("\n  a.x.x: '${a}': the config refers to itself, without an end")


def test_a_config_that_makes_itself_anew_ends_at_once(tmp_path: Path) -> None:
    """Each `oc.dict.values` is a new container with two more of them: 2^100 of them to the bottom."""
    values = "'${oc.dict.values:model}'"
    write(tmp_path, {"config": f"seed: 0\nmodel: {{k: {values}, deep: {{k: [{values}]}}, l: '???'}}\n"})
    with pytest.raises(ComposeError, match=r"  model\.k\.0\.0\.…: .*: the config refers to itself, without an end$"):
        list(Grid.of(Repository(tmp_path), "config", ["seed=1,2"], multirun=True))
