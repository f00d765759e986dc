"""`launcher plan --show-request`, and the ways to launch that the repository itself has: one word chooses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.runners import RUNNABLE
from tests.conftest import REPOSITORY, Project, Result

Cli = Callable[..., Result]

REPOSITORY_ARGUMENT = "launch.repository=registry.lab/digits"


@pytest.fixture
def sweep(project: Project, cli: Cli) -> str:
    """The repository's own sweep and configs, with a queue for each resource that they name."""
    shutil.copytree(REPOSITORY / "conf", project.folder / "conf", dirs_exist_ok=True)
    shutil.copytree(REPOSITORY / "sweeps", project.folder / "sweeps")
    for resource in RUNNABLE:
        cli("queue", "create", resource, "--resource", resource)
    return "sweeps/digits.yaml"


@pytest.mark.parametrize("way", sorted(path.stem for path in (REPOSITORY / "conf/launch").glob("*.yaml")))
def test_one_word_says_where_the_digits_sweep_runs(way: str, sweep: str, cli: Cli) -> None:
    more = [REPOSITORY_ARGUMENT] if way == "kubernetes" else []
    planned = cli("plan", sweep, f"launch={way}", "--json", *more)
    assert planned.code == 0, planned.err
    specs = [record["spec"] for record in json.loads(planned.out)]
    assert len(specs) == 27
    assert {spec["resource"] for spec in specs} == {"local-process" if way == "local" else way}


def test_an_image_that_is_still_to_be_built_has_its_place_in_what_would_run(
    sweep: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    shown = cli("plan", "--show-request", sweep, "launch=kubernetes", REPOSITORY_ARGUMENT)
    assert (shown.code, shown.out.count("image: IMAGE\n")) == (0, 27), shown.err


@pytest.mark.parametrize("resource", ["local-process", "local-container", "kubernetes"])
def test_what_would_run_is_shown_without_the_secrets_of_agents(
    resource: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    variables = "{token: {type: string, format: secret, default: '${NOWHERE_SET}'}}"
    env = f"{{{resource}: {{env: {{TOKEN: '{{{{token}}}}'}}}}}}"
    cli("queue", "create", "q", "--resource", resource, "--resource-args", env, "--variables", variables)
    image = [] if resource == "local-process" else ["+launch.docker_image=box:1"]
    shown = cli("plan", "--show-request", "-q", "q", *image, "--", "true")
    assert (shown.code, shown.err) == (0, "")
    assert "true" in shown.out


def test_what_would_run_is_shown_without_the_variables_that_a_container_takes_over(cli: Cli) -> None:
    cli(
        "queue",
        "create",
        "q",
        "--resource",
        "local-container",
        "--resource-args",
        "{local-container: {env: [NOWHERE]}}",
    )
    shown = cli("plan", "--show-request", "-q", "q", "+launch.docker_image=box:1", "--", "true")
    assert (shown.code, shown.err) == (0, "")


def test_where_an_image_goes_must_be_said(sweep: str, cli: Cli) -> None:
    told = cli("plan", sweep, "launch=kubernetes")
    assert told.code == 1
    assert "repository: '???' is none; expected a name without tag, as registry.team/images" in told.err
