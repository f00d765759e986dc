"""slurm keeps the runners' contract, on a real cluster; and what only Slurm has: arrays, packing, requeueing, and all
that goes wrong with a cluster."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import NoRoomError, RunnerError
from launcher.outcome import Cancelled, Failed, Finished, Lost, Outcome
from launcher.runners import Handle, Runner, engines, slurm_cluster
from launcher.runners.node import REQUEST
from tests.conftest import until
from tests.runners.contract import Place, outcome, processes, submitted
from tests.runners.engine_contract import WAIT, EngineContract, begun, go
from tests.slurm import SlurmCluster

SOON = {"poll_seconds": 0.1}


@pytest.fixture
def place(tmp_path: Path, slurm: SlurmCluster) -> Place:
    return Place(tmp_path / "runs", "slurm", {}, SOON)


@pytest.fixture
def runner(place: Place) -> Iterator[Runner]:
    with place.runner() as opened:
        yield opened


class TestSlurm(EngineContract):
    @pytest.fixture
    def place(self, tmp_path: Path, slurm: SlurmCluster) -> Place:
        return Place(tmp_path / "runs", "slurm", {}, SOON)


def job_of(handle: Handle) -> str:
    return f"{handle['job']}_{handle['task']}"


def node_of(slurm: SlurmCluster, handle: Handle) -> str:
    return slurm.run("squeue", "-h", "-o", "%N", "-j", job_of(handle)).strip()


@pytest.mark.parametrize("running", [True, False])
def test_a_job_that_somebody_cancels_in_slurm_is_cancelled(
    place: Place, runner: Runner, slurm: SlurmCluster, running: bool
) -> None:
    token, handle = (
        begun(place, runner) if running else place.start(runner, "true", resource_args={"begin": "now+1hour"})
    )
    slurm.run("scancel", job_of(handle))
    ended = outcome(runner, token, handle)
    assert isinstance(ended, Cancelled)
    assert "Slurm says CANCELLED" in ended.reason
    assert ("signal 15" in ended.reason) is running


def test_the_controller_is_restarted_in_the_middle(place: Place, runner: Runner, slurm: SlurmCluster) -> None:
    token, handle = begun(place, runner)
    slurm.kill("slurmctld")
    assert runner.poll({token: handle}) == {token: None}
    until(lambda: runner.room() == 0, "no room")
    late = place.request(runner, "sh", "-c", "echo twice")
    [refused] = submitted(runner, [late])
    assert isinstance(refused, NoRoomError)
    go(place)
    slurm.start("slurmctld")
    assert outcome(runner, token, handle) == Finished(None)
    until(lambda: runner.room() > 0, "room again")
    assert runner.submitted(late.token, place.root) is None
    assert not place.paths(2).log.exists(), "what was refused is not started later"


def test_a_node_fails_and_its_run_is_started_again_elsewhere(place: Place, runner: Runner, slurm: SlurmCluster) -> None:
    token, handle = begun(place, runner)
    node = node_of(slurm, handle)
    slurm.crash(node)
    slurm.run("scontrol", "update", f"nodename={node}", "state=down", "reason=crash")
    until(lambda: place.log().count("begun") == 2, "its second start")
    assert node_of(slurm, handle) != node
    assert runner.poll({token: handle}) == {token: None}
    go(place)
    assert outcome(runner, token, handle) == Finished(None)
    assert place.log() == "begun\nbegun\nover\n"


def test_a_node_fails_for_good(place: Place, runner: Runner, slurm: SlurmCluster) -> None:
    token, handle = begun(place, runner, resource_args={"no-requeue": True})
    node = node_of(slurm, handle)
    slurm.crash(node)
    slurm.run("scontrol", "update", f"nodename={node}", "state=down", "reason=crash")
    ended = outcome(runner, token, handle)
    assert isinstance(ended, Lost)
    assert "Slurm says NODE_FAIL" in ended.reason


def test_the_daemon_of_a_node_is_restarted(place: Place, runner: Runner, slurm: SlurmCluster) -> None:
    token, handle = begun(place, runner)
    node = node_of(slurm, handle)
    slurm.kill(node)
    assert runner.poll({token: handle}) == {token: None}
    slurm.start(node)
    go(place)
    assert outcome(runner, token, handle) == Finished(None)
    assert place.log() == "begun\nover\n"


def test_a_node_is_drained(place: Place, runner: Runner, slurm: SlurmCluster) -> None:
    token, handle = begun(place, runner)
    slurm.run("scontrol", "update", f"nodename={node_of(slurm, handle)}", "state=drain", "reason=work")
    go(place)
    assert outcome(runner, token, handle) == Finished(None)


def test_a_job_that_slurm_requeues_is_the_same_run(place: Place, runner: Runner, slurm: SlurmCluster) -> None:
    token, handle = begun(place, runner, resource_args={"begin": "now"})
    slurm.run("scontrol", "requeue", job_of(handle))
    until(lambda: place.log().count("begun") == 2, "its second start")
    go(place)
    assert outcome(runner, token, handle) == Finished(None)


def test_a_program_that_is_warned_may_save_its_state_and_go_on(
    place: Place, runner: Runner, slurm: SlurmCluster
) -> None:
    script = """
    if [ -e "$LAUNCHER_RUN_DIR/saved" ]; then echo "restart $LAUNCHER_RESTARTS"; exit 0; fi
    trap 'touch "$LAUNCHER_RUN_DIR/saved"; exit 75' USR1
    echo begun; while :; do sleep 0.05; done
    """
    token, handle = place.start(runner, "sh", "-c", script, resource_args={"signal": "USR1@60"})
    until(lambda: place.paths(1).log.is_file() and place.log(), "its start")
    slurm.run("scancel", "--signal=USR1", "--batch", job_of(handle))  # as Slurm does it before the time limit
    assert outcome(runner, token, handle) == Finished(None)
    assert place.log() == "begun\nrestart 1\n"


def test_runs_of_different_kinds_share_as_few_arrays_as_there_are_kinds(place: Place, runner: Runner) -> None:
    requests = [
        place.request(runner, "true", resources={"cpus": 1 + number % 2}, resource_args={"hold": True})
        for number in range(6)
    ]
    handles = submitted(runner, requests)
    assert len({handle["job"] for handle in handles if not isinstance(handle, RunnerError)}) == 2
    assert len({job_of(handle) for handle in handles if not isinstance(handle, RunnerError)}) == 6


def test_many_runs_cost_few_calls(
    place: Place, runner: Runner, slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    asked = slurm_cluster.ask

    def counted(*argv: str, **given: Any) -> slurm_cluster.Answer:
        calls.append(argv[0])
        return asked(*argv, **given)

    requests = [place.request(runner, "true", resource_args={"hold": True}) for _ in range(1100)]
    monkeypatch.setattr(slurm_cluster, "ask", counted)
    assert runner.room() >= 1100
    calls.clear()
    handles = dict(zip((request.token for request in requests), submitted(runner, requests), strict=True))
    assert calls.count("sbatch") == 2, "MaxArraySize is 1001"
    calls.clear()
    assert set(runner.poll(handles).values()) == {None}
    assert calls == ["squeue"]
    for token, handle in handles.items():
        runner.cancel(token, handle)
    calls.clear()
    ended = until(lambda: all((found := runner.poll(handles)).values()) and found, "their ends")
    assert set(ended.values()) == {Cancelled("stopped before it was started")}
    assert calls.count("scancel") == 3


def poll_all(runner: Runner, handles: dict[str, Handle]) -> dict[str, Outcome]:
    ended: dict[str, Outcome] = {}

    def done() -> bool:
        left = {token: handle for token, handle in handles.items() if token not in ended}
        ended.update((token, found) for token, found in runner.poll(left).items() if found)
        return len(ended) == len(handles)

    until(done, "the ends")
    return ended


def test_packed_runs_share_an_allocation_each_with_cpus_of_its_own(place: Place, runner: Runner) -> None:
    script = "grep Cpus_allowed_list /proc/self/status; echo $SLURM_JOB_ID $CUDA_VISIBLE_DEVICES"
    packed = {"pack": 4, "at_once": 2, "env": {"CUDA_VISIBLE_DEVICES": "ignored"}}
    requests = [place.request(runner, "sh", "-c", script, resource_args=packed) for _ in range(4)]
    handles = dict(zip((request.token for request in requests), submitted(runner, requests), strict=True))
    assert set(poll_all(runner, handles).values()) == {Finished(None)}
    logs = [place.log(number).splitlines() for number in range(1, 5)]
    assert len({log[1].split()[0] for log in logs}) == 1, "one job"
    if len(os.sched_getaffinity(0)) >= 2:
        assert len({log[0] for log in logs}) == 2, "a CPU of its own for each that runs at a time"


def test_one_of_several_in_an_allocation_is_cancelled_and_the_others_go_on(place: Place, runner: Runner) -> None:
    requests = [place.request(runner, "sh", "-c", WAIT, resource_args={"pack": 3, "at_once": 2}) for _ in range(3)]
    tokens = [request.token for request in requests]
    handles = dict(zip(tokens, submitted(runner, requests), strict=True))
    until(lambda: all(place.paths(number).log.is_file() and place.log(number) for number in (1, 2)), "two of them")
    runner.cancel(tokens[0], handles[tokens[0]])
    assert outcome(runner, tokens[0], handles[tokens[0]]) == Cancelled("stopped; it ended with signal 15")
    runner.cancel(tokens[2], handles[tokens[2]])
    go(place, 2)
    assert outcome(runner, tokens[1], handles[tokens[1]]) == Finished(None)
    assert isinstance(outcome(runner, tokens[2], handles[tokens[2]]), Cancelled)


def test_strays_that_share_an_allocation_are_ended_alone(place: Place, runner: Runner) -> None:
    requests = [place.request(runner, "sh", "-c", WAIT, resource_args={"pack": 2, "at_once": 2}) for _ in range(2)]
    tokens = [request.token for request in requests]
    handles = dict(zip(tokens, submitted(runner, requests), strict=True))
    until(lambda: all(processes(token) for token in tokens), "both")
    runner.end([stray for stray in runner.strays(place.root) if stray.token == tokens[0]])
    assert not processes(tokens[0])
    go(place, 2)
    assert outcome(runner, tokens[1], handles[tokens[1]]) == Finished(None)


def test_a_run_that_takes_too_long_is_ended_on_its_node(place: Place, runner: Runner) -> None:
    ended = outcome(runner, *place.start(runner, "sleep", "1000", resources={"time": 0.5}))
    assert isinstance(ended, Failed)
    assert (ended.stage, ended.exit_code) == ("timeout", -15)


def test_setup_lines_run_before_and_one_that_fails_is_told(
    place: Place, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "MISSING_SECONDS", 0.0)
    token, handle = place.start(runner, "sh", "-c", "echo $A", resource_args={"setup": ["export A=set"]})
    assert outcome(runner, token, handle) == Finished(None)
    assert place.log() == "set\n"
    ended = outcome(runner, *place.start(runner, "true", resource_args={"setup": ["echo no venv", "false"]}))
    assert isinstance(ended, Failed)
    assert "Slurm says FAILED" in ended.reason
    assert ended.reason.endswith("no venv")


def test_srun_starts_every_task(place: Place, runner: Runner) -> None:
    asked = {"ntasks": 2, "srun": ["--ntasks=2", "--label"]}
    assert outcome(runner, *place.start(runner, "echo", "hi", resource_args=asked)) == Finished(None)
    assert sorted(place.log().splitlines()) == ["0: hi", "1: hi"]


def test_a_job_that_slurm_forgot_is_lost_and_never_started_any_more(
    place: Place, runner: Runner, slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, handle = place.start(runner, "true", resource_args={"hold": True})
    forgotten = {**handle, "job": "999999"}
    assert runner.poll({token: forgotten}) == {token: None}, "not at once: a file may be late"
    monkeypatch.setattr(engines, "MISSING_SECONDS", 0.0)
    assert outcome(runner, token, forgotten) == Lost(
        "Slurm does not know its job any more, and the run left no word of its own"
    )
    assert not (place.paths(1).folder / REQUEST).exists()
    slurm.run("scontrol", "release", job_of(handle))
    until(lambda: not slurm.jobs(), "the end of the ghost")
    assert not place.paths(1).log.exists()


def test_a_job_that_ended_well_but_left_no_word_is_lost(
    place: Place, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "MISSING_SECONDS", 0.0)
    ended = outcome(runner, *place.start(runner, "true", resource_args={"python": "/bin/true"}))
    assert ended == Lost("Slurm says COMPLETED, but the run left no word of its own")


def test_what_slurm_refuses_fails_with_its_reason(place: Place, runner: Runner, slurm: SlurmCluster) -> None:
    [refused] = submitted(runner, [place.request(runner, "true", resource_args={"partition": "none"})])
    assert isinstance(refused, RunnerError)
    assert not isinstance(refused, NoRoomError)
    assert "Slurm refuses its job" in str(refused)
    assert "partition" in str(refused)


def test_a_time_limit_that_slurm_never_grants_fails_its_run_also_while_others_are_there(
    place: Place, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = "Requested time limit is invalid (missing or exceeds some limit)"
    begun(place, runner)
    monkeypatch.setattr(slurm_cluster, "submit", lambda *_: slurm_cluster.Answer(1, "", f"sbatch: error: {told}\n"))
    for refused in submitted(runner, [place.request(runner, "true", resources={"time": "900d"}) for _ in range(2)]):
        assert isinstance(refused, RunnerError)
        assert not isinstance(refused, NoRoomError)
        assert str(refused) == f"Slurm refuses its job: {told}"
    assert runner.room() > 0


def test_what_slurm_could_never_run_is_found_when_planned(place: Place, runner: Runner) -> None:
    good, bad = (place.request(runner, "true", resources={"cpus": cpus}) for cpus in (2, 64))
    [text] = runner.show([good], place.root)
    assert "#SBATCH --cpus-per-task=2\n" in text
    with pytest.raises(RunnerError, match=r"Slurm would refuse this job: .*configuration is not available"):
        list(runner.show([bad], place.root))


def test_killing_the_nodes_program_is_no_success(place: Place, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "MISSING_SECONDS", 0.0)
    token, handle = begun(place, runner)
    parent = int(Path(f"/proc/{min(processes(token))}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    ended = outcome(runner, token, handle)
    assert isinstance(ended, Failed)
    assert "Slurm says FAILED" in ended.reason


@pytest.mark.parametrize("name", ["a%jb 50%", """it's "x" $HOME `y`""", "# ünï=;&|"])
def test_any_folder_may_hold_the_runs(tmp_path: Path, slurm: SlurmCluster, name: str) -> None:
    place = Place(tmp_path / name / "runs", "slurm", {}, SOON)
    with place.runner() as runner:
        token, handle = place.start(runner, "echo", "here")
        assert outcome(runner, token, handle) == Finished(None)
        assert place.log() == "here\n"
        assert (Path(handle["batch"]) / "0.log").exists()
