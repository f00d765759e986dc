"""What every runner must do, run over each of them: a new runner is done when it passes. A subclass gives the fixture
`place`."""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from launcher import series
from launcher.errors import RunnerError
from launcher.item import Item, Lease, RunState
from launcher.outcome import Cancelled, Failed, Finished, Lost, Outcome
from launcher.paths import RunPaths
from launcher.runners import Handle, Request, Runner, open_runner
from tests.conftest import until

ENVIRON = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
SECRETS = {"HF_TOKEN": "hf-s3cr3t\n'two'", "WANDB_API_KEY": "k3y" * 14}


@dataclass
class Place:
    """A runner's resource, the part of a spec that suits it, and the folder for its runs."""

    root: Path
    resource: str
    spec: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    woken: threading.Event = field(default_factory=threading.Event)
    count: int = 0

    @contextmanager
    def runner(self) -> Iterator[Runner]:
        opened = open_runner(self.resource, self.woken.set, self.options)
        yield opened
        opened.close()

    def paths(self, number: int) -> RunPaths:
        return RunPaths.of(self.root, f"item{number}", 1)

    def lease(self, *command: str, **fields: Any) -> Lease:
        self.count += 1
        item = Item(f"item{self.count}", "q", "s", RunState.LEASED, 2, "name", (), 1, 3, 0.0, 0.0)
        arguments = {**self.spec.get("resource_args", {}), **fields.pop("resource_args", {})}
        document = {
            "entity": "e", "project": "p", "docker": {}, "git": {}, "resource": self.resource,
            "overrides": {"entry_point": list(command[:1]), "args": list(command[1:]), "run_config": {"lr": 0.1}},
            **self.spec, "resource_args": {self.resource: arguments}, **fields,
        }  # fmt: skip
        return Lease(item, secrets.token_hex(8), document)

    def request(self, runner: Runner, *command: str, environ: Mapping[str, str] = ENVIRON, **fields: Any) -> Request:
        lease = self.lease(*command, **fields)
        self.paths(self.count).create({})
        code = "" if "docker_image" in lease.document["docker"] else str(self.root)
        return runner.request(lease, self.paths(self.count), code, environ)

    def start(self, runner: Runner, *command: str, **fields: Any) -> tuple[str, Handle]:
        request = self.request(runner, *command, **fields)
        [handle] = submitted(runner, [request])
        assert not isinstance(handle, RunnerError), handle
        return request.token, json.loads(json.dumps(handle))  # what a store keeps of it

    def log(self, number: int = 1) -> str:
        return self.paths(number).log.read_text()


def submitted(runner: Runner, requests: Sequence[Request]) -> list[Handle | RunnerError]:
    """What became of the start of each, when all have said it."""
    told: dict[str, Handle | RunnerError] = {}

    def tell(token: str, answer: Handle | RunnerError) -> None:
        assert token not in told, "each is told of once"
        told[token] = answer

    runner.submit(requests, tell)
    until(lambda: len(told) == len(requests), "all starts")
    return [told[request.token] for request in requests]


def outcome(runner: Runner, token: str, handle: Handle) -> Outcome:
    return until(lambda: runner.poll({token: handle})[token], "the end of the run")


def processes(token: str) -> list[int]:
    """Those of a run, in a container or not."""
    mark = f"LAUNCHER_LEASE_TOKEN={token}".encode()
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if mark in _read(path)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


