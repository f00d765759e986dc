"""A real Slurm cluster for the tests, of Debian's packages: munged, slurmctld and several slurmd on this machine, and
slurmdbd with a MariaDB where accounts are wanted. Its files lie in a folder of its own; it ends with the tests."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.services import free_port

NODES = ("n1", "n2", "n3")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "setpriv")
PATIENCE_SECONDS = 60.0


def slurm_missing(*more: str) -> str | None:
    """Why no Slurm can be started here; None when it can."""
    if os.geteuid():
        return "its daemons are started by root only"
    missing = [program for program in (*PROGRAMS, *more) if not shutil.which(program)]
    return f"{', '.join(missing)} not installed (make services)" if missing else None


class SlurmCluster:
    """A cluster of three nodes with four CPUs and 4 GB each, as far as Slurm knows. `settings` are further lines of
    slurm.conf; `accounting` starts slurmdbd, too."""

    def __init__(self, *settings: str, accounting: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="launcher-slurm-"))
        self.folder.chmod(0o755)
        self.host = socket.gethostname().partition(".")[0]
        self.config = self.folder / "slurm.conf"
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = {**os.environ, "SLURM_CONF": str(self.config)}
        for name in ("state", "log", "munge", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir()
        self._start_munge()
        self._ports = [free_port() for _ in range(2 + len(NODES))]
        if accounting:
            self._start_accounting()
        self.config.write_text(self._configuration(settings, accounting))
        if accounting:
            user = getpass.getuser()
            self.run("sacctmgr", "-i", "add", "cluster", "launcher")
            self.run("sacctmgr", "-i", "add", "account", "lab", "Cluster=launcher")
            self.run("sacctmgr", "-i", "add", "user", user, "Account=lab")
        self.start("slurmctld")
        for node in NODES:
            self.start(node)
        self._wait_for(lambda: self.states() == dict.fromkeys(NODES, "idle"), "its nodes")

    def _configuration(self, settings: Sequence[str], accounting: bool) -> str:
        controller, database, *nodes = self._ports
        accounts = [
            "AccountingStorageType=accounting_storage/slurmdbd", "AccountingStorageHost=127.0.0.1",
            f"AccountingStoragePort={database}", f"AccountingStoragePass={self.folder}/munge/socket",
            "AccountingStorageEnforce=associations,limits,qos",
        ] if accounting else ["AccountingStorageType=accounting_storage/none"]  # fmt: skip
        lines = [
            "ClusterName=launcher", f"SlurmctldHost={self.host}(127.0.0.1)", f"SlurmctldPort={controller}",
            "SlurmUser=root", "SlurmdUser=root", "AuthType=auth/munge",
            f"AuthInfo=socket={self.folder}/munge/socket,cred_expire=5",
            f"StateSaveLocation={self.folder}/state", f"SlurmdSpoolDir={self.folder}/spool-%n",
            f"SlurmctldPidFile={self.folder}/slurmctld.pid", f"SlurmdPidFile={self.folder}/slurmd-%n.pid",
            f"SlurmctldLogFile={self.folder}/log/slurmctld", f"SlurmdLogFile={self.folder}/log/%n",
            "SlurmdParameters=config_overrides", "ProctrackType=proctrack/linuxproc", "TaskPlugin=task/none",
            "SelectType=select/cons_tres", "SelectTypeParameters=CR_Core_Memory", "MpiDefault=none",
            "JobAcctGatherType=jobacct_gather/none", "MailProg=/bin/true", "ReturnToService=2", "MaxArraySize=1001",
            "KillWait=3", "MessageTimeout=3", "SlurmdTimeout=10", "UnkillableStepTimeout=30", "DefMemPerCPU=16",
            "SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1",
            *accounts, *settings,
            *(
                f"NodeName={name} NodeHostname={self.host} NodeAddr=127.0.0.1 Port={port} CPUs=4 RealMemory=4000"
                for name, port in zip(NODES, nodes, strict=True)
            ),
            "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP",
        ]  # fmt: skip
        return "\n".join(lines) + "\n"

    def _start_munge(self) -> None:
        folder = self.folder / "munge"
        (folder / "key").write_bytes(secrets.token_bytes(1024))
        (folder / "key").chmod(0o400)
        self._begin(
            "munged", "munged", "--foreground", "--force", f"--socket={folder}/socket", f"--key-file={folder}/key",
            f"--pid-file={folder}/pid", f"--log-file={folder}/log", f"--seed-file={folder}/seed",
        )  # fmt: skip
        self._wait_for((folder / "socket").exists, "munged")

    def _start_accounting(self) -> None:
        data, socket_ = self.folder / "mariadb", self.folder / "mariadb.socket"
        own = ["--no-defaults", "--user=root", f"--datadir={data}"]
        subprocess.run(
            ["mariadb-install-db", *own, "--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True, capture_output=True,
        )  # fmt: skip
        port = free_port()
        self._begin(
            "mariadbd", "mariadbd", *own, f"--socket={socket_}", f"--port={port}", "--bind-address=127.0.0.1",
            "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M", "--skip-name-resolve",
        )  # fmt: skip
        self._wait_for(socket_.exists, "mariadbd")
        config = self.folder / "slurmdbd.conf"
        config.write_text(
            f"AuthType=auth/munge\nAuthInfo=socket={self.folder}/munge/socket\nDbdHost={self.host}\n"
            f"DbdAddr=127.0.0.1\nDbdPort={self._ports[1]}\nSlurmUser=root\nStorageType=accounting_storage/mysql\n"
            f"StorageHost=127.0.0.1\nStoragePort={port}\nStorageUser=root\nStorageLoc=accounts\n"
            f"LogFile={self.folder}/log/slurmdbd\nPidFile={self.folder}/slurmdbd.pid\n"
        )
        config.chmod(0o600)
        self._begin("slurmdbd", "slurmdbd", "-D", SLURM_CONF=str(self.config))
        self._wait_for(lambda: _listens(self._ports[1]), "slurmdbd")

    def start(self, name: str) -> None:
        """slurmctld, or the slurmd of a node."""
        if name == "slurmctld":
            self._begin(name, "slurmctld", "-D", "-f", str(self.config))
            self._wait_for(lambda: self.ask("scontrol", "ping").returncode == 0, name)
        else:
            self._begin(name, "slurmd", "-D", "-N", name, "-f", str(self.config))

    def kill(self, name: str) -> None:
        """As `kill -9` of a daemon; jobs go on below their slurmstepd."""
        self._daemons[name].kill()
        self._daemons.pop(name).wait()

    def stop(self, name: str) -> None:
        """As systemd stops it."""
        self._daemons[name].terminate()
        self._daemons.pop(name).wait()

    def crash(self, node: str) -> None:
        """As a power failure of this node: its daemon, and everything that runs below it."""
        self.kill(node)
        mark = f"SLURMD_NODENAME={node}\0".encode()
        jobs = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if mark in _read(path)]
        for pid in {*jobs, *map(_parent, jobs)}:
            if pid in jobs or b"slurmstepd" in _read(Path(f"/proc/{pid}/cmdline")):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _begin(self, name: str, *command: str, **environment: str) -> None:
        with (self.folder / "log" / f"{name}.out").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig=TERM", *command],  # they end when the tests are killed, too
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                env={**self._environment, **environment},
            )  # fmt: skip

    def ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)

    def run(self, *command: str) -> str:
        """What a program of Slurm prints."""
        done = self.ask(*command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def states(self) -> dict[str, str]:
        """The states of the nodes."""
        return dict(line.split() for line in self.run("sinfo", "-hN", "-o", "%N %T").splitlines())

    def jobs(self) -> list[str]:
        """The jobs that wait or run."""
        return self.run("squeue", "-h", "-o", "%i").split()

    def _wait_for(self, condition: object, what: str) -> None:
        assert callable(condition)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            logs = "\n".join(path.read_text()[-1500:] for path in (self.folder / "log").iterdir())
            assert time.monotonic() < deadline, f"{what} did not come up: {logs}"
            time.sleep(0.05)

    def clear(self) -> None:
        """End every job, and have every daemon and node back."""
        for name in ("slurmctld", *NODES):
            if name not in self._daemons or self._daemons[name].poll() is not None:
                self.start(name)
        self.ask("scancel", "--user", getpass.getuser())
        self._wait_for(lambda: not self.jobs(), "the end of its jobs")
        for node, state in self.states().items():
            if state != "idle":
                self.ask("scontrol", "update", f"nodename={node}", "state=resume")
        self._wait_for(lambda: self.states() == dict.fromkeys(NODES, "idle"), "its nodes")

    def close(self) -> None:
        if "slurmctld" in self._daemons:
            self.ask("scancel", "--signal=KILL", "--full", "--user", getpass.getuser())
        for name in (*NODES, "slurmctld", "slurmdbd", "mariadbd", "munged"):
            if daemon := self._daemons.pop(name, None):
                daemon.send_signal(signal.SIGTERM)
                try:
                    daemon.wait(10)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _parent(pid: int) -> int:
    return int((_read(Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split() or [b"", b"0"])[1])


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
