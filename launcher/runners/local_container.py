"""Runs as containers of this machine, through the command line of Docker or Podman. A container outlives its agent; by
its handle the next one goes on with it, and by its label one that nobody holds is found."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from launcher.errors import NoRoomError, RunnerError
from launcher.item import Lease
from launcher.outcome import Failed, Lost, Outcome, Ran
from launcher.paths import PRIVATE, RunPaths, write_atomically
from launcher.runners import PROGRAMS, Handle, Request, Stray, Told, engine
from launcher.runners.container_request import SHELL, ContainerRequest, Engine, Image
from launcher.runners.verdict import GRACE_SECONDS, judge, last_line, stopped, written

AT_ONCE = 8
"""How many of the engine's programs start containers, or fetch logs, at a time."""

ENDED = {
    "created": False, "configured": False, "initialized": False, "running": False, "paused": False,
    "restarting": False, "removing": False, "stopping": False, "exited": True, "stopped": True, "dead": True,
}  # fmt: skip
"""Docker's and Podman's states, and whether a container has ended in each; an unknown one goes on."""

NOT_THERE = re.compile(
    r'exec: "([^"]+)": (?:executable file not found|stat )'  # the engine
    r"|FATAL .* exec (.+) failed: No such file"  # its init
    r"|^/launcher/start: .*?([^:\s]+): not found"  # the shell of the image
)
NO_PROGRAM = 127
Answer = TypeVar("Answer")
SIGNAL_CODES = range(129, 129 + 64)


