"""Hydra's own two suites for launchers, over ours: it waits, and an agent of this machine runs the jobs."""

from __future__ import annotations

import pytest
from hydra import version
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import BatchedSweeperTestSuite, IntegrationTestSuite, LauncherTestSuite

pytestmark = pytest.mark.usefixtures("agent")


@pytest.fixture(autouse=True)
def _the_version_base_of_the_suites(monkeypatch: pytest.MonkeyPatch) -> None:
    """They expect what an app that names no version base has: whatever another test's app has set in this process."""
    monkeypatch.setattr(version.VersionBase.instance(), "version_base", version._UNSPECIFIED_)


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