class RunnerContract:
    def shell(self, place: Place, script: str, **fields: Any) -> Outcome:
        """How a script ends."""
        with place.runner() as runner:
            return outcome(runner, *place.start(runner, "sh", "-c", script, **fields))

    def test_a_run_finishes_and_its_output_is_kept_in_order(self, place: Place) -> None:
        assert self.shell(place, "echo one; echo two; echo other >&2; echo three") == Finished(None)
        lines = place.log().splitlines()
        lines.remove("other")  # no more is promised of two streams
        assert lines == ["one", "two", "three"]

    def test_a_run_fails_with_its_exit_code_and_last_line(self, place: Place) -> None:
        assert self.shell(place, "echo hello >&2; echo bad lr >&2; exit 3") == Failed("run", "exit code 3: bad lr", 3)

    def test_a_run_killed_by_a_signal(self, place: Place) -> None:
        assert self.shell(place, "kill -9 $$") == Failed("run", "killed by SIGKILL", -9)

    def test_a_result_is_read(self, place: Place) -> None:
        assert self.shell(place, """echo '{"loss": 0.5}' > "$LAUNCHER_RESULT" """) == Finished({"loss": 0.5})

    def test_a_result_that_is_none_fails(self, place: Place) -> None:
        ended = self.shell(place, 'echo "[1]" > "$LAUNCHER_RESULT"')
        assert isinstance(ended, Failed)
        assert (ended.stage, ended.exit_code) == ("result", 0)

    def test_output_streams_and_the_end_wakes_the_agent(self, place: Place) -> None:
        with place.runner() as runner:
            token, handle = place.start(
                runner, "sh", "-c", 'echo begun; until [ -e "$LAUNCHER_RUN_DIR/go" ]; do :; done'
            )
            until(lambda: place.paths(1).log.is_file() and place.log() == "begun\n", "the log")
            assert runner.poll({token: handle}) == {token: None}
            place.woken.clear()
            (place.paths(1).folder / "go").touch()
            assert place.woken.wait(60)
            assert outcome(runner, token, handle) == Finished(None)
            assert place.log() == "begun\n"

    def test_arguments_arrive_as_they_are(self, place: Place) -> None:
        odd = ["a b", "", "it's", 'say "hi"', "$HOME", "two\nlines", "--help", "ä"]
        with place.runner() as runner:
            outcome(runner, *place.start(runner, "sh", "-c", 'printf "<%s>" "$@"', "sh", *odd))
        assert place.log() == "".join(f"<{text}>" for text in odd)

    def test_the_environment_of_the_contract(self, place: Place) -> None:
        own = {"A": 'it\'s\n"two" lines\\', "PATH_OF_RUN": "/data/${run_id}", "EMPTY": "", "FLAG": True, "N": 3}
        assert self.shell(place, "env -0", resource_args={"env": own}, author="me") == Finished(None)
        seen = dict(entry.split("=", 1) for entry in place.log().split("\0") if entry)
        folder = str(place.paths(1).folder)
        expected = {
            "WANDB_PROJECT": "p", "WANDB_ENTITY": "e", "WANDB_RUN_ID": "item1", "WANDB_LAUNCH": "True",
            "WANDB_LAUNCH_QUEUE_NAME": "q", "WANDB_USERNAME": "me", "WANDB_SWEEP_ID": "s",
            "WANDB_CONFIG": '{"lr": 0.1}', "LAUNCHER_RUN_DIR": folder, "LAUNCHER_CONFIG": f"{folder}/config.yaml",
            "LAUNCHER_RESULT": f"{folder}/result.json", "LAUNCHER_ATTEMPT": "1", "A": own["A"],
            "PATH_OF_RUN": "/data/item1", "EMPTY": "", "FLAG": "true", "N": "3",
        }  # fmt: skip
        assert {name: seen.get(name) for name in expected} == expected

    def test_secrets_reach_the_run_and_nobody_else(self, place: Place) -> None:
        with place.runner() as runner:
            script = 'echo "$TOKEN $WANDB_API_KEY"; until [ -e "$LAUNCHER_RUN_DIR/go" ]; do :; done'
            request = place.request(
                runner, "sh", "-c", script, environ=ENVIRON | SECRETS, secrets=["HF_TOKEN"],
                resource_args={"env": {"TOKEN": "${HF_TOKEN}"}},
            )  # fmt: skip
            [handle] = submitted(runner, [request])
            assert not isinstance(handle, RunnerError)
            until(lambda: place.paths(1).log.is_file() and "k3y" in place.log(), "the log")
            assert place.log() == f"{SECRETS['HF_TOKEN']} {SECRETS['WANDB_API_KEY']}\n"
            told = json.dumps(handle) + " ".join(request.argv)
            left = [path for path in place.root.rglob("*") if path.is_file() and path != place.paths(1).log]
            (place.paths(1).folder / "go").touch()
            outcome(runner, request.token, handle)
        assert "s3cr3t" not in told
        assert "k3yk3y" not in told
        assert not [path for path in left if b"s3cr3t" in path.read_bytes() or b"k3yk3y" in path.read_bytes()]

    def test_a_secret_that_the_agent_has_not(self, place: Place) -> None:
        with (
            place.runner() as runner,
            pytest.raises(RunnerError, match="the agent's environment has no OTHER") as error,
        ):
            place.request(runner, "true", secrets=["OTHER"])
        assert error.value.stage == "prepare"

    def test_many_start_at_once_and_are_polled_at_once(self, place: Place) -> None:
        with place.runner() as runner:
            requests = [place.request(runner, "sh", "-c", f"echo {number}; exit {number}") for number in range(5)]
            handles = dict(zip((request.token for request in requests), submitted(runner, requests), strict=True))
            ended: dict[str, Outcome] = {}

            def all_ended() -> bool:
                left = {token: handle for token, handle in handles.items() if token not in ended}
                ended.update((token, found) for token, found in runner.poll(left).items() if found)
                return len(ended) == 5

            until(all_ended)
        assert [ended[request.token] for request in requests] == [
            Finished(None), *(Failed("run", f"exit code {number}: {number}", number) for number in range(1, 5)),
        ]  # fmt: skip

    def test_a_silent_run_is_cancelled(self, place: Place) -> None:
        with place.runner() as runner:
            token, handle = place.start(runner, "sleep", "1000")
            until(lambda: processes(token), "its process")
            runner.cancel(token, handle)
            runner.cancel(token, handle)
            assert outcome(runner, token, handle) == Cancelled("stopped; it ended with signal 15")
            runner.cancel(token, handle)
        until(lambda: not processes(token), "the end of its processes")

    def test_a_run_that_is_stopped_keeps_what_it_reported(self, place: Place) -> None:
        with place.runner() as runner:
            tell = """echo '{"step":1,"loss":0.5}' > "$(dirname "$LAUNCHER_RESULT")/series.jsonl" """
            point = f"{tell}; echo told; sleep 1000"
            token, handle = place.start(runner, "sh", "-c", point)
            until(lambda: place.paths(1).log.is_file() and place.log(), "its point")
            runner.cancel(token, handle)
            stopped = outcome(runner, token, handle)
        assert isinstance(stopped, Cancelled)
        assert stopped.result == {"loss": 0.5}
        assert stopped.series
        assert series.unpack(stopped.series) == [{"step": 1, "loss": 0.5}]

    def test_a_run_that_will_not_end_is_killed_after_the_grace_time(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in ("local_process", "local_container", "engines"):
            monkeypatch.setattr(f"launcher.runners.{module}.GRACE_SECONDS", 1.0)
        with place.runner() as runner:
            script = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
            token, handle = place.start(runner, "sh", "-c", script)
            until(lambda: place.paths(1).log.is_file() and place.log(), "its trap")
            runner.cancel(token, handle)
            assert outcome(runner, token, handle) == Cancelled("stopped; it ended with signal 9")
        until(lambda: not processes(token), "the end of its processes")

    def test_cancelling_ends_what_a_run_has_started(self, place: Place) -> None:
        with place.runner() as runner:
            token, handle = place.start(runner, "sh", "-c", "sleep 1000 & sleep 1000 & echo ready; wait")
            until(lambda: place.paths(1).log.is_file() and place.log() and len(processes(token)) >= 3)
            runner.cancel(token, handle)
            assert isinstance(outcome(runner, token, handle), Cancelled)
        until(lambda: not processes(token), "the end of its processes")

    @pytest.mark.parametrize("code", [0, 3])
    def test_what_a_run_left_behind_ends_with_it(self, place: Place, code: int) -> None:
        with place.runner() as runner:
            token, handle = place.start(runner, "sh", "-c", f"sleep 1000 & exit {code}")
            assert isinstance(outcome(runner, token, handle), Failed if code else Finished)
            until(lambda: not processes(token), "the end of its processes")

    def test_a_request_is_a_value_that_can_be_shown(self, place: Place) -> None:
        with place.runner() as runner:
            requests = [place.request(runner, "echo", "shown", resource_args={"env": {"A": "b"}}) for _ in range(2)]
            told = "".join(runner.show(requests, place.root)).replace("'", "")
            assert re.search(r"\becho( .*)? shown\b", told), told  # Docker has the image between them
            assert runner.room() >= 2
            assert runner.submitted(requests[0].token, place.root) is None
        assert not place.paths(1).log.exists()

    def test_another_runner_goes_on_with_a_run_by_its_handle(self, place: Place) -> None:
        wait = 'echo begun; until [ -e "$LAUNCHER_RUN_DIR/go" ]; do :; done'
        script = wait + """; echo '{"a": 1}' > "$LAUNCHER_RESULT"; echo over"""
        with place.runner() as first, place.runner() as second:
            token, handle = place.start(first, "sh", "-c", script)
            until(lambda: place.paths(1).log.is_file() and place.log(), "the log")
            assert second.poll({token: handle}) == {token: None}
            (place.paths(1).folder / "go").touch()
            assert outcome(second, token, handle) == Finished({"a": 1})
            assert place.log() == "begun\nover\n"

    def test_another_runner_cancels_a_run_by_its_handle(self, place: Place) -> None:
        with place.runner() as first, place.runner() as second:
            token, handle = place.start(first, "sleep", "1000")
            second.cancel(token, handle)
            assert isinstance(outcome(second, token, handle), Cancelled)

    def test_a_run_that_ended_while_nobody_watched_is_judged_the_same(self, place: Place) -> None:
        with place.runner() as first, place.runner() as second:
            token, handle = place.start(first, "sh", "-c", "echo bad; exit 4")
            assert outcome(first, token, handle) == Failed("run", "exit code 4: bad", 4)
            assert outcome(second, token, handle) == Failed("run", "exit code 4: bad", 4), "it is written down"

    def test_it_tells_when_a_run_ran_however_late_one_looks(self, place: Place) -> None:
        late = 3.0
        with place.runner() as first, place.runner() as second:
            token, handle = place.start(first, "sh", "-c", "date +%s; sleep 1; date +%s")
            until(lambda: place.paths(1).log.is_file() and place.log().count("\n") == 2, "the log")
            began, ended = map(int, place.log().split())  # in whole seconds
            until(lambda: time.time() > ended + late, "the time to look")
            finished = outcome(second, token, handle)
            assert isinstance(finished, Finished)
            assert finished.ran
            assert finished.ran.began < began + 1
            assert ended <= finished.ran.ended < ended + late

    def test_a_program_that_is_not_there(self, place: Place) -> None:
        with place.runner() as runner:
            good = place.request(runner, "true")
            bad = place.request(runner, "no-such-program", "--x")
            handle, other = submitted(runner, [good, bad])
            told = str(other if isinstance(other, RunnerError) else outcome(runner, bad.token, other))
            assert "the program 'no-such-program' is not" in told
            assert "correct the entry point" in told
            assert not isinstance(handle, RunnerError)
            assert outcome(runner, good.token, handle) == Finished(None), "the others start"

    def test_strays_are_found_by_their_tokens_and_ended(self, place: Place) -> None:
        with place.runner() as runner:
            started = dict(place.start(runner, "sleep", "1000") for _ in range(2))
            assert runner.strays(place.root / "other") == []
            expected = set(zip(("item1", "item2"), started, strict=True))
            until(lambda: {(stray.item, stray.token) for stray in runner.strays(place.root)} == expected, "both")
            found = runner.strays(place.root)
            doomed, kept = started
            runner.end([stray for stray in found if stray.token == doomed])
            until(lambda: not processes(doomed), "its end")
            assert isinstance(outcome(runner, doomed, started[doomed]), Lost | Failed)
            assert runner.poll({kept: started[kept]}) == {kept: None}
            until(lambda: {stray.token for stray in runner.strays(place.root)} == {kept}, "one left")
            runner.end(runner.strays(place.root))
            until(lambda: not processes(kept), "its end")
