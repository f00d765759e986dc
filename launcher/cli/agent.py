"""`launcher agent`: run what waits in the queues, under a progress bar on a terminal, a line a run in a pipe."""

from __future__ import annotations

import os
import shlex
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from launcher import tracing
from launcher.agent import Agent, AgentEvent
from launcher.agent.host import died_here
from launcher.cli.agent_events import displayed
from launcher.cli.status import HOLDS
from launcher.cli.targets import agent_folder, folder_option, opened, store_option
from launcher.errors import LaunchError, NotFoundError, UsageError, suggest
from launcher.item import RunState
from launcher.queues import Store
from launcher.runners import NEEDED, PROGRAMS, REMOTE, RUNNABLE, runnable_here
from launcher.runners.kubernetes.policy import FIELDS
from launcher.slots import chosen, discover

OTHERS = "that this agent cannot run"
"""What waits without being held: it asks for more room than there is, or is for an engine that is not here."""


@click.command()
@click.option("--queue", "-q", "queues", multiple=True, metavar="QUEUE", help="Take from this queue (default: all).")
@click.option(
    "--max-jobs", "-j", type=click.IntRange(1), help="Runs at a time (default: 1; on an engine, as many as it takes)."
)
@click.option("--drain", is_flag=True, help="Stop when nothing waits any more.")
@click.option(
    "--submit-only", is_flag=True, help="Hand what waits to its engines, and leave; `launcher sync` collects later."
)
@click.option("--cpus", type=click.FloatRange(0), metavar="N", help="CPUs for its runs (default: this machine's).")
@click.option("--memory", metavar="AMOUNT", help="Memory for its runs, as 64G (default: this machine's).")
@click.option(
    "--gpus", metavar="N|NAMES", help="GPUs for its runs, a number or as 0,1 (default: those nvidia-smi finds)."
)
@folder_option
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True,
    envvar="LAUNCHER_LOG_FORMAT", show_envvar=True, help="Lines for people, or an object of JSON a line.",
)  # fmt: skip
@click.option(
    "--container-program", type=click.Choice(PROGRAMS), envvar="LAUNCHER_CONTAINER_PROGRAM",
    help="What runs containers (default: docker, or podman where that is not on PATH).",
)  # fmt: skip
@click.option(
    "--allow-container-option", "allowed", multiple=True, metavar="OPTION",
    help="An option of `docker run` that every run may have, as privileged or device (repeatable).",
)  # fmt: skip
@click.option(
    "--allow-manifest-field", "fields", type=click.Choice(sorted(FIELDS)), multiple=True, metavar="FIELD",
    help="A field of Kubernetes's manifests that every run may have, as securityContext or hostPath (repeatable).",
)  # fmt: skip
@click.option(
    "--poll-seconds", type=click.FloatRange(0.1), metavar="S", help="How often engines are asked (default: 5)."
)
@store_option
def agent(
    queues: tuple[str, ...], max_jobs: int | None, drain: bool, submit_only: bool, folder: Path | None,
    cpus: float | None, memory: str | None, gpus: str | None, log_format: str, container_program: str | None,
    allowed: tuple[str, ...], fields: tuple[str, ...], poll_seconds: float | None, store: str | None,
) -> None:  # fmt: skip
    """Run what waits in the queues.

    Ctrl-C once: take nothing new, wait for what runs here. Twice: stop that, and put it back into its queue. What
    Slurm, Ray or Kubernetes runs goes on without an agent; the next one, or `launcher sync`, goes on with it.
    """
    tracing.set_up()
    slots = chosen(discover(os.environ), cpus, memory, gpus)
    options: dict[str, dict[str, Any]] = {
        "local-container": {"program": container_program, "allowed": allowed}, "kubernetes": {"allowed": fields},
    }  # fmt: skip
    if poll_seconds is not None:
        for resource in REMOTE:
            options.setdefault(resource, {})["poll_seconds"] = poll_seconds
    with opened(store) as target:
        if submit_only:
            _must_detach(target, "--submit-only")
            queues = engine_queues(target, queues)
        _check_queues(target, queues)
        root = agent_folder(target, folder)
        with displayed(target, drain, log_format) as listen:
            worker = Agent(
                target, root, queues=queues or None, max_jobs=max_jobs, drain=drain, slots=slots,
                runner_options=options, listen=listen,
            )  # fmt: skip
            if gpus is None and (told := sharing_gpus(target, worker)):
                listen(AgentEvent("trouble", told))
            with _stopping_on_signals(worker, listen):
                if submit_only:
                    worker.pass_once(take=True)
                elif worker.run() and drain and (left := left_behind(target, queues)):
                    listen(AgentEvent("left", left))


