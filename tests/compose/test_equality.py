"""The fast composer gives what Hydra gives, leaf by leaf, type by type, error by error: over generated config trees and
grids, and over real repositories."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_store import ConfigStore
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from launcher.compose import Grid, Repository
from launcher.compose.resolving import plain_config
from launcher.errors import ComposeError
from tests.conftest import REPOSITORY, needs

SHARDS, CASES = 20, 250
SHARED = REPOSITORY.parent / "shared"


class Kind(Enum):
    SMALL = 1
    LARGE = 2


@dataclass
class Typed:
    k0: int = 3
    k1: float = 0.5
    k2: str = "t"
    k3: Kind = Kind.SMALL
    k4: int | None = None
    k5: str = "${seed}"


ConfigStore.instance().store(group="typed", name="t", node=Typed)

KEYS = ("k0", "k1", "k2", "k3")
SCALARS = st.sampled_from([0, 1, -7, 0.5, 1e-3, True, None, "", "text", "a b", "1", "null", "???"])
INTERPOLATIONS = (
    "${seed}",
    "${lr}",
    "${model.k0}",
    "${data.k1}",
    "${.k1}",
    "${..seed}",
    "${..model.k2}",
    "s-${seed}",
    "${seed}${lr}",
    "${model.k0}/${data.k0}/${seed}",
    "${oc.select:model.k2,7}",
    "${oc.select:data.k9,${seed}}",
    "${oc.env:NOT_SET,d}",
    "${oc.decode:'${seed}'}",
    "${oc.dict.keys:model}",
    "${oc.dict.values:typed}",
    "${model}",
    "${data.deep}",
    "x ${data}",
    "${model.${pick}}",
    "${pick}",
    r"\${seed}",
    r"\${seed}-${seed}",
    "${unknown:1}",
    "${unknown:${seed}}",
    "${hydra:job.num}",
    "${data.list[0]}",
    "${data.list}",
    "${typed.k0}",
    "${typed.k3}",
    "${oc.create:{a:${seed}}}",
)


def leaves(interpolations: list[str]) -> st.SearchStrategy[Any]:
    leaf = st.one_of(SCALARS, SCALARS, st.sampled_from(interpolations))
    return leaf | st.lists(leaf, max_size=2)


def group_files(leaf: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    deep = st.dictionaries(st.sampled_from(KEYS), leaf, max_size=2)
    return st.fixed_dictionaries(
        {"k0": SCALARS, "k1": leaf, "k2": leaf},
        optional={"k3": leaf, "deep": deep, "list": st.lists(leaf, min_size=1, max_size=2)},
    )


WHOLE_DEFAULTS = st.builds(
    lambda core, more: [*core, *more],
    st.permutations(["_self_", {"model": "a"}, {"data": "x"}, {"typed": "t"}]),
    st.lists(
        st.sampled_from([
            {"optional none": "such"}, {"data@extra": "y"}, {"extra/sub": "s"}, {"size": "${model}_size"},
            {"optional sizes": "${model}_large"}, {"experiment": None}, {"experiment": "e"},
            {"optional model@other": "a"},
        ]),
        max_size=3,
        unique_by=lambda entry: next(iter(entry)),
    ),
)  # fmt: skip
ANY_DEFAULTS = st.lists(
    st.sampled_from([
        "_self_", {"model": None}, {"model": "b"}, {"model": ["a", "b"]}, {"data": "x"}, {"data@_global_": "y"},
        {"optional data": "none_such"}, {"typed": "t"},
    ]),
    max_size=4,
    unique_by=lambda entry: entry if isinstance(entry, str) else next(iter(entry)).removeprefix("optional "),
)  # fmt: skip
ROOT_DEFAULTS = st.one_of(WHOLE_DEFAULTS, WHOLE_DEFAULTS, WHOLE_DEFAULTS, ANY_DEFAULTS)
GROUP_DEFAULTS = st.lists(
    st.sampled_from(["_self_", {"/data@sub": "y"}, {"/data": "x"}, {"/typed": "t"}, "base", {"/data@_here_": "x"}]),
    max_size=2,
    unique_by=str,
)
EXPERIMENT_DEFAULTS = st.lists(
    st.sampled_from([{"override /model": "b"}, {"override /data": "y"}, "_self_", {"/extra/sub": "s"}]),
    max_size=3,
    unique_by=str,
)
PLAIN_OVERRIDES = st.lists(
    st.sampled_from([
        "model=a,b", "data=x,y", "data=y", "seed=1,2", "seed=5", "seed=null,true", "seed=0.5,'a b'", "seed=range(3)",
        "seed='1','a,b'", "lr=0.1,1e-3", "lr=inf", "pick=k0,k1", "typed.k0=1,2", "typed.k1=1,2.5", "typed.k2=1,a",
        "typed.k3=SMALL,LARGE", "typed.k4=null,3", "model.k0=5,txt", "model.k1=1,2", "data.k2=8,9", "name='x y',z",
        "launch.priority=1,2", "++model.k0=1,2", "+added=1,2", "hydra.job.name=n", "root_k=1,2", "experiment=e,null",
    ]),
    min_size=1,
    max_size=3,
    unique_by=lambda override: override.partition("=")[0],
)  # fmt: skip
ODD_OVERRIDES = st.lists(
    st.sampled_from([
        "model.k0=${seed},1", "model.deep.k0=1,2", "pick=k1,k9", "+model.k0=1,2", "~model.k1", "~data", "~data.k0=1",
        "data.k1=[1,2],[3]", "data.list=[9],[]", "data.list.0=1,2", "data.k2={z:1},{z:2}", "model.k0=???,1",
        "typed.k0=1,x", "typed.k3=0", "typed.k0=null,1", "nothing=1,2", "name=${oc.env:NOT_SET,q}",
        "model@other=a,b", "model=a,c", "model=null,b", "experiment=e", "+experiment=e", "data@extra=x,y",
        "+data@added=x,y", "~model", "model=[a,b],a", "other.k0=1,2", "extra.k1=1,2", "sub.k0=3,4",
        "extra.sub.k0=3,4", "model.sub.k0=1,2", "extra/sub=s", "size.n=1,2", 'name="q r",w',
    ]),
    min_size=1,
    max_size=1,
)  # fmt: skip


@st.composite
def repositories(draw: st.DrawFn) -> dict[str, str]:
    """The files of a config repository: nested groups, packages, experiments, every position of `_self_`.

    Each uses few of the interpolations: with all of them at once hardly any would compose, and only errors be compared.
    """
    leaf = leaves(draw(st.lists(st.sampled_from(INTERPOLATIONS), min_size=1, max_size=3)))
    group = group_files(leaf)
    defaults = draw(ROOT_DEFAULTS)
    root = draw(st.fixed_dictionaries({"name": leaf, "root_k": SCALARS}, optional={"extra_k": leaf}))
    macros = st.sampled_from(["${run_id}", "n-${seed}-${run_id}", "${HOME_X}", "${hydra:job.num}-${run_id}"])
    launch = {"priority": 2, "args": draw(st.lists(macros, max_size=2))}
    files = {"config": {"defaults": defaults, "seed": 0, "lr": 0.1, "pick": "k0", **root, "launch": launch}}
    for name in ("model/a", "model/b"):
        files[name] = _with_defaults(draw(GROUP_DEFAULTS), draw(group))
    for name in ("data/x", "data/y", "extra/sub/s", "model/base"):
        files[name] = draw(group)
    files |= {"size/a_size": {"n": 1, "of": "${model.k0}"}, "size/b_size": {"n": 2}, "size/b_large": {"n": 3}}
    files["experiment/e"] = _with_defaults(draw(EXPERIMENT_DEFAULTS), draw(group) | {"seed": 9})
    texts = {name: yaml.safe_dump(content, sort_keys=False) for name, content in files.items()}
    texts["experiment/e"] = "# @package _global_\n" + texts["experiment/e"]
    header = draw(st.sampled_from(["", "", "# @package other\n", "# @package _global_\n", "# @package data.deep\n"]))
    texts["model/b"] = header + texts["model/b"]
    return texts


def _with_defaults(defaults: list[Any], content: dict[str, Any]) -> dict[str, Any]:
    return {"defaults": defaults, **content} if defaults else content


def write(folder: Path, files: dict[str, Any]) -> None:
    for name, content in files.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))


def composed(make: Any) -> Any:
    """A point as something to compare: its config with every type, or the error that it is."""
    try:
        config, deferred = make()
    except ComposeError as error:
        return str(error)
    return repr(config), sorted(deferred)


def hydras_own(folder: Path) -> Repository:
    """The configs of a folder as Hydra itself reads them, each time anew."""
    repository = Repository(folder)
    repository._loader = ConfigLoaderImpl(repository._loader.config_search_path)
    return repository


def assert_equal_to_hydra(folder: Path, config_name: str, overrides: list[str], limit: int = 8) -> int:
    """Compare the first points of a grid; returns how many were patched."""
    repository, hydra = Repository(folder), hydras_own(folder)
    try:
        grid = Grid.of(repository, config_name, overrides, multirun=True)
    except ComposeError:
        return 0
    points = iter(grid)
    for combination in itertools.islice(grid.combinations(), limit):
        expected = composed(lambda strings=combination: plain_config(hydra.compose(config_name, strings)))
        if isinstance(expected, str):
            with pytest.raises(ComposeError) as error:
                next(points)
            assert str(error.value) == expected, combination
            return grid.routes["patched"]  # a grid ends with its first bad point
        point = next(points)
        assert point.overrides == combination
        assert composed(lambda: (point.config, point.deferred)) == expected, combination  # noqa: B023 - called at once
    return grid.routes["patched"]


def in_its_own_thread(work: Callable[[], None]) -> None:
    """On top of pytest's frames CPython maps and unmaps memory at nearly every call of Hydra's: half of the time."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(work).result()


