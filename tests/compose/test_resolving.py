"""A composed config becomes a plain dict: real interpolations resolve, those of the running app and macros stay."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from launcher.compose import compose_grid
from launcher.compose.resolving import plain_config
from launcher.errors import ComposeError
from launcher.template import ARGUMENT_MACROS, MACROS


def plain(text: str) -> tuple[Any, list[str]]:
    config, deferred = plain_config(OmegaConf.create(text))
    return config, list(deferred)


def problems(text: str) -> list[str]:
    with pytest.raises(ComposeError) as error:
        plain_config(OmegaConf.create(text))
    heading, *lines = str(error.value).splitlines()
    assert heading == "interpolations that do not resolve:"
    return lines


@dataclass
class Typed:
    """Fields of more than one type, as structured configs have them."""

    number: int | str = 1
    text: int | str = "a"
    flag: bool | float = True
    none: int | str | None = None
    listed: list[int | str] = field(default_factory=lambda: [1, "b"])
    referred: int | str = "${number}"
    other: Any = "${text}-${none}"
    deep: Any = "${listed}"


@dataclass
class Deferred(Typed):
    missing: int | str = "???"
    out: int | str = "${hydra:x}"


def test_fields_of_more_than_one_type_are_plain_values_too() -> None:
    config = OmegaConf.structured(Typed)
    expected = OmegaConf.to_container(config, resolve=True)
    assert isinstance(expected, dict)
    more, deferred = plain_config(OmegaConf.structured(Deferred))
    assert repr(more) == repr({**expected, "missing": "???", "out": "${hydra:x}"})
    assert deferred == ("missing", "out")
    assert_plain(more)


# -- interpolations ------------------------------------------------------------------------------------------------


def test_what_resolves_is_resolved_type_for_type() -> None:
    config, deferred = plain(
        "a: 1\nb: ${a}\nc: x-${a}\nd: {e: '${..a}', f: '${.e}'}\ng: ${d}\nh: ['${a}', '${d.e}']\ni: ${h}\nj: null\n"
        "k: ${j}\nl: 1.0\nm: ${l}\nn: true\no: ${n}\np: \\${a}\nq: ${oc.select:zz,9}\n"
    )
    assert repr(config) == repr({
        "a": 1, "b": 1, "c": "x-1", "d": {"e": 1, "f": 1}, "g": {"e": 1, "f": 1}, "h": [1, 1], "i": [1, 1], "j": None,
        "k": None, "l": 1.0, "m": 1.0, "n": True, "o": True, "p": "${a}", "q": 9,
    })  # fmt: skip
    assert deferred == []


def assert_plain(value: Any) -> None:
    assert type(value) in (dict, list, str, int, float, bool, type(None))
    for entry in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        assert_plain(entry)


def test_everything_in_it_is_plain_python() -> None:
    for text in ("a: {b: [1, {c: '${a.d}'}], d: {e: x}}", "a: {b: ['${hydra:x}', {c: '${a.d}'}], d: {e: '???'}}"):
        assert_plain(plain(text)[0])


def test_what_only_the_running_app_can_resolve_stays_as_written_and_is_listed_in_order() -> None:
    text = (
        "z: ${hydra:job.num}\ny: a-${app:1,${z}}\nx: '???'\nw: ['${x}', 1, '???']\nv: {u: '${y}', t: 'b-${x}'}\ns: 1\n"
    )
    config, deferred = plain(text)
    assert config == {
        "z": "${hydra:job.num}", "y": "a-${app:1,${z}}", "x": "???", "w": ["${x}", 1, "???"],
        "v": {"u": "${y}", "t": "b-${x}"}, "s": 1,
    }  # fmt: skip
    assert deferred == ["z", "y", "x", "w.0", "w.2", "v.u", "v.t"]


def test_a_missing_value_alone_is_deferred_wherever_it_is() -> None:
    assert plain("a: '???'\nb: {c: [1, '???']}\n") == ({"a": "???", "b": {"c": [1, "???"]}}, ["a", "b.c.1"])


def test_a_reference_to_a_part_with_deferred_leaves_lists_them_at_both_places() -> None:
    config, deferred = plain("a: {b: '${hydra:x}', c: 1}\nd: ${a}\n")
    assert config == {"a": {"b": "${hydra:x}", "c": 1}, "d": {"b": "${hydra:x}", "c": 1}}
    assert deferred == ["a.b", "d.b"]


def test_every_wrong_interpolation_is_told_at_once_with_its_leaf_and_its_text() -> None:
    assert problems(
        "a: ${nope}\nb: {c: 'x-${zz.y}'}\nd: ['${a}', ok]\ne: ${hydra:x}\nf: ${oc.env:LAUNCHER_TEST_NOT_SET}\n"
    ) == [
        "  a: '${nope}': Interpolation key 'nope' not found",
        "  b.c: 'x-${zz.y}': Interpolation key 'zz.y' not found",
        "  d.0: '${a}': Interpolation key 'nope' not found",
        "  f: '${oc.env:LAUNCHER_TEST_NOT_SET}': KeyError raised while resolving interpolation: "
        "\"Environment variable 'LAUNCHER_TEST_NOT_SET' not found\"",
    ]


@pytest.mark.parametrize("text", ["a: ${a}\n", "a: ${b}\nb: ${c}\nc: x-${a}\n"])
def test_interpolations_that_run_in_a_circle_are_told(text: str) -> None:
    told = problems(text)
    assert len(told) == text.count("\n")
    assert told[0].startswith("  a: '${")


def test_a_resolver_that_is_registered_here_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAUNCHER_TEST_SET", "value")
    assert plain("a: ${oc.env:LAUNCHER_TEST_SET}\nb: ${oc.env:LAUNCHER_TEST_NOT_SET,default}\n") == (
        {"a": "value", "b": "default"}, [],
    )  # fmt: skip


# -- the launch node -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*MACROS, *ARGUMENT_MACROS])
def test_a_macro_in_the_launch_node_stays_literal_even_if_the_config_has_a_key_of_that_name(name: str) -> None:
    config, deferred = plain(
        f"{name}: from-config\nlaunch: {{a: '${{{name}}}', b: ['x-${{{name}}}-y']}}\nc: ${{{name}}}\n"
    )
    assert config["launch"] == {"a": f"${{{name}}}", "b": [f"x-${{{name}}}-y"]}
    assert config["c"] == "from-config"
    assert deferred == []


def test_a_name_that_is_no_key_of_the_config_is_a_macro_of_the_agents_environment() -> None:
    config, _ = plain("launch: {resource_args: {slurm: {a: ['${HOME}/x', {b: '${SLURM_TMPDIR}'}]}}}\n")
    assert config["launch"] == {"resource_args": {"slurm": {"a": ["${HOME}/x", {"b": "${SLURM_TMPDIR}"}]}}}


def test_real_interpolations_in_the_launch_node_resolve_beside_macros() -> None:
    config, deferred = plain(
        "seed: 3\nmodel: {name: svm}\nlaunch:\n  name: ${model.name}-${seed}-${run_id}\n  queue_name: ${.q}\n  q: gpu\n"
        "  env: ${oc.select:model.size,small}\n  args: ['${overrides}', '--seed=${seed}', '${launch.q}']\n"
    )
    assert config["launch"] == {
        "name": "svm-3-${run_id}", "queue_name": "gpu", "q": "gpu", "env": "small",
        "args": ["${overrides}", "--seed=3", "gpu"],
    }  # fmt: skip
    assert deferred == []


def test_an_escaped_interpolation_in_the_launch_node_is_text_as_everywhere() -> None:
    config, _ = plain("seed: 3\nlaunch: {a: '\\${seed}', b: '\\${run_id}'}\n")
    assert config["launch"] == {"a": "${seed}", "b": "${run_id}"}


def test_macros_elsewhere_are_interpolations() -> None:
    assert problems("a: ${run_id}\nlaunch: {b: '${run_id}'}\n") == [
        "  a: '${run_id}': Interpolation key 'run_id' not found"
    ]


def test_a_reference_from_outside_into_the_launch_node_brings_the_macro_along() -> None:
    assert plain("launch: {a: 'x-${run_id}'}\nb: ${launch.a}\n")[0]["b"] == "x-${run_id}"


def test_a_deferred_leaf_of_the_launch_node_keeps_its_text_macros_included() -> None:
    config, deferred = plain("launch: {a: '${hydra:job.num}-${run_id}', b: '${run_id}-${app:1}-\\${x}'}\n")
    assert config["launch"] == {"a": "${hydra:job.num}-${run_id}", "b": "${run_id}-${app:1}-\\${x}"}
    assert deferred == ["launch.a", "launch.b"]


@pytest.mark.parametrize("node", ["null", "3", "text", "[1, 2]", "{}", "'???'"])
def test_a_launch_node_of_any_shape_is_left_to_who_reads_it(node: str) -> None:
    config, deferred = plain(f"launch: {node}\n")
    assert config == {"launch": OmegaConf.to_container(OmegaConf.create(f"x: {node}"))["x"]}
    assert deferred == (["launch"] if node == "'???'" else [])


@given(
    st.lists(st.sampled_from(["${seed}", "${run_id}", "${HOME}", "-", "${model.name}", "$", "{x}", " "]), max_size=6)
)
@settings(max_examples=60, deadline=None)
def test_any_text_of_the_launch_node_keeps_its_macros_and_resolves_the_rest(parts: list[str]) -> None:
    text = "".join(parts)
    # "$" before "{x}" would make another macro: as unknown as HOME, so it stays as well
    expected = text.replace("${seed}", "3").replace("${model.name}", "svm")
    config, deferred = plain_config(
        OmegaConf.create({"seed": 3, "model": {"name": "svm"}, "launch": {"name": text, "args": [text]}})
    )
    if text == "${seed}":
        assert config["launch"] == {"name": 3, "args": [3]}
    else:
        assert config["launch"] == {"name": expected, "args": [expected]}
    assert deferred == ()


def test_macros_stay_literal_in_every_point_of_a_grid_while_swept_values_arrive(tmp_path: Path) -> None:
    (tmp_path / "launch").mkdir()
    (tmp_path / "launch/local.yaml").write_text(
        "queue_name: null\nname: run-${run_id}-${seed}\n"
        "args: ['${overrides}', '${config_file}', '${USER}', '${seed}', '${hydra:job.num}']\n"
    )
    (tmp_path / "config.yaml").write_text("defaults: [{launch: local}, _self_]\nseed: 0\n")
    overrides = ["seed=1,2", "launch.queue_name=gpu", "+launch.author=${author}"]
    points = list(compose_grid(config_dir=tmp_path, config_name="config", overrides=overrides))
    assert [point.config["launch"] for point in points] == [
        {
            "name": f"run-${{run_id}}-{seed}",
            "args": ["${overrides}", "${config_file}", "${USER}", seed, "${hydra:job.num}"],
            "queue_name": "gpu",
            "author": "${author}",
        }
        for seed in (1, 2)
    ]
    assert {point.deferred for point in points} == {("launch.args.4",)}
