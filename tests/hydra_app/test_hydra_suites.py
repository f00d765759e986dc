"""Hydra's own two suites for launchers, over ours: it waits, and an agent of this machine runs the jobs."""

from __future__ import annotations

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import BatchedSweeperTestSuite, IntegrationTestSuite, LauncherTestSuite

pytestmark = pytest.mark.usefixtures("agent")
WAITING = ["hydra.launcher.wait=true"]


def test_hydra_discovers_the_launcher() -> None:
    assert "LaunchQueue" in [kind.__name__ for kind in Plugins.instance().discover(Launcher)]


@pytest.mark.parametrize(("launcher_name", "overrides"), [("launch_queue", WAITING)])
class TestLauncher(LauncherTestSuite):
    pass


@pytest.mark.parametrize(
    ("launcher_name", "overrides"), [("launch_queue", [*WAITING, "hydra.sweeper.max_batch_size=2"])]
)
class TestBatches(BatchedSweeperTestSuite):
    pass


@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    # again: some tests run a program, change it, and run it again; in a folder outside of git nothing tells them apart
    [({}, ["-m", "hydra/launcher=launch_queue", *WAITING, "hydra.launcher.again=true"])],
)
class TestIntegration(IntegrationTestSuite):
    pass