@pytest.mark.filterwarnings("ignore:.*Defaults list is missing")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_point_of_a_generated_grid_equals_hydras(shard: int) -> None:
    """5,000 grids in all, in shards so that they run side by side. LAUNCHER_TEST_SEED=N gives 5,000 others."""
    patched = 0

    @seed(shard + SHARDS * int(os.environ.get("LAUNCHER_TEST_SEED", "0")))
    @settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(files=repositories(), plain=PLAIN_OVERRIDES, odd=st.one_of(st.just([]), st.just([]), ODD_OVERRIDES))
    def compare(files: dict[str, str], plain: list[str], odd: list[str]) -> None:
        nonlocal patched
        with tempfile.TemporaryDirectory() as name:
            write(Path(name), files)
            patched += assert_equal_to_hydra(Path(name), "config", [*plain, *odd], limit=2)

    in_its_own_thread(compare)
    assert patched > CASES / 50, "too few points went the way that is tested here"


LIGHTNING = ("config-repos/lightning-hydra-template", "train")


@pytest.mark.parametrize(
    ("repository", "config_name", "overrides", "patched"),
    [
        ("bench-config/conf", "config", ["seed=range(4)", "lr=0.1,0.01"], 8),
        ("bench-config/conf", "config", ["model=mlp,vit", "optim.p3=1,2", "seed=1,2"], 8),
        ("config-repos/verl", "ppo_trainer", ["trainer.total_epochs=range(2)", "data.seed=1,null"], 4),
        ("config-repos/verl", "ppo_trainer", ["actor_rollout_ref.rollout.n=1,2", "trainer.project_name=a,'b c'"], 4),
        (
            "config-repos/verl",
            "ppo_trainer",
            ["critic=megatron_critic,dp_critic", "actor_rollout_ref.rollout.n=1,2"],
            None,
        ),
        (*LIGHTNING, ["seed=1,2", "model.optimizer.lr=0.1,1e-3", "data.batch_size=32,64"], 8),
        (*LIGHTNING, ["experiment=example", "trainer.max_epochs=1,2", "model.net.lin1_size=range(8,10)"], 4),
        (*LIGHTNING, ["trainer=cpu,ddp", "logger=csv,null", "callbacks=default,none"], 0),
        (*LIGHTNING, ["debug=default,limit", "+trainer.gradient_clip_val=0.5,1", "tags=[a],[a,b]"], 0),
        (*LIGHTNING, ["model.compile=true,false", "~model.scheduler", "task_name=a,'b c'"], 4),
        ("config-repos/drqv2", "config", ["task@_global_=walker_walk,humanoid_run", "seed=1,2"], 4),
        ("config-repos/drqv2", "config", ["agent.lr=1e-4,1e-3", "feature_dim=50,100", "batch_size=range(2)"], 8),
    ],
)
def test_real_repositories_equal_hydra(
    repository: str, config_name: str, overrides: list[str], patched: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROJECT_ROOT", "/project")
    folder = SHARED / repository
    needs("config-repos", folder.is_dir(), f"{folder.relative_to(REPOSITORY.parent)} is not beside the checkout")
    count = assert_equal_to_hydra(folder, config_name, overrides)
    assert patched is None or count == patched


def test_points_share_what_does_not_differ(tmp_path: Path) -> None:
    write(tmp_path, {"config": {"seed": 0, "model": {"a": {"b": 1}}, "other": {"s": "${seed}"}}})
    first, second = Grid.of(Repository(tmp_path), "config", ["seed=1,2"], multirun=True)
    assert first.config["model"] is second.config["model"]
    assert (first.config["other"], second.config["other"]) == ({"s": 1}, {"s": 2})


def test_a_large_axis_is_composed_once(tmp_path: Path) -> None:
    write(tmp_path, {"config": {"seed": 0, "name": "s${seed}"}})
    grid = Grid.of(Repository(tmp_path), "config", ["seed=range(20000)"], multirun=True)
    assert sum(point.config["name"] == f"s{number}" for number, point in enumerate(grid)) == 20_000
    assert grid.routes == {"patched": 20_000}
