"""The fast composer gives what Hydra gives, leaf by leaf, type by type, error by error: over generated config trees and
grids, and over real repositories."""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.config_store import ConfigStore
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from launcher.compose import Grid, Repository
from launcher.compose.resolving import plain_config
from launcher.errors import ComposeError
from tests.conftest import REPOSITORY, needs

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
INTERPOLATIONS = st.sampled_from(
    [
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
        "${oc.dict.values:model}",
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
        "${nowhere}",
        "${data.list[0]}",
        "${data.list}",
        "${typed.k0}",
        "${typed.k3}",
        "${oc.create:{a:${seed}}}",
    ]
)
LEAVES = st.one_of(
    SCALARS, SCALARS, INTERPOLATIONS, INTERPOLATIONS, st.lists(st.one_of(SCALARS, INTERPOLATIONS), max_size=2)
)
GROUP_FILES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(KEYS, LEAVES),
        "deep": st.dictionaries(st.sampled_from(KEYS), LEAVES, max_size=2),
        "list": st.lists(LEAVES, min_size=1, max_size=2),
    },
)
OVERRIDES = st.lists(
    st.sampled_from(
        [
            "model=a,b",
            "data=x,y",
            "data=y",
            "seed=1,2",
            "seed=5",
            "seed=null,true",
            "seed=0.5,'a b'",
            "lr=0.1,1e-3",
            "lr=inf",
            "model.k0=5,txt",
            "model.k0=${seed},1",
            "model.k1=1,2",
            "model.deep.k0=1,2",
            "pick=k0,k1",
            "pick=k1,k9",
            "+new=1,2",
            "+model.k0=1,2",
            "++model.k0=1,2",
            "~model.k1",
            "~data",
            "~data.k0=1",
            "data.k1=[1,2],[3]",
            "data.list=[9],[]",
            "data.list.0=1,2",
            "data.k2={z:1},{z:2}",
            "name='x y',z",
            "model.k0=???,1",
            "typed.k0=1,x",
            "typed.k1=1,2.5",
            "typed.k2=1,a",
            "typed.k3=SMALL,LARGE",
            "typed.k3=0",
            "typed.k4=null,3",
            "typed.k0=null,1",
            "nothing=1,2",
            "launch.priority=1,2",
            "hydra.job.name=n",
            "name=${oc.env:NOT_SET,q}",
            "seed=range(3)",
            "model@other=a,b",
            "model=a,c",
        ]
    ),
    max_size=4,
    unique=True,
)


def write(folder: Path, files: dict[str, Any]) -> None:
    for name, content in files.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(content, sort_keys=False))


def composed(make: Any) -> Any:
    """A point as something to compare: its config with every type, or that it is an error."""
    try:
        config, deferred = make()
    except ComposeError:
        return "error"
    return repr(config), sorted(deferred)


def assert_equal_to_hydra(folder: Path, config_name: str, overrides: list[str], limit: int = 8) -> int:
    """Compare the first points of a grid; returns how many were patched."""
    repository = Repository(folder)
    try:
        grid = Grid.of(repository, config_name, overrides, multirun=True)
    except ComposeError:
        return 0
    points = iter(grid)
    for combination in itertools.islice(grid.combinations(), limit):
        expected = composed(lambda strings=combination: plain_config(repository.compose(config_name, strings)))
        try:
            point = next(points)
        except ComposeError:
            assert expected == "error", combination
            return grid.routes["patched"]  # a grid ends with its first bad point
        assert point.overrides == combination
        assert composed(lambda: (point.config, point.deferred)) == expected, combination  # noqa: B023 - called at once
    return grid.routes["patched"]


@pytest.mark.timeout(300)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    files=st.fixed_dictionaries(
        {"model/a": GROUP_FILES, "model/b": GROUP_FILES, "data/x": GROUP_FILES, "data/y": GROUP_FILES}
    ),
    root=st.dictionaries(st.sampled_from(["name", "extra"]), LEAVES),
    launch=st.lists(
        st.sampled_from(["${run_id}", "n-${seed}-${run_id}", "${HOME_X}", "${hydra:job.num}-${run_id}"]), max_size=2
    ),
    self_first=st.booleans(),
    overrides=OVERRIDES,
)
@example(
    files={"model/a": {"k0": "${seed}"}, "model/b": {}, "data/x": {}, "data/y": {}},
    root={"name": "${model.k0}-${lr}"}, launch=["n-${seed}-${run_id}"], self_first=True,
    overrides=["seed=1,2", "lr=0.1,1e-3"],
)  # fmt: skip
def test_every_point_of_a_generated_grid_equals_hydras(
    files: dict[str, Any], root: dict[str, Any], launch: list[str], self_first: bool, overrides: list[str]
) -> None:
    defaults: list[Any] = [{"model": "a"}, {"data": "x"}, {"typed": "t"}]
    defaults.insert(0 if self_first else len(defaults), "_self_")
    primary = {
        "defaults": defaults,
        "seed": 0,
        "lr": 0.1,
        "pick": "k0",
        **root,
        "launch": {"priority": 2, "args": launch},
    }
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), {"config": primary, **files})
        assert_equal_to_hydra(Path(name), "config", overrides)


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
    ],
)
def test_real_repositories_equal_hydra(
    repository: str, config_name: str, overrides: list[str], patched: int | None
) -> None:
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
