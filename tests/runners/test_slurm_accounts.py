"""What Slurm's accounts say: how jobs ended that the controller has forgotten, and how many a user may have."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.errors import NoRoomError, RunnerError
from launcher.outcome import Cancelled, Finished
from launcher.runners.slurm import Slurm
from tests.conftest import needs, until
from tests.runners.contract import Place, outcome, processes, submitted
from tests.runners.engine_contract import WAIT, go
from tests.runners.test_slurm import SOON, job_of
from tests.slurm import SlurmCluster, slurm_missing


def test_accounts_know_what_the_controller_has_forgotten_and_limit_how_much_is_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = slurm_missing("slurmdbd", "mariadbd")
    needs("slurm", missing is None, str(missing))
    cluster = SlurmCluster("MinJobAge=2", accounting=True)
    try:
        monkeypatch.setenv("SLURM_CONF", str(cluster.config))
        place = Place(tmp_path / "runs", "slurm", {}, SOON)
        cluster.run("sacctmgr", "-i", "modify", "user", "root", "set", "MaxSubmitJobs=4")
        with place.runner() as runner:
            assert isinstance(runner, Slurm)
            assert until(runner.room) == 4
            asked = [place.request(runner, "sh", "-c", WAIT) for _ in range(5)]
            handles = submitted(runner, asked)
            refused = [handle for handle in handles if isinstance(handle, RunnerError)]
            assert len(refused) == 3, "half of what was asked was taken"
            assert isinstance(refused[0], NoRoomError)
            held = [(each.token, handle) for each, handle in zip(asked, handles, strict=True) if handle not in refused]
            (first, cancelled), (second, finished) = held
            until(lambda: all(processes(token) for token, _ in held), "both")
            cluster.run("sacctmgr", "-i", "modify", "user", "root", "set", "MaxWall=10", "MaxSubmitJobs=9")
            cluster.run("sacctmgr", "-i", "modify", "qos", "normal", "set", "MaxWall=10", "Flags=DenyOnLimit")
            [long] = submitted(runner, [place.request(runner, "true", resources={"time": "20m"})])
            assert not isinstance(long, NoRoomError)
            assert "WallDurationPerJobLimit" in str(long)
            cluster.run("scancel", job_of(cancelled))
            go(place, 2)
            until(lambda: not _known(cluster), "the controller to forget them")
            ended = outcome(runner, first, cancelled)
            assert isinstance(ended, Cancelled)
            assert "Slurm says CANCELLED by 0" in ended.reason
            assert outcome(runner, second, finished) == Finished(None)
    finally:
        cluster.close()


def _known(cluster: SlurmCluster) -> str:
    return cluster.run("squeue", "-h", "-t", "all")
