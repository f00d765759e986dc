"""Users on the command line, and servers that would serve the wrong ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher.server.access import KEY_LENGTH
from tests.conftest import Project


def test_no_public_address_is_served_without_users(project: Project) -> None:
    done = project.run("serve", "--host", "0.0.0.0", "--port", "0")  # noqa: S104 - it is refused
    assert done.code == 2
    assert "no user has a key" in done.err
    assert "launcher user add" in done.err


@pytest.mark.parametrize(("given", "told"), [((), True), (("--entity", "vision"), False)])
def test_queues_that_no_user_would_see_are_told_of(given: tuple[str, ...], told: bool, project: Project) -> None:
    project.run("user", "add", "ann", "--entity", "vision:admin", "--entity", "lab")
    process = project.start("serve", "--port", "0", *given)
    assert process.stdout
    assert "serving" in process.stdout.readline()
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert ("nobody sees them here; --entity says whose they are (users have roles in: lab, vision)" in err) == told


def test_users_are_added_listed_and_revoked(project: Project) -> None:
    done = project.run("user", "add", "ann", "--entity", "vision:admin", "--entity", "lab")
    key = done.out.strip()
    assert (done.code, len(key)) == (0, KEY_LENGTH)
    assert "vision:admin, lab:member" in project.run("user", "list").out
    assert key not in project.run("user", "list", "--json").out
    assert project.run("user", "add", "ann").code == 1
    assert project.run("user", "add", "bob", "--entity", "lab:boss").code == 2
    assert project.run("user", "revoke", "anne").err.count("did you mean 'ann'") == 1
    assert project.run("user", "revoke", "ann").code == 0
    assert "ann" not in project.run("user", "list").out


def test_what_is_missing_is_named_with_its_extra(project: Project, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda n, *a: None if n == 'graphql' else find(n, *a)\n"
    )
    process = project.start("serve", env={**os.environ, "PYTHONPATH": str(tmp_path)})
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "launcher serve needs graphql; pip install 'launcher[server]'" in err
