"""A sweep that has been run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import Project, Result

Cli = Callable[..., Result]
PROGRAM = """\
import sys, launcher
seed = int(sys.argv[-1].split("=")[1])
print("seed", seed)
launcher.report(loss=seed / 10, good=True)
sys.exit(seed == 2)
"""


@pytest.fixture
def done(cli: Cli, project: Project) -> Cli:
    """A sweep `s` of three runs that was run to its end; seed=2 failed."""
    project.write("program.py", PROGRAM)
    assert cli("add", "--sweep", "s", "-m", "model=svm", "seed=range(3)", "--", "python", "program.py").code == 0
    assert cli("agent", "--drain", "-j", "2").code == 0
    return cli
