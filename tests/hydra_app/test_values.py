"""Configs with values that JSON has not: enums, paths, bytes, infinity, keys that are numbers. They are queued as any
others, by each way, and their runs see what Hydra gives them."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from launcher.item import Item, ItemFilter
from launcher.queues import open_store
from launcher.spec import LaunchSpec
from tests.conftest import Result
from tests.hydra_app.conftest import App

CONFIGS = """
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore

class Opt(Enum):
    SGD = 1
    ADAM = 2

@dataclass
class Typed:
    opt: Opt = Opt.SGD
    root: Path = Path("/data")
    raw: bytes = b"ab"
    names: dict[int, str] = field(default_factory=lambda: {1: "one"})
    steps: dict[Opt, float] = field(default_factory=lambda: {Opt.SGD: 0.5})
    text: str = "NaN"
    most: Any = 0
    least: Any = 0
    list: Any = None

ConfigStore.instance().store(name="typed", node=Typed)
"""
PROGRAM = """
from pathlib import Path
import hydra
import configs

@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg):
    assert isinstance(cfg.opt, configs.Opt) and isinstance(cfg.root, Path) and isinstance(cfg.raw, bytes)
    return [cfg.opt.name, str(cfg.root), cfg.names[1], cfg.steps[configs.Opt.SGD], cfg.most > 1e308, cfg.text]

if __name__ == "__main__":
    main()
"""
PLAIN = """
import json, math, os
from omegaconf import OmegaConf
import launcher

cfg = OmegaConf.load(os.environ["LAUNCHER_CONFIG"])
assert math.isnan(cfg.list[0].nothing) and cfg.most == math.inf and cfg.least == -math.inf
launcher.report(opt=cfg.opt, text=cfg.text, names=list(cfg.names), told=json.loads(os.environ["WANDB_CONFIG"])["most"])
"""
TYPED = "defaults: [typed, _self_]\nmost: .inf\nleast: -.inf\nlist: [{nothing: .nan}]\n"
SEEN = ["/data", "one", 0.5, True, "NaN"]


@pytest.fixture
def typed(app: App) -> App:
    app.write("configs.py", CONFIGS)
    app.write("train.py", PROGRAM)
    app.write("plain.py", PLAIN)
    app.write("conf/config.yaml", TYPED)
    return app


def launcher(app: App, *words: str) -> Result:
    return app.run("-m", "launcher", *words, program=())


def documents(app: App) -> list[tuple[Item, dict[str, Any]]]:
    with closing(open_store(app.url)) as store:
        return [(item, dict(store.document(item.id))) for item in store.items(ItemFilter())]


@pytest.mark.parametrize("way", ["plugin", "app"])
def test_an_enum_is_swept_and_the_runs_see_what_hydra_gives(typed: App, way: str) -> None:
    adding = ["add", "-m", "--app", "train.py", "--sweep", "s"]
    swept = "opt=SGD,ADAM"
    done = typed.queue("hydra.launcher.sweep=s", swept) if way == "plugin" else launcher(typed, *adding, swept)
    assert done.code == 0, done
    again = typed.queue("hydra.launcher.sweep=s", swept).out if way == "plugin" else launcher(typed, *adding, swept).out
    assert "2 are there already" in again
    typed.drain()
    assert [item.result for item in typed.items()] == [{"return_value": [name, *SEEN]} for name in ("SGD", "ADAM")]
    assert documents(typed)[1][1]["overrides"]["run_config"] == {
        "opt": "ADAM", "root": "/data", "raw": "ab", "names": {"1": "one"}, "steps": {"SGD": 0.5}, "text": "NaN",
        "most": "Infinity", "least": "-Infinity", "list": [{"nothing": "NaN"}],
    }  # fmt: skip


def test_a_plain_program_finds_numbers_in_its_config_file_where_numbers_are_composed(typed: App) -> None:
    resolvers = ("--resolvers", "configs")  # its import registers the structured config too
    words = ("add", "-m", "--sweep", "s", *resolvers, "opt=SGD,ADAM", "--", "python", "plain.py")
    assert "2 added" in launcher(typed, *words).out
    assert "2 are there already" in launcher(typed, *words).out
    typed.drain()
    told = {"text": "NaN", "names": ["1"], "told": "Infinity"}
    assert [item.result for item in typed.items()] == [{"opt": opt, **told} for opt in ("SGD", "ADAM")]
    shown = launcher(typed, "show", typed.items()[0].id).out
    assert "  most: .inf\n" in shown
    assert "  text: 'NaN'\n" in shown


def test_what_is_a_number_and_what_is_a_text_tells_two_runs_apart(typed: App) -> None:
    for most in (".inf", "Infinity"):
        typed.write("conf/config.yaml", TYPED.replace("most: .inf", f"most: {most}"))
        assert typed.queue("hydra.launcher.sweep=s").code == 0
    [first, second] = [LaunchSpec(document, item.queue).fingerprint() for item, document in documents(typed)]
    assert first != second


def test_keys_that_become_one_are_refused(typed: App, tmp_path: Path) -> None:
    typed.write("conf/config.yaml", 'names: {1: one, "1": another}\n')
    done = launcher(typed, "plan", "--json", "--", "true")
    assert done.code != 0
    assert "overrides.run_config.names.1: key 1 is an integer; JSON keys are strings" in done.err


def test_plain_configs_are_as_they_were(typed: App) -> None:
    typed.write("conf/config.yaml", "lr: 1\nnames: {a: [x, 0.5, null]}\n")
    [point] = json.loads(launcher(typed, "plan", "--json", "--", "true").out)
    assert point["spec"]["overrides"]["run_config"] == {"lr": 1, "names": {"a": ["x", 0.5, None]}}
    assert "not_finite" not in point["spec"]