class LocalContainer:
    """The runner for `local-container`; see `launcher.runners.Runner` for its verbs.

    `program`: docker or podman; by default what is on PATH, docker first. `allowed`: options of it that specs may give
    beyond those that are harmless.
    """

    def __init__(self, wake: Callable[[], None], program: str | None = None, allowed: Collection[str] = ()) -> None:
        self._wake = wake
        self._chosen = program
        self._allowed = frozenset(allowed)
        self._starting = ThreadPoolExecutor(AT_ONCE, "starts of containers")
        self._pool = ThreadPoolExecutor(AT_ONCE, "containers")
        self._stopping: dict[str, subprocess.Popen[bytes]] = {}
        self._pulls: set[subprocess.Popen[bytes]] = set()
        self._leaving = False

    def request(self, lease: Lease, paths: RunPaths, code: str, environ: Mapping[str, str]) -> ContainerRequest:
        """See `Runner.request`: the code is mounted read-only, if there is any."""
        uid = os.geteuid()
        user = f"{uid}:{os.getegid()}" if uid else None
        return Engine(self._program(), user, self._allowed).request(lease, paths, code or None, environ)

    def show(self, requests: Sequence[Request], root: Path) -> Iterator[str]:  # noqa: ARG002 - the protocol's
        """See `Runner.show`."""
        for request in map(_as_asked, requests):
            yield f"{shlex.join(request.command_line(Image(request.image, '', (), (), '')))}\n"

    def room(self) -> int:
        """See `Runner.room`: the agent counts."""
        return sys.maxsize

    def submit(self, requests: Sequence[Request], tell: Told) -> None:
        """See `Runner.submit`. An image that is not here is pulled first, once for all that want it."""
        wanted: dict[str, list[ContainerRequest]] = {}
        for request in map(_as_asked, requests):
            wanted.setdefault(request.image, []).append(request)
        for name, asked in wanted.items():
            self._starting.submit(self._start_all, name, asked, tell)

    def hurry(self) -> None:
        """See `Runner.hurry`: it is the pulls of images that take their time."""
        self._leaving = True
        for pull in self._pulls.copy():
            pull.terminate()

    def poll(self, handles: Mapping[str, Handle]) -> dict[str, Outcome | None]:
        """See `Runner.poll`."""
        seen: dict[str, dict[str, Any] | None] = {}
        for program in {handle["program"] for handle in handles.values()}:
            seen |= engine.inspected(
                program, [handle["id"] for handle in handles.values() if handle["program"] == program]
            )
        over = {token for token, handle in handles.items() if _is_over(seen.get(handle["id"], {}))}
        outcomes = self._pool.map(lambda token: self._outcome(token, handles[token], seen[handles[token]["id"]]), over)
        return dict.fromkeys(handles) | dict(zip(over, outcomes, strict=True))

    def cancel(self, token: str, handle: Handle) -> None:
        """See `Runner.cancel`: the engine sends SIGTERM (or the image's own signal), and SIGKILL after the grace time;
        it does so too if the agent ends meanwhile."""
        stopping = self._stopping.get(token)
        if stopping is None or stopping.poll() not in (None, 0):
            self._stopping[token] = engine.begin(
                handle["program"], "stop", "-t", str(round(GRACE_SECONDS)), handle["id"]
            )

    def strays(self, root: Path) -> list[Stray]:
        """See `Runner.strays`: the containers with our labels, and what was to be read by those that began to start.

        Nothing where no container was ever started: then no engine is asked.
        """
        if not (root / PRIVATE).is_dir():
            return []
        found = [Stray(str(folder), *folder.name.rsplit("-", 1)) for folder in (root / PRIVATE).glob("*-*")]
        for program in filter(shutil.which, PROGRAMS):
            left = engine.left(program, str(root))
            found += (Stray(f"{program}:{container}", item, token) for container, item, token in left)
        return found

    def submitted(self, token: str, root: Path) -> Handle | None:  # noqa: ARG002 - the protocol's
        """See `Runner.submitted`: such a run is a stray here, and is started again."""
        return None

    def end(self, strays: Sequence[Stray]) -> None:
        """See `Runner.end`."""
        names = [str(stray.id) for stray in strays]
        for program in PROGRAMS:
            head = f"{program}:"
            engine.remove(program, [name.removeprefix(head) for name in names if name.startswith(head)])
        for name in names:
            if name.startswith("/"):
                shutil.rmtree(name, ignore_errors=True)

    def close(self) -> None:
        """See `Runner.close`: what was begun is done before: what ended is removed, what is being stopped ends."""
        for stopping in self._stopping.values():
            stopping.wait()
        self._starting.shutdown()
        self._pool.shutdown()

    # -- how runs start -------------------------------------------------------------------------------------------

    def _program(self) -> str:
        for program in (self._chosen,) if self._chosen else PROGRAMS:
            if shutil.which(program):
                return program
        known = self._chosen or " or ".join(PROGRAMS)
        raise RunnerError(
            f"{known} is not on this agent's PATH; install it, or give the run another resource", "prepare"
        )

    def _found_image(self, name: str) -> Image | RunnerError:
        """The image as it is now, pulled if it is not here."""
        program = self._program()
        image = engine.local_image(program, name)
        if image is None:
            told = self._pull(program, name)
            image = engine.local_image(program, name)
            if image is None and self._leaving:
                return NoRoomError(f"its agent stopped while the image {name!r} was pulled")
            if image is None:
                return RunnerError(
                    f"the image {name!r} is not on this machine and cannot be pulled ({engine.last(told)}); "
                    f"correct its name, log in to its registry, or bring it here: {program} load",
                    "prepare",
                )
        return image

    def _pull(self, program: str, name: str) -> str:
        """What the engine says while it fetches an image, to which it takes as long as it likes."""
        pull = engine.begin(program, "pull", "--quiet", name, output=subprocess.PIPE)
        self._pulls.add(pull)
        if self._leaving:  # nobody saw this one
            pull.terminate()
        try:
            return pull.communicate()[0].decode(errors="replace")
        finally:
            self._pulls.discard(pull)

    def _start_all(self, name: str, requests: Sequence[ContainerRequest], tell: Told) -> None:
        image = _answered(partial(self._found_image, name))
        for request in requests:
            self._starting.submit(self._start_one, request, image, tell)

    def _start_one(self, request: ContainerRequest, image: Image | RunnerError, tell: Told) -> None:
        if isinstance(image, RunnerError):
            tell(request.token, image)
        else:
            tell(request.token, _answered(partial(self._start, request, image)))

    def _start(self, request: ContainerRequest, image: Image) -> Handle | RunnerError:
        if not (request.entry_point or request.arguments or image.entry_point or image.command):
            return RunnerError(f"the image {request.image!r} has no command of its own; give an entry_point", "prepare")
        paths = RunPaths(Path(request.log).parent)
        private = paths.private(request.token)
        program = request.argv[0]
        try:
            _write_private(private, request)
            user = image.user if request.user is None else request.user
            if user.partition(":")[0] not in ("", "root", str(os.geteuid())):
                paths.folder.chmod(0o777)  # the run is somebody else there, and has its results to leave
            done = engine.ask(*request.command_line(image), env=request.beside(), seconds=None)
        except OSError as error:
            return RunnerError(f"the run's container cannot be started: {error}")
        finally:
            shutil.rmtree(private, ignore_errors=True)
        container = done.stdout.strip()
        if done.returncode:
            engine.remove(program, [container] if container else [])
            told = engine.last(done.stderr)
            return RunnerError(_why_not(told, request.image) or f"the container cannot be started: {told}")
        handle: dict[str, Any] = {
            "id": container, "program": program, "image": image.id, "name": request.image, "dir": str(paths.folder)
        }  # fmt: skip
        handle |= {"digest": image.digest} if image.digest else {}
        handle |= {"keep": True} if request.keep else {}
        log = paths.log.open("wb")  # here, not in the thread, which may come when all is over and kept
        threading.Thread(target=self._follow, args=(handle, log), daemon=True, name="container's log").start()
        return handle

    def _follow(self, handle: Handle, log: BinaryIO) -> None:
        """Bring what a run prints to its log, and wake the agent when it has ended."""
        with suppress(OSError), log:  # the program may be gone
            engine.begin(handle["program"], "logs", "--follow", handle["id"], output=log).wait()
            engine.begin(handle["program"], "wait", handle["id"]).wait()
        self._wake()

    # -- how runs end ---------------------------------------------------------------------------------------------

    def _outcome(self, token: str, handle: Handle, seen: Mapping[str, Any] | None) -> Outcome:
        paths = RunPaths(Path(handle["dir"]))
        if stopping := self._stopping.pop(token, None):
            self._pool.submit(stopping.wait)  # it ends after its container, and is a zombie until somebody asks
        ran = None
        if seen is None:
            exit_code = written(paths)
            if exit_code is None:
                return Lost("its container was removed, so its exit code is unknown")
        else:
            ran = Ran.told(seen["state"].get("StartedAt"), seen["state"].get("FinishedAt"))
            exit_code = _exit_code(seen["state"])
            with suppress(OSError):  # a folder that is gone
                _keep_log(handle, paths)
                write_atomically(paths.exit_code, f"{exit_code}\n")
            if not handle.get("keep"):
                self._pool.submit(engine.remove, handle["program"], [handle["id"]])
        if stopping:
            return stopped(exit_code, paths, ran)
        outcome = judge(exit_code, paths, ran)
        if seen and seen["state"].get("OOMKilled") and isinstance(outcome, Failed):
            return replace(outcome, reason=_out_of_memory(seen["memory"]))
        if exit_code == NO_PROGRAM and isinstance(outcome, Failed):
            return replace(outcome, reason=_why_not(last_line(paths.log), handle["name"]) or outcome.reason)
        return outcome


