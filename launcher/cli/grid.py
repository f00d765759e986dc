"""Which grid a command line asks for: Hydra's own words, a sweep file, and the options that `plan` and `add` share."""

from __future__ import annotations

import secrets
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from launcher.cli.revision import Revision, of_here, of_repository
from launcher.cli.targets import json_option, store_option
from launcher.compose import Block, Grid, Point, Repository, Selection, import_resolvers
from launcher.compose.rules import Rule
from launcher.compose.sweepfile import ORDERS, SweepFile, read_sweep_file
from launcher.errors import UsageError
from launcher.item import Sweep
from launcher.provenance import Provenance
from launcher.settings import Settings, load_settings
from launcher.sources import DIRTY
from launcher.spec import CHANGES, LaunchArguments, checked_name, parse_priority

if TYPE_CHECKING:
    from launcher.hydra_app.outside import Outside

ASK_ABOVE = 10_000
ENDINGS = (".yaml", ".yml")


class HydraCommand(click.Command):
    """A command whose arguments end at `--`; what follows is the entry point of the runs."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep what follows `--` aside; click would mix it with the overrides."""
        if "--" in args:
            place = args.index("--")
            ctx.obj = args[place + 1 :]
            if not ctx.obj:
                ctx.fail("nothing follows --; expected the command to run, as in: -- python train.py")
            args = args[:place]
        given = list(args)
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            _refuse_stray(ctx, given)
        return rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Show the entry point in the usage line."""
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND...]"]


def _refuse_stray(ctx: click.Context, given: Sequence[str]) -> None:
    """UsageError for a word that is neither an override nor a sweep file: mostly the command that shall run."""
    words = ctx.params.get("words") or ()
    stray = next((word for word in words if "=" not in word and not word.startswith("~") and not _is_yaml(word)), None)
    if stray is None:
        return
    told = f"{stray!r} is no override (key=value) and no sweep file (.yaml)"
    if near := next((f"{stray}{ending}" for ending in ENDINGS if Path(f"{stray}{ending}").is_file()), None):
        told += f"; did you mean {near!r}?"
    elif not ctx.obj:
        place = given.index(stray)
        told += "; the command to run follows --: " + shlex.join(
            [*ctx.command_path.split(), *given[:place], "--", *given[place:]]
        )
    raise UsageError(told)


def _is_yaml(word: str) -> bool:
    return word.endswith(ENDINGS)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for: the grid (of a sweep `file`, maybe), the sweep it becomes, and the arguments that
    win over its config's.

    What runs when nothing else is given is the `folder`, or remote, at a `version` (as it is now without one).
    """

    grid: Grid
    sweep: Sweep
    overlay: LaunchArguments
    variables: dict[str, str]
    folder: str
    version: str | None
    provenance: Provenance
    file: Path | None
    app: Outside | None = None

    def points(self) -> Iterable[Point]:
        """The points to queue: those of the grid, or the jobs of a Hydra app that they become."""
        return self.app.jobs(self.grid) if self.app else self.grid


