"""The examples of docs/: on each page its blocks are carried out in order, in one project. A block that begins with a
comment that is the name of a file becomes that file, other `python` runs, and each command of a `console` block prints
what stands below it (`…` for any text)."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from launcher.compose.sweepfile import FIELDS
from tests.conftest import REPOSITORY, Project, Result
from tests.sources.repositories import NEUTRAL

PROGRAM = "import launcher, sys\nlauncher.report(accuracy=0.9, given=sys.argv[1:])\n"
PAGES = sorted(path.name for path in (REPOSITORY / "docs").glob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_hold(
    page: str, project: Project, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if page == "containers.md":
        request.getfixturevalue("docker").image("busybox:1")
    if page == "engines.md":
        request.getfixturevalue("slurm")
        request.getfixturevalue("ray_address")
        request.getfixturevalue("kubernetes_node")
    project.write("train.py", PROGRAM)
    monkeypatch.chdir(project.folder)
    for name, value in NEUTRAL.items():
        monkeypatch.setenv(name, value)
    for language, text in BLOCK.findall((REPOSITORY / "docs" / page).read_text(encoding="utf-8")):
        if name := re.match(r"# ([\w/]*\.\w+)\n", text):
            project.write(name[1], text)
        elif language == "python":
            exec(text, {})  # noqa: S102 - our own page
        elif language == "console":
            _follow(project, text)


def _follow(project: Project, text: str) -> None:
    for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
        words = shlex.split(command)
        if words[0] == "launcher" and ">" not in words:
            result = project.run(*words[1:])
        else:
            shell = ["sh", "-c", command]
            done = subprocess.run(shell, cwd=project.folder, capture_output=True, text=True, check=True)
            result = Result(done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in result.err
        pattern = "".join(".*" if part == "…" else re.escape(part) for part in re.split("(…)", expected))
        assert re.fullmatch(pattern, result.out + result.err, re.DOTALL), (command, result)


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{page}" for page in PAGES)])
def test_a_shell_takes_every_command_of_a_page(page: str) -> None:
    for language, text in BLOCK.findall((REPOSITORY / page).read_text(encoding="utf-8")):
        if language == "console":
            _taken_by_a_shell("".join(re.findall(r"^\$ (.*\n)", text, re.MULTILINE)))
        elif language in ("sh", "bash", "shell"):
            _taken_by_a_shell(text)


@pytest.mark.parametrize("module", sorted((REPOSITORY / "launcher/cli").rglob("*.py")), ids=lambda path: path.stem)
def test_a_shell_takes_every_example_of_the_help(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    for example in re.findall(r"^    \\b\n((?:    \w.*\n)+)", text, re.MULTILINE):
        _taken_by_a_shell(re.sub(r"(?<=\S)   .*", "", example))  # without the remark beside it


def _taken_by_a_shell(commands: str) -> None:
    done = subprocess.run(["sh", "-n"], input=commands, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), commands


def test_the_page_on_sweep_files_lists_all_their_fields() -> None:
    table = re.findall(r"^\| (`.*?) \|", (REPOSITORY / "docs/sweeps.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(table))) == sorted(FIELDS)


@pytest.mark.parametrize("page", PAGES)
def test_every_linked_page_exists(page: str) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", (REPOSITORY / "docs" / page).read_text(encoding="utf-8")):
        assert link.startswith("https://") or (REPOSITORY / "docs" / link.partition("#")[0]).is_file(), link
