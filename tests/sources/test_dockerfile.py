"""Generated Dockerfiles, whole: what is installed from which file, and the code last."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.errors import BuildError
from launcher.sources.dockerfile import generated

HEAD = "FROM python:3.12-slim\nENV PYTHONUNBUFFERED=1\nWORKDIR /launcher/code\n"
PIP = '"python", "-m", "pip", "install", "--no-cache-dir", "--root-user-action=ignore"'
PROJECT = '[project]\nname = "train"\nversion = "1"\n'


def made(folder: Path, **files: str) -> str:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    text = generated(folder, "python:3.12-slim")
    assert text.startswith(HEAD)
    return text.removeprefix(HEAD)


def test_code_that_asks_for_nothing_is_copied(tmp_path: Path) -> None:
    assert made(tmp_path) == "COPY . .\n"
    assert made(tmp_path, pyproject_toml="[tool.ruff]\n") == "COPY . .\n"


def test_requirements_are_installed_before_the_code_comes(tmp_path: Path) -> None:
    (tmp_path / "requirements-base.txt").write_text("numpy\n")
    (tmp_path / "constraints.txt").write_text("numpy==2\n")
    assert made(tmp_path, requirements_txt="-r requirements-base.txt\n-c constraints.txt\n") == (
        'COPY ["constraints.txt", "requirements-base.txt", "requirements.txt", "./"]\n'
        f'RUN [{PIP}, "--requirement", "requirements.txt"]\n'
        "COPY . .\n"
    )


@pytest.mark.parametrize("line", ["-e .", "--editable ./lib", "./lib", ".", "lib @ file:///launcher/code/lib"])
def test_requirements_that_name_the_code_are_installed_after_it(tmp_path: Path, line: str) -> None:
    assert made(tmp_path, requirements_txt=f"numpy\n{line}\n") == (
        f'COPY . .\nRUN [{PIP}, "--requirement", "requirements.txt"]\n'
    )


def test_a_lock_file_of_uv_wins(tmp_path: Path) -> None:
    assert made(tmp_path, pyproject_toml=PROJECT, uv_lock="version = 1\n", requirements_txt="numpy\n") == (
        f'RUN [{PIP}, "uv"]\n'
        'COPY ["pyproject.toml", "uv.lock", "./"]\n'
        'RUN ["uv", "sync", "--frozen", "--no-dev", "--no-cache", "--no-install-project"]\n'
        "COPY . .\n"
        'RUN ["uv", "sync", "--frozen", "--no-dev", "--no-cache"]\n'
        "ENV PATH=/launcher/code/.venv/bin:$PATH\n"
    )


def test_a_projects_dependencies_are_installed_before_the_code_and_itself_after_it(tmp_path: Path) -> None:
    dependencies = 'dependencies = ["numpy>=2; python_version > \'3\'", "x[y]"]\n'
    assert made(tmp_path, pyproject_toml=PROJECT + dependencies) == (
        f'RUN [{PIP}, "numpy>=2; python_version > \'3\'", "x[y]"]\nCOPY . .\nRUN [{PIP}, "--no-deps", "."]\n'
    )
    assert made(tmp_path, pyproject_toml=PROJECT) == f'COPY . .\nRUN [{PIP}, "--no-deps", "."]\n'
    assert made(tmp_path, pyproject_toml=PROJECT + 'dynamic = ["dependencies"]\n') == f'COPY . .\nRUN [{PIP}, "."]\n'


def test_nothing_of_a_file_is_a_line_of_its_own_or_read_by_a_shell(tmp_path: Path) -> None:
    text = made(tmp_path, pyproject_toml=PROJECT + 'dependencies = ["""a\nRUN rm -rf /""", "$(id)"]\n')
    assert text.splitlines()[0] == f'RUN [{PIP}, "a\\nRUN rm -rf /", "$(id)"]'
    assert len(text.splitlines()) == 3


@pytest.mark.parametrize("base", ["", "a b", "a\nRUN x", "--platform=x", "a:1 AS b"])
def test_a_base_that_is_no_image_is_told(tmp_path: Path, base: str) -> None:
    with pytest.raises(BuildError, match="is none; expected the name of an image"):
        generated(tmp_path, base)


def test_a_project_file_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="is not TOML"):
        made(tmp_path, pyproject_toml="[project\n")