def grid_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `plan` and `add` share."""
    for option in reversed([
        click.argument("words", nargs=-1, metavar="[SWEEP_FILE] [OVERRIDES]..."),
        click.option("-m", "--multirun", is_flag=True, help="Overrides may hold several values: one run each."),
        click.option("--config-dir", "-cd", metavar="DIR", help="The config repository (default: conf/)."),
        click.option("--config-name", "-cn", metavar="NAME", help="Its primary config (default: config)."),
        click.option("--config-rev", metavar="REV", help="Compose from, and run, this branch, tag or commit of it."),
        click.option("--config-repo", metavar="URL", help="The config repository, elsewhere: a git remote or folder."),
        click.option("--sweep", metavar="NAME", help="The sweep's name (default: the sweep file's, or a new one)."),
        click.option("--app", metavar="APP", help="A Hydra app, as train.py or '-m pkg.train', with its own configs."),
        click.option("--queue", "-q", metavar="QUEUE", help="The queue (default: the config's, or 'default')."),
        click.option("--priority", "-p", metavar="PRIORITY", help="critical, high, medium or low; or 0 to 3."),
        click.option("--stop-after-failures", type=click.IntRange(1), metavar="K", help="Hold the rest then."),
        click.option("--job", metavar="NAME:ALIAS", help="Run this job's code and command (default: the config's)."),
        click.option("--build", is_flag=True, help="Build an image of the code, and run that."),
        click.option("--repository", metavar="IMAGE", help="Push what is built there, as registry.team/images."),
        click.option("--base-image", metavar="IMAGE", help="What a generated image begins with."),
        click.option("--set-var", "variables", multiple=True, metavar="NAME=VALUE", help="A variable of the queue."),
        click.option("--zip", "zips", multiple=True, metavar="KEY,KEY…", help="Keys whose values advance together."),
        click.option("--exclude", multiple=True, metavar="RULE", help="Drop points for which it holds: \"lr > 1\"."),
        click.option("--require", multiple=True, metavar="RULE", help="Keep only the points for which this holds."),
        click.option("--sample", type=click.IntRange(min=1), metavar="N", help="Only N points, drawn before any rule."),
        click.option("--sample-seed", type=int, metavar="SEED", help="Which N (default: 0); seeds a shuffle, too."),
        click.option("--order", type=click.Choice(ORDERS), help="Hydra's order (default), or a reproducible shuffle."),
        click.option("--resolvers", metavar="MODULE", help="Import this module, which registers OmegaConf resolvers."),
        click.option("--strict", is_flag=True, help="Refuse ??? and leaves that only the running app can resolve."),
        click.option("--verify", type=click.IntRange(min=0), default=0, metavar="N", help="Check N with Hydra."),
        click.option("--dirty", type=click.Choice(DIRTY), help="What to do with uncommitted changes."),
        click.option("--in-place", is_flag=True, help="Run in the working tree itself: later edits reach the runs."),
        click.option("--yes", "-y", is_flag=True, help=f"Do not ask about more than {ASK_ABOVE:,} points."),
        store_option,
        json_option,
    ]):  # fmt: skip
        function = option(function)
    return click.pass_context(function)


def wanted(
    entry_point: list[str] | None,
    *,
    words: Sequence[str],
    config_dir: str | None,
    config_name: str | None,
    sweep: str | None,
    queue: str | None,
    priority: str | None,
    yes: bool,
    **terms: Any,
) -> Wanted:
    """What the words and options ask for. Raises LaunchError for what is wrong with them; asks about large grids."""
    settings = load_settings()
    path, overrides = _split(words)
    file = read_sweep_file(path) if path else SweepFile(f"sweep-{time.strftime('%m%d-%H%M%S')}-{secrets.token_hex(1)}")
    revision = _revision(file, config_dir or file.config_dir, settings, terms)
    settings = revision.settings if revision else settings
    if module := terms["resolvers"] or settings.resolvers:
        import_resolvers(module, settings.root)
    name = checked_name(file.name if sweep is None else sweep, "sweep")
    blocks = _blocks(file, overrides, terms)
    app = None
    if terms["app"] is not None:
        app = _app(terms["app"], entry_point, bool(config_dir or config_name or revision), blocks)
        repository, config = app.repository, app.config_name
    else:
        folder = revision.folder if revision else _config_dir(config_dir or file.config_dir, settings)
        repository = Repository(folder)
        config = config_name or file.config_name or settings.config_name or "config"
    overlay = LaunchArguments(
        entry_point=app.app.entry_point() if app else entry_point,
        queue_name=queue or file.queue,
        sweep_id=name,
        priority=parse_priority(priority) if priority is not None else file.priority,
        config={**file.policies, **_changes(terms)} or None,
        **{field: terms[field] for field in ("job", "build", "repository")},
    )
    grid = Grid.of_blocks(
        repository,
        config,
        blocks,
        multirun=terms["multirun"] or bool(path),
        selection=_selection(file.selection, terms),
        strict=terms["strict"],
        verify=terms["verify"],
    )
    _confirm(len(grid), yes)
    stop = terms["stop_after_failures"] or file.stop_after_failures
    return Wanted(
        grid,
        Sweep(name, file.metric, file.goal, stop_after_failures=stop, notify=file.notify),
        overlay,
        _variables(terms["variables"]),
        app.app.folder if app else revision.uri if revision else str(settings.root),
        revision.version if revision else None,
        Provenance(repository.folder, config, revision.source if revision else None),
        path,
        app,
    )


def _app(words: str, entry_point: list[str] | None, config_given: bool, blocks: Sequence[Block]) -> Outside:
    from launcher.hydra_app.outside import Outside

    if entry_point:
        raise UsageError(f"--app {words!r} and a command after -- contradict each other; give one of them")
    if config_given:
        raise UsageError(f"--app brings its own configs; choose others with: --app '{words} --config-name NAME'")
    try:
        split = shlex.split(words)
    except ValueError as error:
        raise UsageError(f"--app {words!r} is not quoted as a shell would take it: {error}") from error
    return Outside.of(split, blocks)


def _revision(file: SweepFile, config_dir: str | None, settings: Settings, terms: dict[str, Any]) -> Revision | None:
    """The config repository's revision, where the options or the sweep file ask for one."""
    rev, repo = terms["config_rev"] or file.config_rev, terms["config_repo"] or file.config_repo
    if not (rev or repo):
        return None
    if changes := next((name for name in ("dirty", "in_place") if terms[name] not in (None, False, "ignore")), None):
        option = "--in-place" if changes == "in_place" else f"--dirty {terms[changes]}"
        raise UsageError(f"{option} and a config revision contradict each other; a revision holds what is committed")
    if repo:
        return of_repository(repo, rev, config_dir)
    return of_here(str(rev), config_dir, settings)


