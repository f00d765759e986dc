"""The room of a machine: amounts, needs, and which run gets which GPU."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import UsageError
from launcher.resources import in_bytes
from launcher.slots import Needs, Slots, chosen, discover


@pytest.mark.parametrize(
    ("amount", "expected"),
    [(0, 0), (1.5e9, 1.5e9), ("512MB", 512e6), ("8G", 8e9), ("8GiB", 8 * 2**30), ("1 k", 1000), ("2Ti", 2**41)],
)
def test_amounts_of_memory(amount: float | str, expected: float) -> None:
    assert in_bytes(amount) == expected


@pytest.mark.parametrize("amount", ["", "G", "-1G", "1Q", "1G 2M", "eight"])
def test_what_is_no_amount_is_told(amount: str) -> None:
    with pytest.raises(ValueError, match="no amount of memory"):
        in_bytes(amount)


def test_needs_are_those_of_the_local_process_and_the_limits() -> None:
    document = {
        "resource": "local-process",
        "resource_args": {"local-process": {"cpus": 2, "memory": "1G", "gpus": 0.5}, "slurm": {"gpus": 4}},
        "limits": {"server": 4},
    }
    assert Needs.of(document) == Needs(2, 1e9, 0.5, {"server": 4})
    assert Needs.of(document | {"resource": "slurm"}) == Needs(limits={"server": 4})
    assert Needs.of({}).row() is None


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"cpus": "1.5", "memory": "512m", "gpus": 2}, Needs(1.5, 512 * 2**20, 2)),
        ({"cpu": 2, "m": "8GiB", "gpus": "2"}, Needs(2, 8 * 2**30, 2)),
        ({"m": 1024, "gpus": 0.5}, Needs(0, 1024, 0.5)),
        ({"cpus": "${N}", "memory": "${M}", "gpus": "all"}, Needs()),
        ({}, Needs()),
    ],
)
def test_needs_of_a_container_are_read_as_docker_reads_them(asked: dict[str, object], expected: Needs) -> None:
    assert Needs.of({"resource": "local-container", "resource_args": {"local-container": asked}}) == expected


def test_whole_gpus_are_handed_out_once_and_come_back() -> None:
    slots = Slots(8, 1e9, ["0", "1", "2"])
    slots.take("a", Needs(gpus=2))
    slots.take("b", Needs(gpus=1))
    assert (slots.devices("a"), slots.devices("b"), slots.room().free_gpus) == (("0", "1"), ("2",), 0)
    slots.give_back("a")
    assert slots.room().free_gpus == 2
    slots.take("c", Needs(gpus=1))
    assert slots.devices("c") == ("0",)


def test_parts_share_a_gpu_so_that_whole_ones_stay_whole() -> None:
    slots = Slots(8, 1e9, ["0", "1"])
    for token in "abcd":
        slots.take(token, Needs(gpus=0.25))
    assert [slots.devices(token) for token in "abcd"] == [("0",)] * 4
    assert slots.room().free_gpus == 1
    slots.take("e", Needs(gpus=0.5))
    assert slots.devices("e") == ("1",)
    assert slots.room().free_part == pytest.approx(0.5)


def test_a_run_sees_its_gpus_and_its_number_of_threads() -> None:
    slots = Slots(8, 1e9, ["GPU-a", "GPU-b"])
    slots.take("a", Needs(cpus=3.5, gpus=2))
    slots.take("b", Needs())
    told = slots.environment("a")
    assert told["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b"
    assert told["OMP_NUM_THREADS"] == told["MKL_NUM_THREADS"] == "3"
    assert slots.environment("b") == {}, "a run that asks for nothing sees all, as without an agent"


def test_a_run_that_is_taken_over_keeps_the_gpus_it_has() -> None:
    slots = Slots(8, 1e9, ["0", "1"])
    slots.take("old", Needs(gpus=1), ["1"])
    slots.take("new", Needs(gpus=1))
    assert slots.devices("new") == ("0",)


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.25, 0.3, 0.5, 1, 2]), st.booleans()), max_size=40))
def test_no_gpu_is_ever_given_out_more_than_once_over(asked: list[tuple[float, bool]]) -> None:
    slots = Slots(100, 1e9, ["0", "1", "2"])
    held: dict[str, float] = {}
    for number, (gpus, leave) in enumerate(asked):
        room = slots.room()
        if gpus <= (room.free_part if gpus < 1 else room.free_gpus):
            token = str(number)
            slots.take(token, Needs(gpus=gpus))
            held[token] = gpus
            assert len(slots.devices(token)) == max(1, int(gpus))
        if leave and held:
            slots.give_back(held.popitem()[0])
        for device in slots.gpus:
            used = [min(gpus, 1.0) for token, gpus in held.items() if device in slots.devices(token)]
            assert sum(used) <= 1 + 1e-6


def nvidia_smi(folder: Path, *lines: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text("#!/bin/sh\n" + "\n".join(lines) + "\n")
    program.chmod(0o755)


def test_gpus_are_those_that_nvidia_smi_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    nvidia_smi(tmp_path, "echo 0; echo 1")
    assert discover(os.environ).gpus == ("0", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-5, 3")
    assert discover(os.environ).gpus == ("GPU-5", "3")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert discover(os.environ).gpus == ()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    nvidia_smi(tmp_path, "echo no driver >&2; exit 9")
    assert discover(os.environ).gpus == ()


@pytest.mark.parametrize(
    ("told", "gpus"),
    [
        ("-1", ()), ("NoDevFiles", ()), ("none", ()), ("0,-1,2", ("0",)), ("1,,2", ("1",)), ("0,1,", ("0", "1")),
        ("MIG-7f2a/1/0, GPU-8a1b", ("MIG-7f2a/1/0", "GPU-8a1b")),
    ],
)  # fmt: skip
def test_gpus_end_where_cuda_knows_a_name_no_more(told: str, gpus: tuple[str, ...]) -> None:
    assert discover({"CUDA_VISIBLE_DEVICES": told}).gpus == gpus


def test_a_machine_has_cpus_and_memory() -> None:
    slots = discover({"CUDA_VISIBLE_DEVICES": ""})
    assert slots.cpus == len(os.sched_getaffinity(0))
    assert slots.memory > 1e6


def test_an_agent_may_be_given_a_part_of_its_machine() -> None:
    machine = Slots(8, 64e9, ["0", "1", "2"])
    assert chosen(machine, None, None, None).total() == machine.total()
    part = chosen(machine, 2.0, "8G", "2")
    assert (part.cpus, part.memory, part.gpus) == (2.0, 8e9, ("0", "1"))
    assert chosen(machine, None, None, "GPU-7,1").gpus == ("GPU-7", "1")


@pytest.mark.parametrize(("memory", "gpus", "told"), [("much", None, "no amount"), (None, "4", "this machine has 3")])
def test_a_part_that_is_not_there_is_told(memory: str | None, gpus: str | None, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        chosen(Slots(8, 64e9, ["0", "1", "2"]), None, memory, gpus)


def test_resources_in_one_language_are_what_runs_here_need_and_their_own_words_win() -> None:
    asked = {"cpus": 2, "memory": "1GiB", "gpus": 1, "time": "1h"}
    for resource, own in (("local-process", {"cpus": 4}), ("local-container", {"cpus": "4"})):
        document = {"resource": resource, "resources": asked, "resource_args": {resource: own}}
        assert Needs.of(document) == Needs(4.0, 2.0**30, 1.0), resource
    assert Needs.of({"resource": "slurm", "resources": asked}) == Needs(), "the engine has the room"
