"""The grid options of `plan` and `add`: what they choose, what they tell, and that refusing queues nothing."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from launcher.item import ItemFilter
from launcher.queues import open_store
from tests.conftest import Project, Result, until

Cli = Callable[..., Result]
COMMAND = ["--", "python", "train.py"]


def planned(cli: Cli, *arguments: str) -> list[str]:
    result = cli("plan", "--json", "-m", *arguments, *COMMAND)
    assert result.code == 0, result.err
    return [" ".join(point["overrides"]) for point in json.loads(result.out)]


def queued(project: Project) -> int:
    with closing(open_store(project.store_url)) as store:
        return len(list(store.items(ItemFilter())))


def test_zip_exclude_and_require(cli: Cli) -> None:
    chosen = ["model=svm,mlp", "lr=0.1,1", "seed=1,2", "--zip", "lr,seed"]
    rules = ["--exclude", "model.name == 'mlp' and lr == 1", "--require", "seed < 9"]
    assert planned(cli, *chosen, *rules) == [
        "model=svm lr=0.1 seed=1",
        "model=svm lr=1 seed=2",
        "model=mlp lr=0.1 seed=1",
    ]
    told = cli("plan", "-m", *chosen, *rules, *COMMAND)
    assert "4 points; nothing is written" in told.out
    assert told.err == "1 of 4 points removed by exclude \"model.name == 'mlp' and lr == 1\"\n"


def test_sample_and_order(cli: Cli) -> None:
    sampled = planned(cli, "seed=range(1000)", "--sample", "5")
    assert len(sampled) == 5
    assert sampled == planned(cli, "seed=range(1000)", "--sample", "5", "--sample-seed", "0")
    assert sampled != planned(cli, "seed=range(1000)", "--sample", "5", "--sample-seed", "1")
    assert sorted(planned(cli, "seed=range(1000)", "--sample", "5", "--order", "shuffle")) == sorted(sampled)


def test_the_command_line_adds_to_every_block_of_a_file(cli: Cli, project: Project) -> None:
    project.write("s.yaml", "blocks: [{grid: {lr: [1, 2]}}, {overrides: [model=mlp]}]\nsample: {n: 3}\n")
    assert planned(cli, "s.yaml", "seed=7,8", "--sample", "99", "--exclude", "lr == 2") == [
        "lr=1 seed=7", "lr=1 seed=8", "model=mlp seed=7", "model=mlp seed=8",
    ]  # fmt: skip


def test_the_path_of_a_sweep_file_may_hold_an_equals_sign(cli: Cli, project: Project) -> None:
    project.write("out/lr=0.1/a=b.yaml", "grid: {seed: [1, 2]}\n")
    project.write("c=d.yaml", "grid: {seed: [3]}\n")
    for path, overrides in (("out/lr=0.1/a=b.yaml", ["seed=1"]), ("c=d.yaml", ["seed=3"])):
        [first, *_] = json.loads(cli("plan", path, "--json", "--", "true").out)
        assert (first["sweep"], first["overrides"]) == (path.rpartition("/")[2].removesuffix(".yaml"), overrides)
    [point] = json.loads(cli("plan", f"name={'x' * 300}.yaml", "--json", "--", "true").out)
    assert point["overrides"] == [f"name={'x' * 300}.yaml"]


def test_verify_says_that_points_equal_hydras(cli: Cli, project: Project) -> None:
    result = cli("add", "-m", "seed=range(30)", "--verify", "4", *COMMAND)
    assert (result.code, result.err) == (0, "4 points composed with Hydra too: all equal\n")
    assert queued(project) == 30


@pytest.mark.parametrize("by", ["option", "pyproject"])
def test_a_module_may_register_resolvers(cli: Cli, project: Project, by: str) -> None:
    project.write("ours_resolvers.py", "from omegaconf import OmegaConf as O\n"
                  "O.register_new_resolver('twice', lambda x: 2 * x, replace=True)\n")  # fmt: skip
    project.write("conf/twice.yaml", "seed: 1\ndouble: ${twice:${seed}}\n")
    option = ["--resolvers", "ours_resolvers"]
    if by == "pyproject":
        settings = (project.folder / "pyproject.toml").read_text(encoding="utf-8")
        project.write("pyproject.toml", settings + 'resolvers = "ours_resolvers"\n')
        option = []
    result = cli("plan", "--json", "-cn", "twice", "-m", "seed=3,4", *option, *COMMAND)
    configs = [point["spec"]["overrides"]["run_config"] for point in json.loads(result.out)]
    assert configs == [{"seed": 3, "double": 6}, {"seed": 4, "double": 8}]


def test_a_module_that_cannot_be_imported_is_told(cli: Cli, project: Project) -> None:
    project.write("broken_resolvers.py", "raise RuntimeError('no GPU')\n")
    for module, reason in (("broken_resolvers", "RuntimeError: no GPU"), ("nowhere_at_all", "No module named")):
        result = cli("plan", "-m", "seed=1,2", "--resolvers", module, *COMMAND)
        assert result.code == 2
        assert module in result.err
        assert reason in result.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--exclude", "lr >"], "exclude 'lr >' is no condition"),
        (["--exclude", "lrr > 1"], "no key 'lrr' (did you mean 'lr'?"),
        (["--require", "seed > 5"], "no point is left of 2; removed: require 'seed > 5' 2"),
        (["--zip", "seed,lr"], "no axis 'lr'"),
        (["--sample", "0"], "--sample"),
        (["--order", "random"], "--order"),
        (["lr=???", "--strict"], "leaves that only the running app can resolve"),
    ],
)
def test_a_wrong_option_exits_2_and_queues_nothing(cli: Cli, project: Project, arguments: list[str], told: str) -> None:
    result = cli("add", "-m", "seed=1,2", *arguments, *COMMAND)
    assert (result.code, result.out) == (2, "")
    assert told in result.err
    assert queued(project) == 0


def test_ctrl_c_in_the_middle_leaves_the_store_unchanged(project: Project) -> None:
    assert project.run("add", "-m", "seed=1,2", "--sweep", "first", *COMMAND).code == 0
    store = project.folder / ".launcher/store.db"
    before = queued(project), store.stat().st_size
    process = project.start("add", "-m", "seed=range(300000)", "--yes", "--sweep", "second", *COMMAND)
    until(lambda: composing(process.pid), "the composing")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert (queued(project), store.stat().st_size) == before


def composing(pid: int) -> bool:
    """Whether the process has started and is at its work: it has used the processor for a second."""
    user, system = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[11:13]
    return int(user) + int(system) > os.sysconf("SC_CLK_TCK")
