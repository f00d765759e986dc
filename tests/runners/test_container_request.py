"""What containers are started with, as text: for Docker, and for Podman, which not every machine can run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from launcher.errors import RunnerError
from launcher.item import Item, Lease, RunState
from launcher.paths import RunPaths
from launcher.runners.container_request import ContainerRequest, Engine, Image

PINNED = Image("sha256:abc", entry_point=("python", "-u"), command=("main.py",))


def request(
    engine: Engine, environ: dict[str, str] | None = None, resources: Any = None, **arguments: Any
) -> ContainerRequest:
    document = {
        "entity": "", "project": "p", "docker": {"docker_image": "team/train:1"}, "git": {},
        "resource": "local-container",
        "overrides": {"entry_point": ["python", "train.py"], "args": ["--dir", "${run_dir}"]},
        "resource_args": {"local-container": arguments}, "resources": resources or {},
    }  # fmt: skip
    item = Item("k3x9a1b2", "q", None, RunState.LEASED, 2, None, (), 1, 3, 0.0, 0.0)
    lease = Lease(item, "0123456789abcdef", document)
    return engine.request(lease, RunPaths(Path("/runs/k3x9a1b2/1")), "/code", environ or {})


def test_docker() -> None:
    made = request(
        Engine("docker"), {"HF": "s3", "CUDA_VISIBLE_DEVICES": "0,3", "OMP_NUM_THREADS": "2"},
        gpus=2, cpus=2, m="8g", ulimit=["nofile=9", "nproc=9"], init=False,
        env={"TOKEN": "${HF}", "TEXT": "two\nlines"},
    )  # fmt: skip
    assert made.command_line(PINNED) == [
        "docker", "run", "--detach", "--pull=never", "--name=launcher-k3x9a1b2-1-01234567",
        "--label=launcher.item=k3x9a1b2", "--label=launcher.token=0123456789abcdef", "--label=launcher.root=/runs",
        "--env-file=/runs/.private/k3x9a1b2-0123456789abcdef/env", "--env=TEXT",
        "--mount=type=bind,src=/runs/k3x9a1b2/1,dst=/runs/k3x9a1b2/1",
        "--mount=type=bind,src=/runs/.private/k3x9a1b2-0123456789abcdef/start,dst=/launcher/start,readonly",
        "--mount=type=bind,src=/code,dst=/launcher/code,readonly", "--workdir=/launcher/code",
        '--gpus="device=0,3"', "--cpus=2", "--memory=8g", "--ulimit=nofile=9", "--ulimit=nproc=9",
        "--entrypoint=/bin/sh", "sha256:abc", "/launcher/start", "python", "train.py", "--dir", "/runs/k3x9a1b2/1",
    ]  # fmt: skip
    assert made.start_script() == 'export TOKEN=s3\nexec "$@"\n'
    assert made.beside() == {"TEXT": "two\nlines"}
    lines = made.env_file().splitlines()
    assert {"OMP_NUM_THREADS=2", "WANDB_RUN_ID=k3x9a1b2", "LAUNCHER_RUN_DIR=/runs/k3x9a1b2/1"} <= set(lines)
    assert not [line for line in lines if line.startswith(("TEXT", "TOKEN", "CUDA", "HF"))]
    assert "s3" not in repr(made)


def test_podman_without_root() -> None:
    made = request(Engine("podman", "1000:100"), {"CUDA_VISIBLE_DEVICES": "1"}, gpus=0.5, name="n-${run_id}")
    assert made.command_line(PINNED) == [
        "podman", "run", "--detach", "--pull=never", "--name=n-k3x9a1b2",
        "--label=launcher.item=k3x9a1b2", "--label=launcher.token=0123456789abcdef", "--label=launcher.root=/runs",
        "--env-file=/runs/.private/k3x9a1b2-0123456789abcdef/env",
        "--mount=type=bind,src=/runs/k3x9a1b2/1,dst=/runs/k3x9a1b2/1",
        "--mount=type=bind,src=/code,dst=/launcher/code,readonly", "--workdir=/launcher/code",
        "--user=1000:100", "--userns=keep-id", "--device=nvidia.com/gpu=1",
        "--entrypoint=python", "sha256:abc", "train.py", "--dir", "/runs/k3x9a1b2/1",
    ]  # fmt: skip
    assert "HOME=/runs/k3x9a1b2/1" in made.env_file().splitlines(), "the image knows no such user"


@pytest.mark.parametrize(
    ("program", "gpus", "environ", "expected"),
    [
        ("docker", "all", {"CUDA_VISIBLE_DEVICES": "0"}, ["--gpus=all"]),
        ("docker", "device=1", {}, ["--gpus=device=1"]),
        ("docker", 2, {}, ["--gpus=2"]),
        ("docker", "2", {"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b"}, ['--gpus="device=GPU-a,GPU-b"']),
        ("docker", 0, {"CUDA_VISIBLE_DEVICES": "0"}, []),
        ("podman", "all", {}, ["--device=nvidia.com/gpu=all"]),
        ("podman", 2, {"CUDA_VISIBLE_DEVICES": "0,1"}, ["--device=nvidia.com/gpu=0", "--device=nvidia.com/gpu=1"]),
    ],
)
def test_gpus(program: str, gpus: Any, environ: dict[str, str], expected: list[str]) -> None:
    argv = request(Engine(program), environ, gpus=gpus).argv
    assert [word for word in argv if "gpu" in word] == expected
    assert "CUDA_VISIBLE_DEVICES" not in request(Engine(program), environ, gpus=gpus).env, "inside they count from 0"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, ["--network"]), (False, []), (None, []), (0, ["--network=0"]), ("a", ["--network=a"]),
        (["a", "b"], ["--network=a", "--network=b"]), ("--privileged", ["--network=--privileged"]),
    ],
)  # fmt: skip
def test_options_as_wandbs_agent_writes_them(value: Any, expected: list[str]) -> None:
    assert [word for word in request(Engine("docker"), network=value).argv if "network" in word] == expected


def test_resources_in_one_language_become_options_and_the_engines_own_win() -> None:
    asked = {"cpus": 2, "memory": "1GiB", "gpus": 1, "time": "1h", "gpu_type": "a100"}
    made = request(Engine("docker"), resources=asked, m="2g")
    assert {"--cpus=2", "--memory=2g", "--gpus=1"} <= set(made.argv)
    assert "--memory=1073741824" in request(Engine("docker"), resources=asked).argv


def test_a_command_whose_quotes_are_open_is_refused_without_showing_what_fills_it() -> None:
    with pytest.raises(
        RunnerError, match=r"resource_args\.local-container\.command cannot be split.*quotation"
    ) as told:
        image_command("echo ${WORD}", {"WORD": "it's"})
    assert told.value.stage == "prepare"
    assert "it's" not in str(told.value)
    assert image_command("echo ${WORD} 'a b'", {"WORD": "its"}) == ("echo", "its", "a b")


def image_command(command: str, environ: dict[str, str]) -> tuple[str, ...]:
    document = {
        "docker": {"docker_image": "team/train:1"}, "resource": "local-container",
        "resource_args": {"local-container": {"command": command}},
    }  # fmt: skip
    item = Item("k3x9a1b2", "q", None, RunState.LEASED, 2, None, (), 1, 3, 0.0, 0.0)
    lease = Lease(item, "0123456789abcdef", document)
    return Engine("docker").request(lease, RunPaths(Path("/runs/k3x9a1b2/1")), "", environ).arguments
