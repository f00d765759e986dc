"""The examples of docs/: on each page its blocks are carried out in order, in one project. A `yaml` block that begins
with the name of a file becomes that file, `python` runs, and each command of a `console` block (launcher's, or git's)
prints what stands below it (`…` for any text)."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.conftest import REPOSITORY, Project
from tests.sources.repositories import git

PROGRAM = "import launcher, sys\nlauncher.report(accuracy=0.9, given=sys.argv[1:])\n"
PAGES = sorted(path.name for path in (REPOSITORY / "docs").glob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_hold(page: str, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("train.py", PROGRAM)
    monkeypatch.chdir(project.folder)
    for language, text in BLOCK.findall((REPOSITORY / "docs" / page).read_text(encoding="utf-8")):
        if language == "python":
            exec(text, {})  # noqa: S102 - our own page
        elif language == "yaml" and (name := re.match(r"# (\S+\.yaml)\n", text)):
            project.write(name[1], text)
        elif language == "console":
            _follow(project, text)


def _follow(project: Project, text: str) -> None:
    for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
        words = shlex.split(command)
        if words[0] == "git":
            assert git(project.folder, *words[1:]) == expected.strip()
            continue
        assert words[0] == "launcher"
        result = project.run(*words[1:])
        assert "Traceback" not in result.err
        pattern = "".join(".*" if part == "…" else re.escape(part) for part in re.split("(…)", expected))
        assert re.fullmatch(pattern, result.out + result.err, re.DOTALL), (command, result)


@pytest.mark.parametrize("page", PAGES)
def test_every_linked_page_exists(page: str) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", (REPOSITORY / "docs" / page).read_text(encoding="utf-8")):
        assert link.startswith("https://") or (REPOSITORY / "docs" / link).is_file(), link