def sharing_gpus(store: Store, worker: Agent) -> str | None:
    """What to tell of an agent that gives out all of its machine's GPUs, beside another one that does so, too."""
    own = worker.info
    for other in store.agents():
        if own.room.get("gpus") and other.room.get("gpus") and other.host == own.host and not died_here(other):
            return (
                f"agent {other.id} of this machine gives its runs GPUs, too, and both may give out the same one; let "
                "each have its part, as --gpus 0,1"
            )
    return None


def left_behind(store: Store, names: Sequence[str]) -> str | None:
    """What waits still in these queues (in all, without names) though their agent has nothing more to do, and what
    would let it run."""
    queues = {queue.name: queue for queue in store.queues() if queue.name in (names or (queue.name,))}
    waiting = [count for count in store.counts() if count.state is RunState.PENDING and count.queue in queues]
    if not (total := sum(count.number for count in waiting)):
        return None
    why: Counter[str] = Counter()
    paused = {count.queue for count in waiting if count.number and queues[count.queue].paused}
    for count in waiting:
        why["in a paused queue" if queues[count.queue].paused else OTHERS] += count.number
    for count in store.holds():
        if count.queue in queues and not queues[count.queue].paused:
            why[HOLDS[str(count.hold)]] += count.number
            why[OTHERS] -= count.number
    told = ", ".join(f"{number:,} {cause}" for cause, number in why.items() if number > 0)
    advice = [
        *(["launcher show ID says why"] if why[OTHERS] > 0 else []),
        *(["launcher resume lets what is held run"] if set(HOLDS.values()) & set(why) else []),
        *(f"launcher queue resume {shlex.quote(name)}" for name in sorted(paused)),
    ]
    return f"{total:,} {'items wait' if total > 1 else 'item waits'} still: {told}; {'; '.join(advice)}"


@click.command()
@click.option("--queue", "-q", "queues", multiple=True, metavar="QUEUE", help="Only of this queue (default: all).")
@folder_option
@store_option
def sync(queues: tuple[str, ...], folder: Path | None, store: str | None) -> None:
    """Collect how the runs ended that engines run while no agent watches; obey what was cancelled meanwhile.

    \b
    launcher agent --submit-only       hand everything that waits to Slurm, and leave
    launcher sync && launcher results  later, as often as you like
    """
    tracing.set_up()
    with opened(store) as target:
        _must_detach(target, "launcher sync")
        queues = engine_queues(target, queues)
        _check_queues(target, queues)
        with displayed(target, False, "text") as listen:
            left = Agent(target, agent_folder(target, folder), queues=queues, listen=listen).pass_once(take=False)
    click.echo(f"{left:,} runs go on" if left else "no run goes on")


def _must_detach(store: Store, what: str) -> None:
    if not store.detaches:
        raise UsageError(
            f"{what} works beside a store only: the server of {store.url} takes agents for lost that are silent for "
            "minutes, and their items wait again. Let an agent stay: launcher agent; or name the server's own store"
        )


def engine_queues(store: Store, names: Sequence[str]) -> tuple[str, ...]:
    """Those of these queues (of all, without names) that engines run; UsageError for one that is another's."""
    known = {queue.name: queue.resource for queue in store.queues()}
    for name in names:
        if known.get(name, "slurm") not in REMOTE:
            raise UsageError(
                f"queue {name!r} is for {known[name]}, which needs an agent that stays; expected one for "
                f"{', '.join(sorted(REMOTE))}"
            )
    if found := tuple(names or (name for name, resource in known.items() if resource in REMOTE)):
        return found
    raise NotFoundError("no queue is for an engine; create one: launcher queue create slurm --resource slurm")


def _check_queues(store: Store, names: Sequence[str]) -> None:
    known = {queue.name: queue for queue in store.queues()}
    for name in names:
        if name not in known:
            raise NotFoundError(
                f"no queue named {name!r}; {suggest(name, known)}. Create it: launcher queue create {shlex.quote(name)}"
            )
        if known[name].resource not in RUNNABLE:
            raise UsageError(
                f"queue {name!r} is for {known[name].resource}, which our agents do not run; they run "
                f"{', '.join(RUNNABLE)}"
            )
        if not runnable_here(known[name].resource):
            raise LaunchError(f"queue {name!r} is for {known[name].resource}, and {NEEDED[known[name].resource]}")


@contextmanager
def _stopping_on_signals(worker: Agent, listen: Callable[[AgentEvent], None]) -> Iterator[None]:
    texts = iter(
        [
            "stopping: waiting for what runs (Ctrl-C again stops it and puts it back)",
            "stopping: ending what runs and putting it back",
        ]
    )

    def stop(*_: Any) -> None:
        worker.stop()
        if text := next(texts, None):
            # Told by another thread: the signal may have interrupted this one while it was printing.
            threading.Thread(target=listen, args=(AgentEvent("stopping", text),)).start()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
