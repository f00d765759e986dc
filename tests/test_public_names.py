"""The public names of `launcher`, pinned, and what importing it may cost."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import launcher

NAMES = [
    "LaunchError",
    "LaunchSpec",
    "Point",
    "QueuedRun",
    "Queues",
    "RunState",
    "compose_grid",
    "launch_add",
    "launch_sweep",
    "report",
    "results",
]
HEAVY = ["hydra", "omegaconf", "click", "rich", "sqlite3", "requests", "jsonschema", "jsonschema_rs", "yaml", "pandas"]
CONTRACT = [
    "uri", "job", "config", "template_variables", "project", "entity", "queue_name", "resource", "entry_point", "name",
    "version", "docker_image", "project_queue", "resource_args", "run_id", "build", "repository", "sweep_id", "author",
    "priority",
]  # fmt: skip


def loaded_by(program: str) -> set[str]:
    """The top-level modules that a fresh Python has loaded after `program`."""
    show = "import sys; print('\\n'.join({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", f"{program}\n{show}"], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_public_names_are_these() -> None:
    assert launcher.__all__ == NAMES
    assert dir(launcher) == sorted([*NAMES, "__version__"])


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_imported_from_its_home_on_first_use(name: str) -> None:
    value = getattr(launcher, name)
    assert value.__name__ == name
    assert value.__module__.startswith("launcher.")


def test_other_names_are_no_attributes_and_the_error_lists_the_public_ones() -> None:
    with pytest.raises(AttributeError) as error:
        launcher.launch_ad  # noqa: B018 - the access is the test
    assert str(error.value) == f"module 'launcher' has no attribute 'launch_ad'; public names: {', '.join(NAMES)}"


def test_launch_add_takes_the_contracts_arguments_in_its_order_all_optional() -> None:
    parameters = inspect.signature(launcher.launch_add).parameters
    assert list(parameters) == CONTRACT
    assert {name: p.default for name, p in parameters.items() if p.default is not None} == {"build": False}
    assert {p.kind for p in parameters.values()} == {inspect.Parameter.POSITIONAL_OR_KEYWORD}


@pytest.mark.parametrize("program", ["import launcher", "import launcher; launcher.report(accuracy=0.9)"])
def test_importing_and_reporting_load_no_backend(program: str) -> None:
    loaded = loaded_by(program)
    assert "launcher" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_the_check_above_would_see_them() -> None:
    assert {"hydra", "omegaconf"} <= loaded_by("import hydra")
