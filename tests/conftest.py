"""Fixtures that the whole suite shares: a store, a small project to launch from, and the command line."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from launcher.queues.sqlite import SqliteStore
from tests.kubernetes_api import KubernetesApi
from tests.kubernetes_node import Node
from tests.ray_cluster import RayCluster, ray_missing
from tests.services import FAST, Docker, Postgres, Registry, docker_missing, postgres_programs
from tests.slurm import SlurmCluster, slurm_missing

REPOSITORY = Path(__file__).resolve().parents[1]
REQUIRED = set(filter(None, os.environ.get("LAUNCHER_TEST_REQUIRE", "").split(",")))
PATIENCE_SECONDS = 180.0

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell; commands would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("launcher", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("launcher")  # a busy machine is no fault of the code


def needs(service: str, available: bool, reason: str) -> None:
    """Skip a test that needs a service this machine has not; where LAUNCHER_TEST_REQUIRE names it, fail instead."""
    if available:
        return
    if service in REQUIRED:
        pytest.fail(f"{service} is required here, but {reason}")
    pytest.skip(f"no {service}: {reason}")


def until(condition: Callable[[], Any], what: str = "the condition") -> Any:
    """Wait for a condition, and return what made it true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come true within {PATIENCE_SECONDS:g} s")
        time.sleep(0.01)
    return value


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test sees the settings and caches of whoever runs it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    for name in list(os.environ):
        if name.startswith(("LAUNCHER_", "WANDB_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(f"sqlite:///{tmp_path}/store/store.db")
    yield made
    made.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for this session's tests; each takes a database of its own."""
    programs = postgres_programs()
    needs("postgres", programs is not None, "the server's programs are not installed (make services)")
    assert programs
    server = Postgres(programs, *FAST)
    yield server
    server.close()


@pytest.fixture(scope="session")
def docker_daemon() -> Iterator[Docker]:
    """A Docker daemon for this session's tests, with the images box:1 (busybox) and bare:1 (no shell)."""
    missing = docker_missing()
    needs("docker", missing is None, str(missing))
    server = Docker()
    server.image("box:1")
    server.image("bare:1", shell=False)
    yield server
    server.close()


@pytest.fixture
def docker(docker_daemon: Docker, monkeypatch: pytest.MonkeyPatch) -> Docker:
    """The session's Docker, which every `docker` that the test starts talks to."""
    monkeypatch.setenv("DOCKER_HOST", docker_daemon.url)
    return docker_daemon


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[SlurmCluster]:
    """A Slurm cluster of three nodes for this session's tests."""
    missing = slurm_missing()
    needs("slurm", missing is None, str(missing))
    cluster = SlurmCluster()
    yield cluster
    cluster.close()


@pytest.fixture
def slurm(slurm_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    """The session's Slurm, which every program of Slurm that the test starts talks to; nothing runs in it."""
    monkeypatch.setenv("SLURM_CONF", str(slurm_cluster.config))
    yield slurm_cluster
    slurm_cluster.clear()


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[RayCluster]:
    """A Ray cluster of several nodes for the tests of a module."""
    missing = ray_missing()
    needs("ray", missing is None, str(missing))
    cluster = RayCluster()
    yield cluster
    cluster.close()


@pytest.fixture
def ray_address(ray_cluster: RayCluster, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the cluster, which agents find by themselves."""
    monkeypatch.setenv("RAY_ADDRESS", ray_cluster.address)
    return ray_cluster.address


@pytest.fixture
def kubernetes_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """A server that answers as Kubernetes does, which agents find by themselves, and a node behind it."""
    able = os.geteuid() == 0 and shutil.which("unshare") is not None
    needs("kubernetes", able, "its pods have mounts of their own here, which needs root and unshare")
    folder = tmp_path / "kubernetes"
    folder.mkdir()
    api = KubernetesApi(folder)
    node = Node(api, folder)
    monkeypatch.setenv("KUBECONFIG", str(api.config))
    yield node
    node.close()
    api.close()


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    """A registry of images for this session's tests."""
    needs("docker", shutil.which("docker-registry") is not None, "docker-registry is not installed (make services)")
    server = Registry()
    yield server
    server.close()


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Project:
    """A folder with a small config repository and a store of its own."""

    folder: Path

    @property
    def store_url(self) -> str:
        return f"sqlite:///{self.folder}/.launcher/store.db"

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """A command as a process of its own."""
        command = [sys.executable, "-m", "launcher", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.folder, text=True, stdout=pipe, stderr=pipe, **options)

    def run(self, *arguments: str) -> Result:
        """A command as a process of its own, to its end."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        return Result(process.returncode, out, err)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "project")
    made.write("pyproject.toml", '[tool.launcher]\nstore = "sqlite:///.launcher/store.db"\n')
    made.write(
        "conf/config.yaml", "defaults:\n  - model: svm\n  - _self_\nseed: 0\nlr: 0.1\nname: ${model.name}-${seed}\n"
    )
    made.write("conf/model/svm.yaml", "name: svm\nkernel: rbf\n")
    made.write("conf/model/mlp.yaml", "name: mlp\nhidden: [8, 8]\n")
    return made


@pytest.fixture
def cli(project: Project, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """The command line inside this process, in the project's folder: fast, for what needs no process of its own."""
    from launcher.cli import main

    monkeypatch.chdir(project.folder)

    def run(*arguments: str) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main(list(arguments))
        out, err = capfd.readouterr()
        assert isinstance(exit_.value.code, int)
        assert "Traceback" not in err
        return Result(exit_.value.code, out, err)

    return run
