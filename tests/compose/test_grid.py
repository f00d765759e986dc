"""A grid gives what Hydra gives: the same points in the same order, with the same override strings and configs.

Hydra itself is the oracle (oracle.py). Here every form of an override meets a config that was written for it;
test_equality.py does the same with generated trees."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from launcher.compose import Grid, Point, Repository, compose_grid
from launcher.errors import ComposeError
from tests.compose.oracle import assert_same_as_hydra, described, described_by_hydra, resolved, written
from tests.conftest import REPOSITORY, needs

SHARED = REPOSITORY.parent / "shared"

CONFIG = """
defaults:
  - model: svm
  - opt@trainer.opt: sgd
  - _self_
seed: 0
lr: 0.1
flag: false
tags: [a, b]
nothing: null
nested: {x: {y: 1}, z: "${seed}"}
name: ${model.name}-${seed}
deep: ${nested}
listed: ["${lr}", {seed: "${seed}"}]
size: ${oc.select:model.hidden,none}
decoded: ${oc.decode:"[${seed}, ${nested.x.y}]"}
keys: ${oc.dict.keys:nested}
pick: lr
which: ${.${pick}}
"""
TREE = {
    "config.yaml": CONFIG,
    "swept.yaml": CONFIG + "hydra: {sweeper: {params: {seed: '3,4', model: 'svm,mlp', +added: 'range(1)'}}}\n",
    "model/svm.yaml": "name: svm\nkernel: rbf\nc: ${lr}\n",
    "model/mlp.yaml": "name: mlp\nhidden: [8, 8]\nact: {name: relu}\n",
    "model/mlp_deep.yaml": "defaults: [mlp, _self_]\nname: deep-${seed}\nhidden: [8, 8, 8]\n",
    "opt/sgd.yaml": "rate: ${lr}\n",
    "opt/adam.yaml": "rate: ${lr}\nbetas: [0.9, 0.999]\n",
    "experiment/fast.yaml": "# @package _global_\ndefaults: [{override /model: mlp}]\nlr: 1.0\nmodel: {hidden: [2]}\n",
    "experiment/slow.yaml": "# @package _global_\ndefaults: [{override /opt@trainer.opt: adam}]\nlr: 1e-3\n",
}
GRIDS = [
    "",
    "seed=1,2 lr=0.1,1",
    "lr=true seed=3,-1,007",
    "model=svm,mlp seed=range(2)",
    "seed=1,2 model=mlp_deep,svm",
    "seed=range(4,0,-3)",
    "lr=range(0,1,0.4)",
    "seed=sort(3,1,2,reverse=true)",
    "model=glob(*) seed=sort(2)",
    "model=glob(*,exclude=mlp*) lr=tag(t,choice(1,2))",
    "model=glob([s*,mlp])",
    "seed=choice(3,1) name=str(1)",
    "lr=float(choice(1,2)) seed=int(1.5)",
    "+extra.deep=1,2 seed=3",
    "++extra=1 ++seed=5,6",
    "+nested.new=1,2 +extra=[]",
    "~tags seed=1,2",
    "~nested.x decoded=1,2",
    "~flag=false which=1,2",
    "~opt@trainer.opt lr=2",
    "+experiment=fast,slow seed=1,2",
    "+experiment=fast lr=2,3",
    "opt@trainer.opt=sgd,adam lr=1,2",
    "+opt@second=adam,sgd",
    "tags=[c],[d,e]",
    "nested.x={y:2},{y:3}",
    "model.act={name:x},{name:y} model=mlp",
    "model.hidden=[1],[2,3] model=mlp,mlp_deep",
    "nothing=null,3,x flag=true",
    "lr=1e-3,1_000,inf,nan",
    "name=",
    "name=a.b,x/y,a-b",
    "name=${model.name},x-${lr} seed=1,2",
    "lr=${seed},2 seed=1",
    "lr=${nested.x.y} nested.z=3,4",
    "nested.x.y=1,null",
    "deep=1,2",
    "seed=1 lr=2 seed=3,4",
    "seed=1 ++seed=2,3",
    "seed=1,2 hydra.verbose=true hydra/job_logging=disabled lr=3",
    "+hydra.job.env_set.A=x seed=1",
    "model.name=a,b model=svm,mlp",
    "trainer.opt.rate=7,8 lr=1,2",
    "tags.0=z,w",
    "pick=seed,lr seed=1,2",
]
QUOTED = [
    ["name='a b','c,d'"],
    ['name="it\'s",x\\,y', "tags=['a b',\"c\"]"],
    ["name='1','true','null'", "lr='1'"],
    ["name='${seed}',a\\ b", "seed=1,2"],
    ["name=a b, c"],
    ["+extra={a: [1, {b: 'x y'}]},{}", "nothing=[null]"],
    ["name='\\${seed}','é'", "seed=1,2"],
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("conf"), TREE)


@pytest.mark.parametrize("overrides", [*(grid.split() for grid in GRIDS), *QUOTED], ids=" ".join)
def test_points_are_hydras_in_order_overrides_and_configs(tree: Path, overrides: list[str]) -> None:
    assert assert_same_as_hydra(tree, "config", overrides) >= 1


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["model=glob(mlp*)", "lr=1", "seed=5"],
        ["hydra.sweeper.params.seed='8,9'", "model=svm"],
        ["+hydra.sweeper.params={lr:3}", "model=svm", "++added=5"],
        ["hydra.sweeper.params=null", "seed=1,2"],
    ],
    ids=" ".join,
)
def test_hydra_sweeper_params_span_the_grid_and_the_command_line_wins(tree: Path, overrides: list[str]) -> None:
    assert assert_same_as_hydra(tree, "swept", overrides) >= 1


def test_the_params_of_the_config_count_before_the_command_lines(tree: Path) -> None:
    grid = Grid.of(Repository(tree), "swept", ["lr=1,2", "seed=7"], multirun=True)
    assert list(grid.combinations())[:2] == [
        ("seed=7", "model=svm", "+added=0", "lr=1"),
        ("seed=7", "model=svm", "+added=0", "lr=2"),
    ]
    assert len(grid) == 4


def test_a_shuffled_axis_holds_every_value_once_and_keeps_its_order(tree: Path) -> None:
    grid = Grid.of(Repository(tree), "config", ["seed=shuffle(range(20))", "lr=1,2"], multirun=True)
    first = list(grid.combinations())
    assert sorted(first) == sorted((f"seed={seed}", f"lr={lr}") for seed in range(20) for lr in (1, 2))
    assert list(grid.combinations()) == first
    assert [point.overrides for point in itertools.islice(grid, 3)] == first[:3]


def test_iterating_again_gives_the_same_points(tree: Path) -> None:
    grid = Grid.of(Repository(tree), "config", ["model=svm,mlp", "seed=1,2"], multirun=True)
    assert list(map(repr, grid)) == list(map(repr, grid))


@pytest.mark.parametrize("grid", [["model=svm,mlp", "seed=1,2"], ["model=svm,mlp"], ["model=mlp", "+added=1,2"]])
def test_a_point_has_the_group_choices_that_hydra_records(tree: Path, grid: list[str]) -> None:
    for point in Grid.of(Repository(tree), "config", grid, multirun=True):
        with initialize_config_dir(str(tree), version_base=None):
            config = compose("config", list(point.overrides), return_hydra_config=True)
        hydras = {group: option for group, option in config.hydra.runtime.choices.items() if "hydra/" not in group}
        assert point.choices == hydras
        assert point.choices["model"] == point.config["model"]["name"]


def test_a_point_is_one_value_with_its_parts_by_name(tree: Path) -> None:
    [point] = compose_grid(config_dir=str(tree), config_name="config", overrides=["seed=3"])
    assert point == Point(("seed=3",), point.config, ())
    assert (point.config["seed"], point.config["name"]) == (3, "svm-3")


def test_a_grid_of_a_million_points_is_counted_and_begun_at_once(tree: Path) -> None:
    grid = Grid.of(Repository(tree), "config", ["seed=range(1000)", "lr=range(1000)"], multirun=True)
    assert len(grid) == 1_000_000
    assert [point.overrides for point in itertools.islice(grid, 2)] == [("seed=0", "lr=0"), ("seed=0", "lr=1")]


def test_points_before_a_bad_one_are_given_and_the_error_names_its_overrides(tree: Path) -> None:
    points = compose_grid(config_dir=tree, config_name="config", overrides=["model.kernel=a", "model=svm,mlp"])
    assert next(points).config["model"]["kernel"] == "a"
    with pytest.raises(ComposeError, match=r"no key 'model\.kernel' .*\(overrides: model\.kernel=a, model=mlp\)"):
        next(points)


def test_a_missing_option_is_told_when_its_point_comes(tree: Path) -> None:
    points = compose_grid(config_dir=tree, config_name="config", overrides=["model=svm,svn"])
    assert next(points).overrides == ("model=svm",)
    with pytest.raises(ComposeError, match=r"no option 'svn' in config group 'model' of .*; did you mean 'svm'"):
        next(points)


# -- what only the running app can resolve ----------------------------------------------------------------------------


APP = """
seed: 0
name: ${app_only:3}
out: ${hydra:runtime.output_dir}/${seed}
needed: ???
to: {name: "${name}", out: "x-${out}", needed: "${needed}", text: "a-${needed}", whole: "${part}", seed: "${seed}"}
part: {needed: "???", out: "${hydra:job.num}", seed: "${seed}"}
list: ["${seed}", "???", "${needed}", ["${out}"], {a: "${name}"}]
chosen: ${oc.select:needed,default}
"""


@pytest.mark.parametrize(
    "overrides",
    [
        ["seed=1,2"],
        ["needed=1,${seed}", "seed=3"],
        ["name=a,b", "seed=???"],
        ["out=???,x,${hydra:job.id}"],
        ["+late=${app_only:x},${seed}", "part.needed=1,2"],
        ["list.1=1,2"],
        ["~list", "to.name=1,2"],
    ],
    ids=" ".join,
)
def test_what_only_the_app_can_resolve_is_kept_as_written_and_listed(tmp_path: Path, overrides: list[str]) -> None:
    written(tmp_path, {"config.yaml": APP})
    points = list(compose_grid(config_dir=tmp_path, config_name="config", overrides=overrides))
    assert described(points) == described_by_hydra(tmp_path, "config", overrides)
    assert all(len(set(point.deferred)) == len(point.deferred) > 0 for point in points)


# -- one run, and grids that are none ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["seed=1", "model=mlp"],
        ["~tags", "+extra=[1,2]", "++lr=3"],
        ["hydra.job.name=x", "name='a,b'"],
        ["seed=1", "hydra.job.name=x"],
    ],
    ids=" ".join,
)
def test_without_multirun_the_overrides_are_one_point_as_hydra_composes_it(tree: Path, overrides: list[str]) -> None:
    [point] = Grid.of(Repository(tree), "config", overrides, multirun=False)
    with initialize_config_dir(str(tree), version_base=None):
        assert repr(point.config) == repr(resolved(compose("config", overrides)))
    assert sorted(point.overrides) == sorted(overrides)


def test_without_multirun_the_params_of_the_config_are_left_alone(tree: Path) -> None:
    [point] = Grid.of(Repository(tree), "swept", ["lr=3"], multirun=False)
    assert point.overrides == ("lr=3",)


def test_several_values_without_multirun_are_told_all_at_once(tree: Path) -> None:
    with pytest.raises(ComposeError) as error:
        Grid.of(Repository(tree), "config", ["seed=1,2", "lr=3", "model=glob(*)", "name=range(2)"], multirun=False)
    assert str(error.value) == (
        "seed=1,2, model=glob(*), name=range(2): several values for one run; add -m (--multirun) to queue one run "
        "each, or write a list as key=[a,b]"
    )


@pytest.mark.parametrize("axis", ["seed=range(0)", "seed=range(3,1)", "model=glob(z*)", "seed=glob(*)"])
def test_an_axis_without_values_is_told_before_anything_is_composed(tree: Path, axis: str) -> None:
    with pytest.raises(ComposeError) as error:
        compose_grid(config_dir=tree, config_name="config", overrides=["lr=1,2", axis])
    assert str(error.value) == f"{axis}: no value, so the grid is empty; give this key at least one"


def test_an_interval_is_told_to_have_no_points(tree: Path) -> None:
    with pytest.raises(ComposeError) as error:
        compose_grid(config_dir=tree, config_name="config", overrides=["lr=interval(0,1)"])
    assert str(error.value) == "lr=interval(0,1): an interval has no points; name its values, or use range()"


@pytest.mark.parametrize("axis", ["seed=range(1,3,0)", "lr=range(0.0,1.0,0.0)"])
def test_a_range_that_never_ends_is_an_error_that_names_it(tree: Path, axis: str) -> None:
    with pytest.raises(ComposeError) as error:
        list(compose_grid(config_dir=tree, config_name="config", overrides=[axis]))
    assert axis in str(error.value)


@pytest.mark.parametrize(
    ("axis", "told"),
    [
        ("seed=range(99999999999999999999)", "99,999,999,999,999,999,999 values; a range of whole numbers may have"),
        ("lr=range(0,1,0.0000001)", "10,000,000 values; a range of floats, or a shuffled one, may have 1,000,000;"),
        ("lr=range(0,30000000000,0.1)", "300,000,000,000 values; "),
        ("lr=float(range(3000000000))", "3,000,000,000 values; "),
        ("lr=shuffle(range(1000000000))", "1,000,000,000 values; "),
        ("lr=range(0,1e400)", "endlessly many values; "),
        ("lr=range(0,nan)", "endlessly many values; "),
    ],
)
def test_a_range_too_large_is_refused_before_it_is_listed(tree: Path, axis: str, told: str) -> None:
    with pytest.raises(ComposeError) as error:
        Grid.of(Repository(tree), "config", [axis], multirun=True)
    assert str(error.value).startswith(f"{axis}: {told}")


def test_a_grid_too_large_to_number_its_points_is_refused(tree: Path) -> None:
    axes = ["seed=range(10000000000)", "lr=range(10000000000)"]
    with pytest.raises(ComposeError, match=r"the grid has 100,000,000,000,000,000,000 points, at most 9,\S+ can be"):
        Grid.of(Repository(tree), "config", axes, multirun=True)


def test_sweeping_over_hydras_own_settings_is_refused(tree: Path) -> None:
    with pytest.raises(ComposeError, match="Sweeping over Hydra's configuration is not supported"):
        compose_grid(config_dir=tree, config_name="config", overrides=["hydra.job.num=1,2"])


# -- real repositories ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("repository", "config_name", "overrides"),
    [
        ("bench-config/conf", "config", ["seed=range(2)", "lr=0.1,0.01"]),
        ("bench-config/conf", "config", ["model=glob(*)", "data=c10,in1k", "optim=adam,sgd"]),
        ("bench-config/conf", "config", ["trainer=cpu,gpu", "sched=step", "logger=csv", "+extra.key=1", "seed=7"]),
        ("config-repos/verl", "ppo_trainer", ["data.train_batch_size=16,32"]),
        ("config-repos/verl", "ppo_trainer", ["actor_rollout_ref.actor.ppo_epochs=1,2", "critic.strategy=fsdp2"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_real_repositories_compose_as_in_hydra_but_for_what_only_the_app_can_resolve(
    repository: str, config_name: str, overrides: list[str]
) -> None:
    folder = SHARED / repository
    needs("config-repos", folder.is_dir(), f"there is no ../shared/{repository} beside the checkout")
    points = compose_grid(config_dir=folder, config_name=config_name, overrides=overrides)
    assert described(points) == described_by_hydra(folder, config_name, overrides)
