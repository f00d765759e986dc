"""The command line: one command a module, each imported when it is called, so that `launcher status` starts fast.
Errors become one message and an exit code here, and only here."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from launcher.errors import LaunchError, suggest

COMMANDS = {
    "add": "add",
    "agent": "agent",
    "cancel": "change",
    "diff": "diff",
    "events": "events",
    "failures": "failures",
    "gc": "gc",
    "job": "job",
    "logs": "logs",
    "pause": "change",
    "plan": "add",
    "plot": "plot",
    "priority": "change",
    "queue": "queue",
    "results": "results",
    "resume": "change",
    "retry": "change",
    "serve": "serve",
    "show": "show",
    "status": "status",
    "store": "store",
    "sync": "agent",
    "user": "user",
    "wait": "wait",
}


class LazyGroup(click.Group):
    """Finds a command's module by name, and imports it only then."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All commands, for --help."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One command; a usage error names the nearest known one."""
        if cmd_name not in COMMANDS:
            ctx.fail(f"no command {cmd_name!r}; {suggest(cmd_name, COMMANDS)}")
        command = getattr(import_module(f"launcher.cli.{COMMANDS[cmd_name]}"), cmd_name)
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
    launcher plan -m model=svm,mlp seed=range(3)    what would run
    launcher add  -m model=svm,mlp seed=range(3)    queue it
    launcher agent --max-jobs 2                     run it
    launcher status, logs                           follow it
    launcher results, failures                      see what came out
    launcher pause, resume, cancel, retry, priority steer it
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 well, 1 failed, 2 called wrongly, 130 interrupted."""
    try:
        code = cli.main(args=arguments, prog_name="launcher", standalone_mode=False)
    except click.exceptions.Abort:
        code = _fail("interrupted", 130)
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
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        if os.environ.get("LAUNCHER_DEBUG"):
            raise
        code = _fail(
            f"internal error, please report it: {type(error).__name__}: {error} (LAUNCHER_DEBUG=1 shows where)", 1
        )
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> int:
    click.echo(f"launcher: {message}", err=True)
    return code
