"""Tables on terminals of any width: no line is broken, and what matters most stays."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.cli.layout import GAP, LEAST, cells, cut, cut_heading, fitted
from tests.conftest import Project, Result
from tests.terminals import printed

Cli = Callable[..., Result]
CELL = st.text("ab 学é…", max_size=30)


@given(st.text("ab. 学é…", max_size=40), st.integers(1, 40))
def test_a_text_that_is_cut_fits_and_one_that_fits_is_whole(text: str, width: int) -> None:
    for made in (cut(text, width), cut_heading(text, width)):
        assert cells(made) <= width
        assert (made == text) == (cells(text) <= width)


@given(st.data(), st.integers(1, 6), st.integers(20, 120))
def test_columns_fit_their_terminal(data: Any, number: int, width: int) -> None:
    columns = [f"c{place}" for place in range(number)]
    rows = data.draw(st.lists(st.tuples(*[CELL] * number), max_size=4))
    right, keep = (data.draw(st.lists(st.sampled_from(columns))) for _ in range(2))
    widths = fitted(columns, rows, right, keep, width)
    assert sum(widths.values()) + GAP * (len(widths) - 1) <= width
    gone = [name for place, name in enumerate(columns) if place not in widths]
    assert all(name not in keep for name in gone) or all(columns[place] in keep for place in widths)
    for place, given_ in widths.items():
        widest = max([cells(columns[place]), *(cells(row[place]) for row in rows)])
        assert given_ >= min(widest, LEAST) or given_ == width or len(widths) == 1


def test_a_table_with_room_is_whole() -> None:
    assert fitted(["ID", "lr"], [["a", "x" * 60]], [], [], 80) == {0: 2, 1: 60}
    assert fitted(["ID", "lr"], [["a", "x" * 60]], [], [], 40) == {0: 2, 1: 36}


PROGRAM = """\
import launcher
launcher.report(**{f"metric_{number}": number / 3 for number in range(30)}, note="x" * 300)
raise ValueError("y" * 300)
"""


@pytest.fixture
def wide(cli: Cli, project: Project) -> Cli:
    project.write("program.py", PROGRAM)
    project.write("conf/data.yaml", "folder: a\n")
    long = ",".join(letter * 100 for letter in "ab")
    grid = ["-m", "seed=1,2", f"+data.folder.of.images={long}", "--", "python", "program.py"]
    assert cli("add", "--sweep", "s", *grid).code == 0
    assert cli("agent", "--drain", "-j", "2").code == 0
    return cli


def lines(project: Project, width: int, *arguments: str, **environ: str) -> list[str]:
    command = [sys.executable, "-m", "launcher", *arguments]
    return printed(project.folder, width, *command, **environ).decode().splitlines()


def test_a_column_that_says_nothing_gives_its_room_to_the_others() -> None:
    rows = [["a" * 30, ""], ["b" * 30, ""]]
    assert fitted(["POINT", "REASON"], rows, (), (), 30) == {0: 30}
    assert fitted(["POINT", "REASON"], rows, (), (), 38) == {0: 30, 1: 6}


@pytest.mark.parametrize("width", [60, 100])
def test_no_line_of_a_table_is_longer_than_the_terminal(wide: Cli, project: Project, width: int) -> None:
    ids = {item["id"] for item in json.loads(wide("status", "s", "--json").out)}
    shown = lines(project, width, "results", "s", "--best", "metric_7", NO_COLOR="1")
    assert max(map(len, shown)) <= width
    assert shown[0].split()[:2] == ["ID", "STATE"]
    assert "metric_7" in shown[0]
    assert {line.split()[0] for line in shown[1:5]} == ids
    assert all("…" in line and " 2.333" in line for line in shown[1:5])
    assert shown[5].startswith("no room for metric_")
    status = lines(project, width, "status", "s", NO_COLOR="1")
    assert max(map(len, status)) <= width
    assert len(status) == 6
    colored = lines(project, width, "status", "s")
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in colored] == status
    assert "\x1b[31mfailed\x1b[0m" in colored[1]


def test_a_pipe_gets_everything_whole(wide: Cli) -> None:
    head, *rows = wide("results", "s").out.splitlines()
    assert all(name in head for name in ("data.folder.of.images", "metric_29", "note", "REASON"))
    assert all("x" * 300 in row and ("a" * 100 in row or "b" * 100 in row) for row in rows[:4])
