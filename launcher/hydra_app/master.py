"""What all jobs of one multirun share, and where each of them stands in it. It travels in the launch spec's field
`hydra`, which the run finds in its environment; `launcher.hydra_app.job` reads it there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher import canonical

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from launcher.compose import Point

FIELD = "hydra"
VARIABLE = "LAUNCHER_HYDRA"
UNIMPORTANT = (
    "hydra/launcher", "hydra.launcher", "hydra/sweeper", "hydra.sweeper", "hydra.sweep.dir", "hydra.run", "hydra.mode",
)  # fmt: skip
"""Overrides of Hydra's own config below these keys say how and where runs are launched, not what they do."""


@dataclass(frozen=True, slots=True)
class Master:
    """A multirun as its jobs need to know it.

    `overrides`: those of its command line that are about Hydra itself; `task`: the others. `sweep_dir`: the absolute
    folder of all its outputs; `cwd`: the one it was started in. `cache`: what resolvers such as `now` have answered
    already, as (resolver, arguments, value). `env`: the variables that `hydra.job.env_copy` names. `callbacks`: whether
    its config has some. `wait`: whether somebody waits for return values. `flags`: the options that its app finds its
    configs with. `ignore`: dotted paths of the specs that their fingerprints leave out. `apart`: whether the code is
    that of another folder than `cwd`.
    """

    overrides: tuple[str, ...]
    task: tuple[str, ...]
    sweep_dir: str
    cwd: str
    cache: tuple[tuple[str, tuple[str, ...], Any], ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    callbacks: bool = False
    wait: bool = False
    flags: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    apart: bool = False

    @staticmethod
    def of(config: DictConfig, **options: Any) -> Master:
        """Of the config that Hydra composed for the multirun; `options` are other fields."""
        from omegaconf import OmegaConf

        hydra = config.hydra
        sweep_dir = os.path.abspath(str(hydra.sweep.dir))  # noqa: PTH100 - as Hydra does; before the cache is read
        return Master(
            overrides=written(hydra.overrides.hydra),
            task=written(hydra.overrides.task),
            sweep_dir=sweep_dir,
            cwd=str(Path.cwd()),
            cache=tuple(_answers(OmegaConf.get_cache(config))),
            env={name: os.environ[name] for name in written(hydra.job.env_copy) if name in os.environ},
            callbacks=bool(hydra.callbacks),
            **options,
        )

    def settings(self) -> list[str]:
        """The overrides that may change what a run does."""
        return [text for text in self.overrides if not text.lstrip("+~").startswith(UNIMPORTANT)]

    def jobs(
        self, points: Iterable[Point], first: int, asked: Counter[tuple[str, ...]], *, named: bool
    ) -> Iterator[Point]:
        """The jobs of these points, numbered from `first`, with run IDs if `named`. `asked` counts how often each point
        was asked for before, and goes on counting."""
        from launcher.queues.ids import new_ids

        ids = new_ids()
        for number, point in enumerate(points, first):
            yield self.job(point, number, asked[point.overrides], next(ids) if named else None)
            asked[point.overrides] += 1

    def job(self, point: Point, number: int, occurrence: int, run_id: str | None) -> Point:
        """A point whose `launch` node makes it job `number` of the multirun.

        A point that one sweep asks for again is another run: `occurrence` counts them from 0.
        """
        from launcher.template import OVERRIDES
        from launcher.variables import laid_over  # not for the runs, which start faster without

        node = dict(point.config.get("launch") or {})
        node["args"] = [*self.flags, OVERRIDES]
        node["run_id"] = run_id
        shared = {name: getattr(self, name) for name in Master.__slots__}
        standing = {"run": {**shared, "num": number}, "overrides": self.settings(), "occurrence": occurrence}
        node["config"] = laid_over(node.get("config") or {}, {FIELD: standing})
        ignored = (node.pop("fingerprint", None) or {}).get("ignore") or ()
        node["config"]["fingerprint"] = {"ignore": [*ignored, *self.ignore, f"{FIELD}.run"]}
        return replace(point, config={**point.config, "launch": node})


@dataclass(frozen=True, slots=True)
class Job:
    """The job that this process is: its multirun and its number there."""

    master: Master
    num: int

    @staticmethod
    def of_environment(environ: Mapping[str, str]) -> Job:
        """Read what `Master.job` wrote; KeyError outside of a run."""
        import json

        run = json.loads(environ[VARIABLE])["run"]
        number = run.pop("num")
        cache = tuple((name, tuple(arguments), value) for name, arguments, value in run.pop("cache"))
        return Job(Master(**{**run, "cache": cache}), number)

    def resolver_cache(self) -> dict[str, dict[Any, Any]]:
        """The answers of resolvers, as OmegaConf keeps them."""
        from collections import defaultdict

        cache: dict[str, dict[Any, Any]] = defaultdict(dict)
        for name, arguments, value in self.master.cache:
            cache[name][arguments] = value
        return cache


def outputs(config: DictConfig) -> tuple[Path, ...]:
    """The folders, as they are named before anything that varies, that an app with this config writes its outputs
    into, below the one it is started in."""
    from omegaconf import OmegaConf

    found = []
    for mode in ("run", "sweep"):
        told = OmegaConf.to_container(config.hydra[mode], resolve=False)
        named = str(told["dir"] if isinstance(told, dict) else "")
        literal = named.partition("${")[0]
        if literal != named:
            literal = literal.rpartition("/")[0]
        if literal and not Path(literal).is_absolute() and ".." not in Path(literal).parts:
            found.append(Path.cwd() / literal)
    return tuple(found)


def written(texts: Any) -> tuple[str, ...]:
    """A config's list of strings as they were written, the interpolations in them unresolved."""
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(texts, resolve=False)
    assert isinstance(plain, list)
    return tuple(map(str, plain))


def _answers(cache: Mapping[str, Mapping[Any, Any]]) -> Iterable[tuple[str, tuple[str, ...], Any]]:
    """Those that are plain values; the others each run asks for itself."""
    for name, answers in cache.items():
        for arguments, value in answers.items():
            texts = isinstance(arguments, tuple) and all(isinstance(text, str) for text in arguments)
            if texts and (value is None or isinstance(value, str | int | float | bool)):
                yield name, arguments, canonical.finite(value)
