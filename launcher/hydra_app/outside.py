"""A Hydra app that `launcher add --app` launches: from outside, so the app needs no line for it, but its runs are those
of `hydra/launcher=launch_queue`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.compose import Block, Point, Repository
from launcher.errors import ComposeError, UsageError
from launcher.hydra_app.master import Master, outputs
from launcher.hydra_app.program import App, inspect_app


@dataclass(frozen=True, slots=True)
class Outside:
    """An app, its configs, the multirun that it would make of the same command line, and the folders of its outputs."""

    app: App
    repository: Repository
    config_name: str | None
    master: Master
    outputs: tuple[Path, ...] = ()

    @staticmethod
    def of(words: Sequence[str], blocks: Sequence[Block]) -> Outside:
        """Of an app that `words` name, and the blocks of a grid.

        Raises LaunchError for what is wrong with the app, UsageError for blocks that differ in their overrides of
        Hydra's own config, which is one for all jobs.
        """
        from hydra.types import RunMode

        app, hydra, config_name = inspect_app(words)
        repository = Repository.of_loader(hydra.config_loader)
        own, *others = [repository.hydra_overrides(block.overrides) for block in blocks]
        if any(other != own for other in others):
            raise UsageError("--app: the blocks differ in their overrides of hydra.…; name those for all of them")
        task = [text for text in blocks[0].overrides if text not in own]
        try:
            config = hydra.compose_config(config_name, [*own, "hydra.mode=MULTIRUN", *task], RunMode.MULTIRUN)
            master = Master.of(config, flags=app.flags, apart=app.apart())
        except Exception as error:  # Hydra passes on what reading a broken YAML file raises, whatever its type
            raise ComposeError(
                f"config {config_name!r} of app {' '.join(words)!r} does not compose: {error}"
            ) from error
        return Outside(app, repository, config_name, master, outputs(config))

    def jobs(self, points: Iterable[Point]) -> Iterator[Point]:
        """The jobs of these points, whose overrides of Hydra's own config are the multirun's."""
        common = len(self.master.overrides) - 1  # hydra.mode is ours
        stripped = (replace(point, overrides=point.overrides[common:]) for point in points)
        return self.master.jobs(stripped, 0, Counter(), named=False)
