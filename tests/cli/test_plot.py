"""`launcher plot`: real files, drawn by the library of the extra."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable

import pytest

from tests.conftest import Project, Result

pytest.importorskip("vl_convert", reason="needs the extra plot")
Cli = Callable[..., Result]
PROGRAM = """\
import launcher, sys
point = dict(word.split("=") for word in sys.argv[1:])
for step in range(5):
    launcher.report(step=step, loss=1 / (1 + step))
launcher.report(accuracy=float(point["lr"]) + int(point["seed"]) / 10)
"""


@pytest.fixture
def swept(cli: Cli, project: Project) -> Cli:
    project.write("fit.py", PROGRAM)
    assert cli("add", "--sweep", "s", "-m", "lr=0.1,1,10", "seed=0,1", "--", "python", "fit.py").code == 0
    assert cli("agent", "--drain", "-j", "2").code == 0
    return cli


def test_every_kind_is_drawn_in_every_format(swept: Cli, project: Project) -> None:
    assert swept("plot", "s").out == "s.png\n"
    png = (project.folder / "s.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert len(png) > 10_000
    for kind, text in [("line", "accuracy"), ("parallel", "lr"), ("curves", "step"), ("timeline", "items waiting")]:
        assert swept("plot", "s", "--kind", kind, "-o", f"{kind}.svg").code == 0
        svg = (project.folder / f"{kind}.svg").read_text("utf-8")
        assert svg.startswith("<svg")
        assert f">{text}<" in svg
    assert swept("plot", "s", "--x", "lr", "--y", "seed", "-o", "h.svg").code == 0
    assert ">accuracy<" in (project.folder / "h.svg").read_text("utf-8")


def test_the_page_needs_nothing_from_elsewhere(swept: Cli, project: Project) -> None:
    assert swept("plot", "s", "-o", "s.html").code == 0
    page = (project.folder / "s.html").read_text("utf-8")
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert "http" not in markup
    assert not re.search(r"<script[^>]+src=|@import|<link", page.partition("vegaEmbed(")[0][:2000])
    assert "s: accuracy" in markup


def test_the_metric_the_runs_and_the_specification_can_be_chosen(swept: Cli, project: Project) -> None:
    assert swept("plot", "s", "--y", "loss", "--where", "lr<5", "-o", "s.json").code == 0
    spec = json.loads((project.folder / "s.json").read_text("utf-8"))
    assert spec["title"]["text"] == "s: loss"
    assert [row["x"] for row in spec["data"]["values"]] == [0.1, 1]


def test_a_timeline_has_the_runs_that_conditions_and_states_select(swept: Cli, project: Project) -> None:
    for options, number in ((("--where", "seed=1"), 3), (("--state", "finished"), 6), (("--where", "lr<1"), 2)):
        assert swept("plot", "s", "--kind", "timeline", *options, "-o", "t.json").code == 0
        spec = json.loads((project.folder / "t.json").read_text("utf-8"))
        assert len(spec["vconcat"][0]["data"]["values"]) == number


@pytest.mark.parametrize(
    "options", [("--where", "seed=9"), ("--state", "failed"), ("--where", "seed=9", "-q", "default")]
)
@pytest.mark.parametrize("kind", [(), ("--kind", "timeline")])
def test_a_plot_of_no_run_is_told(
    swept: Cli, project: Project, options: tuple[str, ...], kind: tuple[str, ...]
) -> None:
    result = swept("plot", "s", *kind, *options)
    assert result.code == 1
    assert "no run of s is selected by these conditions and states; launcher results s lists them" in result.err
    assert not (project.folder / "s.png").exists()


def test_what_is_wrong_is_told(swept: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "ends in no known format; expected one of .png, .svg, .html, .json" in swept("plot", "s", "-o", "s.gif").err
    assert "no run reported a metric 'acuracy'; did you mean 'accuracy'" in swept("plot", "s", "--y", "acuracy").err
    assert "no/such/s.png cannot be written" in swept("plot", "s", "-o", "no/such/s.png").err
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    result = swept("plot", "s")
    assert (result.code, result.err) == (1, "launcher: launcher plot needs vl-convert; pip install 'launcher[plot]'\n")
