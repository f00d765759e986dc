"""A config repository as Hydra sees it, and errors that name what was wrong and the nearest known names."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.version import VersionBase, getbase
from omegaconf import OmegaConf
from packaging.version import Version

from launcher.compose import Grid, Repository, compose_grid
from launcher.errors import ComposeError

TREE = {
    "config.yaml": "defaults: [{model: svm}, {opt@trainer.opt: sgd}, _self_]\nseed: 0\nnested: {x: {y: 1}}\n",
    "other.yaml": "x: ${nope}\n",
    "model/svm.yaml": "name: svm\n",
    "model/mlp.yaml": "name: mlp\nhidden: [8]\n",
    "model/_hidden.yaml": "name: hidden\n",
    "model/large/vit.yaml": "name: vit\n",
    "opt/sgd.yaml": "rate: 1\n",
}


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return written(tmp_path / "conf", TREE)


def message(repository: Repository, config_name: str, *overrides: str) -> str:
    """What a multirun of these overrides is refused with."""
    with pytest.raises(ComposeError) as error:
        list(Grid.of(repository, config_name, overrides, multirun=True))
    return str(error.value)


# -- composing -----------------------------------------------------------------------------------------------------


def test_composing_gives_what_hydra_composes_interpolations_and_flags_included(tree: Path) -> None:
    overrides = ["seed=3", "+ref=${seed}"]
    config = Repository(tree).compose("config", overrides)
    with initialize_config_dir(str(tree), version_base=None):
        expected = compose("config", overrides)
    assert OmegaConf.to_container(config) == OmegaConf.to_container(expected)
    assert list(config) == list(expected)
    assert OmegaConf.is_struct(config) == OmegaConf.is_struct(expected)
    assert "hydra" not in config


def test_a_folder_may_be_relative_and_text(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree.parent)
    assert Repository("conf").folder == tree
    assert Repository("conf").compose("config", ["seed=3"]).seed == 3


def test_what_composing_changes_in_one_config_is_not_in_the_next(tree: Path) -> None:
    repository = Repository(tree)
    first = repository.compose("config", ["nested.x.y=5", "++model.name=changed"])
    OmegaConf.update(first, "nested.x.y", 6)
    assert repository.compose("config", []) == Repository(tree).compose("config", [])


def test_each_search_path_has_files_of_its_own(tree: Path, tmp_path: Path) -> None:
    other = written(tmp_path / "other", {"model/far.yaml": "name: far\n", "model/svm.yaml": "name: shadowed\n"})
    repository = Repository(tree)
    beside = f"hydra.searchpath=[file://{other}]"
    for _ in range(2):
        assert repository.compose("config", [beside, "model=far"]).model.name == "far"
        assert repository.compose("config", [beside]).model.name == "svm"
        with pytest.raises(ComposeError, match="no option 'far'"):
            repository.compose("config", ["model=far"])


def test_a_folder_that_is_not_there_is_told_with_what_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("nowhere", "file"):
        with pytest.raises(ComposeError) as error:
            Repository(tmp_path / name)
        assert str(error.value) == (
            f"config folder {tmp_path / name} does not exist; name it with --config-dir, or as config_dir in "
            "[tool.launcher] of pyproject.toml"
        )


def test_changes_of_a_file_are_seen_by_the_next_composing(tree: Path) -> None:
    repository = Repository(tree)
    assert repository.compose("config", []).model.name == "svm"
    written(tree, {"model/svm.yaml": "name: changed\n", "model/new.yaml": "name: new\n"})
    assert repository.compose("config", []).model.name == "changed"
    assert repository.compose("config", ["model=new"]).model.name == "new"


def test_changes_of_a_package_are_seen_by_the_next_grid(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "edited_package/conf/model/own.yaml"
    path.parent.mkdir(parents=True)
    for folder in path.parents[1:3]:
        (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    overrides = ["hydra.searchpath=[pkg://edited_package.conf]", "model=own"]
    for name in ("before", "after"):
        path.write_text(f"name: {name}\n")
        assert Repository(tree).compose("config", overrides).model.name == name
    path.unlink()
    with pytest.raises(ComposeError, match="own"):
        Repository(tree).compose("config", overrides)


def test_the_params_of_the_sweeper_are_override_strings_in_their_order(tree: Path) -> None:
    written(tree, {"swept.yaml": "a: 1\nhydra: {sweeper: {params: {a: 'range(2)', +b: '1,2'}}}\n"})
    repository = Repository(tree)
    assert repository.sweeper_params("swept", []) == ["a=range(2)", "+b=1,2"]
    assert repository.sweeper_params("swept", ["hydra.sweeper.params.a=3"]) == ["a=3", "+b=1,2"]
    assert repository.sweeper_params("config", ["seed=1,2"]) == []


def test_a_running_hydra_app_keeps_its_own_configs(tree: Path, tmp_path: Path) -> None:
    app = written(tmp_path / "app", {"main.yaml": "mine: 1\n"})
    with initialize_config_dir(str(app), version_base=None):
        [point] = compose_grid(config_dir=tree, config_name="config", overrides=["seed=4"])
        assert point.config["seed"] == 4
        assert compose("main") == {"mine": 1}
    assert not GlobalHydra.instance().is_initialized()


@pytest.mark.parametrize("version_base", ["1.1", "1.3"])
def test_a_running_hydra_app_keeps_its_version_base_and_its_job_name(tree: Path, version_base: str) -> None:
    with hydra_globals(version_base, "train"):
        [point] = compose_grid(config_dir=tree, config_name="config", overrides=["seed=4"])
        assert point.config["seed"] == 4
        assert (str(getbase()), JobRuntime.instance().get("name")) == (version_base, "train")
        with pytest.raises(ComposeError):
            Repository(tree).compose("config", ["sed=4"])
        assert (str(getbase()), JobRuntime.instance().get("name")) == (version_base, "train")


@contextmanager
def hydra_globals(version_base: str, name: str) -> Iterator[None]:
    """A Hydra app that has started; Hydra itself has no way back from that."""
    state = copy.deepcopy(Singleton.get_state())
    VersionBase.instance().setbase(Version(version_base))
    JobRuntime.instance().set("name", name)
    yield
    Singleton.set_state(state)


def test_the_search_path_may_be_extended_on_the_command_line(tree: Path, tmp_path: Path) -> None:
    written(tmp_path / "more", {"model/rnn.yaml": "name: rnn\n"})
    overrides = [f"hydra.searchpath=[file://{tmp_path}/more]", "model=svm,rnn"]
    points = list(compose_grid(config_dir=tree, config_name="config", overrides=overrides))
    assert [point.config["model"]["name"] for point in points] == ["svm", "rnn"]
    assert [point.overrides[1:] for point in points] == [("model=svm",), ("model=rnn",)]


def test_the_same_points_come_out_in_another_process_without_a_home(tree: Path) -> None:
    program = (
        "import sys; from launcher import compose_grid\n"
        "for p in compose_grid(config_dir=sys.argv[1], config_name='config', overrides=['seed=1,2']): print(p.config)"
    )
    environ = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tree)], env=environ, capture_output=True, text=True, check=True
    )
    points = compose_grid(config_dir=tree, config_name="config", overrides=["seed=1,2"])
    assert done.stdout.splitlines() == [str(point.config) for point in points]


# -- overrides that do not parse -----------------------------------------------------------------------------------


def test_all_overrides_that_do_not_parse_are_told_at_once(tree: Path) -> None:
    with pytest.raises(ComposeError) as error:
        Repository(tree).parse(["seed=1", "seed", "model=[1", "lr=foo(1)", "x=1"])
    lines = str(error.value).splitlines()
    assert lines[0] == "override 'seed' does not parse: missing EQUAL at '<EOF>'; expected key=value or group=option"
    assert lines[1].startswith("override 'model=[1' does not parse: ")
    assert lines[2].startswith("override 'lr=foo(1)' does not parse: ")
    assert "Unknown function 'foo'" in lines[2]
    assert "override 'seed=1'" not in str(error.value)
    assert "hydra.cc" not in str(error.value)


def test_overrides_are_read_as_hydra_reads_them(tree: Path) -> None:
    one, two, three = Repository(tree).parse(["model=mlp,svm", "~seed", "+a.b={c: 'd e'}"])
    assert (one.is_sweep_override(), list(one.sweep_string_iterator())) == (True, ["mlp", "svm"])
    assert (two.is_delete(), two.input_line) == (True, "~seed")
    assert (three.is_add(), three.key_or_group, three.value()) == (True, "a.b", {"c": "d e"})


def test_a_glob_is_read_as_the_options_that_match(tree: Path) -> None:
    [parsed] = Repository(tree).parse(["model=glob(*,exclude=_*)"])
    assert list(parsed.sweep_string_iterator()) == ["mlp", "svm"]


# -- names that are not there --------------------------------------------------------------------------------------


def test_an_unknown_config_is_told_with_the_nearest_and_all_known_ones(tree: Path) -> None:
    assert message(Repository(tree), "confg") == (
        f"no config named 'confg' in {tree}; did you mean 'config'? known: config, other"
    )


def test_an_unknown_option_is_told_with_the_nearest_and_all_known_ones_but_hidden_ones(tree: Path) -> None:
    assert message(Repository(tree), "config", "model=svn") == (
        f"no option 'svn' in config group 'model' of {tree}; did you mean 'svm'? known: mlp, svm"
    )
    assert message(Repository(tree), "config", "opt@trainer.opt=adam") == (
        f"no option 'adam' in config group 'opt' of {tree}; known: sgd"
    )


def test_an_unknown_option_of_a_nested_group_is_told(tree: Path) -> None:
    assert message(Repository(tree), "config", "model=large/vut") == (
        f"no option 'vut' in config group 'model/large' of {tree}; did you mean 'vit'? known: vit"
    )


def test_an_unknown_option_of_hydras_own_groups_is_told(tree: Path) -> None:
    told = message(Repository(tree), "config", "hydra/launcher=slurm")
    assert told.startswith(f"no option 'slurm' in config group 'hydra/launcher' of {tree}; known: ")
    assert "basic" in told


def test_an_unknown_group_of_a_defaults_list_is_told_with_the_nearest_ones(tree: Path) -> None:
    written(tree, {"bad.yaml": "defaults: [{modle: svm}]\n"})
    told = message(Repository(tree), "bad")
    assert told.startswith(f"no config group 'modle' in {tree} (for modle=svm); did you mean 'model'? known: ")
    assert "model, opt" in told


@pytest.mark.parametrize("multirun", [True, False])
def test_an_unknown_key_is_told_with_the_nearest_ones(tree: Path, multirun: bool) -> None:
    with pytest.raises(ComposeError) as error:
        list(Grid.of(Repository(tree), "config", ["model=mlp", "sead=1"], multirun=multirun))
    assert str(error.value) == (
        "no key 'sead' in config 'config' (overrides: model=mlp, sead=1); did you mean 'seed'? "
        "To add a new key, write +sead=…"
    )


def test_an_unknown_nested_key_is_told_with_the_nearest_ones(tree: Path) -> None:
    assert "did you mean 'nested.x.y'" in message(Repository(tree), "config", "nested.x.yy=1")


def test_the_nearest_keys_are_those_of_the_config_that_the_overrides_choose(tree: Path) -> None:
    told = message(Repository(tree), "config", "model=mlp", "model.hiden=[4]")
    assert told.startswith(
        "no key 'model.hiden' in config 'config' (overrides: model=mlp, model.hiden=[4]); did you mean "
    )
    assert "'model.hidden'" in told
    assert "no key 'model.hidden' in config 'config'" in message(Repository(tree), "config", "model.hidden=[4]")


def test_an_unknown_group_on_the_command_line_is_told_with_the_nearest_one(tree: Path) -> None:
    assert "no key 'modle' in config 'config' (overrides: modle=svm); did you mean 'model'" in message(
        Repository(tree), "config", "modle=svm"
    )


def test_an_unknown_key_like_no_other_is_told_in_whole_sentences(tree: Path) -> None:
    assert message(Repository(tree), "config", "zzz.qqq=1") == (
        "no key 'zzz.qqq' in config 'config' (overrides: zzz.qqq=1); no key has a similar name. "
        "To add a new key, write +zzz.qqq=…"
    )


def test_a_key_that_is_there_is_not_told_to_be_missing_when_its_value_does_not_fit(tree: Path) -> None:
    told = message(Repository(tree), "config", "nested.x={z:1}")
    assert "nested.x" in told
    assert "no key 'nested.x' in" not in told


# -- what Hydra refuses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            ["~nope"],
            "config 'config' with overrides ~nope does not compose: Could not delete from config. 'nope' does not",
        ),
        (["+seed=3"], "Could not append to config. An item is already at 'seed'."),
        (["~model=mlp"], "Could not delete 'model=mlp'. No match in the defaults list"),
        (["+model=mlp"], "Multiple values for model."),
        (["hydra.job.num=1,2"], "Sweeping over Hydra's configuration is not supported : 'hydra.job.num=1,2'"),
    ],
)
def test_what_hydra_refuses_is_told_in_its_words_with_the_overrides(
    tree: Path, overrides: list[str], told: str
) -> None:
    full = message(Repository(tree), "config", *overrides)
    assert told in full
    assert full.startswith(f"config 'config' with overrides {', '.join(overrides)} does not compose: ")


def test_a_file_that_is_not_yaml_is_told_with_its_place(tree: Path) -> None:
    written(tree, {"broken.yaml": "a: [1\n"})
    told = message(Repository(tree), "broken")
    assert told.startswith(f"config 'broken' in {tree} does not compose: ")
    assert f'"{tree}/broken.yaml", line 2' in told


@pytest.mark.parametrize("text", ["[1, 2]\n", "defaults: 3\n", "a: ${b\n", "defaults: [{a: {b: c}}]\n"])
def test_a_config_of_a_wrong_shape_is_a_compose_error_that_names_it(tree: Path, text: str) -> None:
    written(tree, {"wrong.yaml": text})
    assert "'wrong'" in message(Repository(tree), "wrong")


def test_an_interpolation_to_a_key_that_is_not_there_is_told_with_its_leaf(tree: Path) -> None:
    assert message(Repository(tree), "other", "+y=1,2") == (
        "interpolations that do not resolve:\n  x: '${nope}': Interpolation key 'nope' not found"
    )