def _changes(terms: dict[str, Any]) -> dict[str, Any]:
    """What the options say of the spec to begin with: what shall become of uncommitted changes, and of a build."""
    git = {name: terms[name] for name in CHANGES if terms[name]}
    return ({"git": git} if git else {}) | ({"builder": {"base_image": base}} if (base := terms["base_image"]) else {})


def _variables(given: Sequence[str]) -> dict[str, str]:
    """Template variables of the command line: NAME=VALUE, where the value may hold more `=`."""
    pairs = [pair.partition("=") for pair in given]
    if bad := [name for name, equals, _ in pairs if not (name and equals)]:
        raise UsageError(f"--set-var {bad[0]!r} has no value; expected NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _blocks(file: SweepFile, overrides: Sequence[str], terms: dict[str, Any]) -> list[Block]:
    """The file's blocks, each with what the command line adds to all of them."""
    zips = tuple(tuple(key.strip() for key in keys.split(",")) for keys in terms["zips"])
    rules = tuple(Rule.parse(kind, text) for kind in ("exclude", "require") for text in terms[kind])
    return [
        Block((*block.overrides, *overrides), (*block.zips, *zips), (*block.rules, *rules)) for block in file.blocks
    ]


def _selection(file: Selection, terms: dict[str, Any]) -> Selection:
    given = {
        "sample": terms["sample"],
        "seed": terms["sample_seed"],
        "shuffle": terms["order"] and terms["order"] == "shuffle",
    }
    return replace(file, **{name: value for name, value in given.items() if value is not None})


def _split(words: Sequence[str]) -> tuple[Path | None, list[str]]:
    files = [word for word in words if _is_yaml(word) and _names_file(word)]
    if len(files) > 1:
        raise UsageError(f"several sweep files: {', '.join(files)}; give one, or add them one after another")
    return (Path(files[0]) if files else None), [word for word in words if word not in files]


def _names_file(word: str) -> bool:
    """Whether a word is the path of a sweep file, there or not, and no override: `out/lr=0.1/sweep.yaml`, where out/ is
    there, but not `data.file=x.yaml`."""
    key, equals, _ = word.partition("=")
    try:
        return not equals or Path(word).is_file() or ("/" in key and Path(key).parent.is_dir())
    except OSError:  # no file has so long a name
        return False


def _config_dir(explicit: str | None, settings: Settings) -> Path:
    """`explicit`, as seen from here, else the project's setting, as seen from its pyproject.toml, else its conf/."""
    if explicit:
        return Path(explicit)
    return settings.root / (settings.config_dir or "conf")


def _confirm(points: int, yes: bool) -> None:
    if points <= ASK_ABOVE or yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"the grid has {points:,} points; add --yes if that is meant")
    click.confirm(f"The grid has {points:,} points. Go on?", abort=True, err=True)