def _answered(start: Callable[[], Answer]) -> Answer | RunnerError:
    """What a start comes to; whatever goes wrong, for the agent waits until it hears something."""
    try:
        return start()
    except RunnerError as error:
        return error
    except Exception as error:  # nobody hears what this thread raises
        return RunnerError(f"the run's container cannot be started: {error!r}")


def _as_asked(request: Request) -> ContainerRequest:
    return cast(ContainerRequest, request)


def _is_over(seen: Mapping[str, Any] | None) -> bool:
    """`seen`: {} where the engine did not say, None where the container is gone."""
    return seen is None or ENDED.get(str(seen.get("state", {}).get("Status")).lower(), False)


def _exit_code(state: Mapping[str, Any]) -> int:
    """128 + N is what engines, as shells, tell of a program that signal N ended."""
    code = int(state["ExitCode"])
    return 128 - code if code in SIGNAL_CODES else code


def _out_of_memory(limit: int) -> str:
    told = f" of {limit / 2**20:.0f} MiB" if limit else ""
    return f"out of memory: it was killed at its limit{told}; ask for more in resource_args.local-container.memory"


def _keep_log(handle: Handle, paths: RunPaths) -> None:
    """The whole log, at once: whatever became of those that followed it, nothing is missing or there twice."""
    whole = paths.log.with_name(f"{paths.log.name}.partial")
    with whole.open("wb") as output:
        done = engine.begin(handle["program"], "logs", handle["id"], output=output).wait()
    if done == 0:
        whole.replace(paths.log)
    else:
        whole.unlink()


def _write_private(folder: Path, request: ContainerRequest) -> None:
    """In a folder that is closed to others. The container's user, whoever that is, reads the secrets, which are
    mounted; the environment is read by the engine's program."""
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, text, mode in (("env", request.env_file(), 0o600), ("start", request.start_script(), 0o444)):
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(mode)


def _why_not(told: str, image: str) -> str | None:
    """What the engine, its init or the shell say of a program that they cannot start, for people."""
    match = NOT_THERE.search(told)
    if not match:
        return None
    program = next(filter(None, match.groups()))
    if program == SHELL:
        return (
            f"the image {image!r} has no {SHELL}, through which a run gets its secrets unseen; take an image with a "
            'shell, or do without: WANDB_API_KEY: "" in env'
        )
    return f"the program {program!r} is not in the image {image!r}; correct the entry point"
