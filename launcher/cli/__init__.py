"""The command line: one command a module, each imported when it is called, so that `launcher status` starts fast.
Errors become one message and an exit code here, and only here."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import click

from launcher.errors import LaunchError, suggest
from launcher.terminal import clean_lines


class Entry(NamedTuple):
    """Where a command is, and what `launcher --help` says of it without importing it."""

    module: str
    summary: str


SECTIONS = {
    "Queue": {
        "plan": Entry("add", "Print every run that `add` would queue"),
        "add": Entry("add", "Queue a run, or with -m one for each point of a grid"),
        "queue": Entry("queue", "Create, change, list and show queues"),
        "job": Entry("job", "Give code or an image a name, versions and inputs"),
    },
    "Run": {
        "agent": Entry("agent", "Run what waits in the queues"),
        "sync": Entry("agent", "Collect what engines ran while no agent watched"),
        "serve": Entry("serve", "Let W&B's client and agent work on these queues"),
        "user": Entry("user", "Add, list and revoke the users of `launcher serve`"),
    },
    "Follow": {
        "status": Entry("status", "How many items are in which state"),
        "show": Entry("show", "All about an item: state and why, code, config, attempts"),
        "logs": Entry("logs", "What a run wrote to its output"),
        "events": Entry("events", "What happened, to all or to some, oldest first"),
        "watch": Entry("watch", "A sweep live on the terminal, with keys that steer it"),
        "wait": Entry("wait", "Wait until everything named has ended"),
    },
    "See what came out": {
        "results": Entry("results", "What the runs reported, best first; means over seeds"),
        "failures": Entry("failures", "Why runs failed, folded by cause"),
        "plot": Entry("plot", "Draw sweeps, to PNG, SVG or one HTML page"),
        "diff": Entry("diff", "How two items or sweeps differ: config, code, command"),
    },
    "Steer": {
        "pause": Entry("change", "Let agents pass over waiting items"),
        "resume": Entry("change", "Let agents take them again"),
        "priority": Entry("change", "Let waiting items go first, or last"),
        "cancel": Entry("change", "Cancel waiting items, stop running ones"),
        "retry": Entry("change", "Queue failed and cancelled items again"),
    },
    "Look after": {
        "store": Entry("store", "The store: version, size, health, backup"),
        "gc": Entry("gc", "Remove the folders and logs of items that ended long ago"),
    },
}
NO_ARGUMENTS: type[click.UsageError] | tuple[()] = getattr(click.exceptions, "NoArgsIsHelpError", ())
"""What click raises, with the help as its message, for a group without a command; click 8.1 prints the help itself."""

COMMANDS = {name: entry for commands in SECTIONS.values() for name, entry in commands.items()}


class LazyGroup(click.Group):
    """Finds a command's module by name, and imports it only then."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All commands, for --help."""
        return list(COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The commands by what they are for, without importing one."""
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                width = max(map(len, COMMANDS))  # the same in all sections
                formatter.write_dl([(f"{name:<{width}}", entry.summary) for name, entry in commands.items()])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One command; a usage error names the nearest known one."""
        if cmd_name not in COMMANDS:
            ctx.fail(f"no command {cmd_name!r}; {suggest(cmd_name, COMMANDS)}")
        command = getattr(import_module(f"launcher.cli.{COMMANDS[cmd_name].module}"), cmd_name)
        assert isinstance(command, click.Command)
        return command


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        from launcher import __version__

        click.echo(f"launcher {__version__}")
        ctx.exit()


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
def cli() -> None:
    """From a Hydra grid to finished runs.

    \b
    launcher plan -m model=svm,mlp 'seed=range(3)'    what would run
    launcher add  -m model=svm,mlp 'seed=range(3)'    queue it
    launcher agent --max-jobs 2                       run it
    launcher results                                  see what came out
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 well, 1 failed, 2 called wrongly, 130 interrupted."""
    try:
        code = cli.main(args=arguments, prog_name="launcher", standalone_mode=False)
    except click.exceptions.Abort:
        code = _fail("interrupted", 130)
    except NO_ARGUMENTS as error:
        click.echo(error.format_message())
        code = 0
    except click.UsageError as error:
        where = f" (see: {error.ctx.command_path} --help)" if error.ctx else ""
        code = _fail(f"{error.format_message()}{where}", 2)
    except click.ClickException as error:
        code = _fail(error.format_message(), 1)
    except LaunchError as error:
        code = _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        code = _fail("interrupted", 130)
    except BrokenPipeError:  # who read our output, as `head` does, has seen enough
        from launcher.cli.printing import forget_output

        forget_output()
        code = 1
    except Exception as error:
        if os.environ.get("LAUNCHER_DEBUG"):
            raise
        code = _fail(_unexpected(error), 1)
    sys.exit(code if isinstance(code, int) else 0)


def _unexpected(error: Exception) -> str:
    """What nobody foresaw, in words: what the system refuses, a name too long or a full disk, is no bug of ours."""
    if isinstance(error, OSError):
        if _nowhere():
            return "the current folder is gone; change to one that is there"
        if error.filename:
            return f"{error.filename}: {error.strerror}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            return f"the output, or a file, cannot be written: {error.strerror}"
    return f"internal error, please report it: {type(error).__name__}: {error} (LAUNCHER_DEBUG=1 shows where)"


def _nowhere() -> bool:
    try:
        Path.cwd()
    except OSError:
        return True
    return False


def _fail(message: str, code: int) -> int:
    if not os.environ.get("_LAUNCHER_COMPLETE", "").endswith("_complete"):  # a shell completes: words break its prompt
        click.echo(clean_lines(f"launcher: {message}"), err=True)
    return code
