"""Logs by byte offsets, and terminal output as HTML."""

from __future__ import annotations

import html
import re
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import NotFoundError

pytest.importorskip("jinja2", reason="no extra server: launcher[server] is not installed")

from launcher.web import logs
from launcher.web.ansi import Painter

LINE = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=60)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path


def write(run: Path, content: bytes) -> str:
    (run / "output.log").write_bytes(content)
    return str(run)


def append(run: Path, content: bytes) -> None:
    with (run / "output.log").open("ab") as file:
        file.write(content)


def pages(folder: str) -> list[logs.Part]:
    """All pages of a log from its beginning on."""
    found, start = [], 0
    with logs.opened(folder) as file:
        while True:
            part = logs.page(file, start)
            found.append(part)
            if part.after is None:
                return found
            start = part.after


@given(st.lists(LINE, max_size=80), st.booleans())
def test_pages_have_every_line_once(tmp_path_factory: pytest.TempPathFactory, lines: list[str], ended: bool) -> None:
    text = "\n".join(lines) + ("\n" if ended and lines else "")
    folder = write(tmp_path_factory.mktemp("run"), text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "PAGE", 64)
        found = pages(folder)
    assert "".join(part.text for part in found) == text
    assert all(part.end - part.start <= logs.PAGE for part in found)


def test_pages_backward_lead_to_the_beginning(run: Path) -> None:
    folder = write(run, b"".join(b"line %d\n" % number for number in range(50_000)))
    with logs.opened(folder) as file:
        part, steps = logs.tail(file), 0
        assert part.text.endswith("line 49999\n")
        while part.before is not None:
            earlier = logs.page(file, part.before)
            assert earlier.start < part.start
            assert earlier.end >= part.start or earlier.start == 0
            part, steps = earlier, steps + 1
    assert part.text.startswith("line 0\n")
    assert steps < 20


def test_a_gigabyte_is_tailed_and_paged_in_flat_memory(run: Path) -> None:
    size = 1 << 30
    with (run / "output.log").open("wb") as file:
        file.truncate(size - 9)  # a hole: it takes no disk
        file.seek(size - 9)
        file.write(b"\nthe end\n")
    tracemalloc.start()
    with logs.opened(str(run)) as log:
        assert logs.tail(log).text.endswith("the end\n")
        assert logs.page(log, size // 2).start == size // 2
        assert logs.grown(log, 5).end == size
        assert logs.page(log, 0).after is not None
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 << 20


def test_what_grew_is_read_from_where_one_was(run: Path) -> None:
    folder = write(run, b"one\n")
    with logs.opened(folder) as file:
        part = logs.tail(file)
        append(run, "zwö".encode()[:3])  # half a letter
        more = logs.grown(file, part.end)
        assert more.text == "zw"
        append(run, "zwö".encode()[3:] + b"\n")
        assert logs.grown(file, more.end).text == "ö\n"


def test_a_log_that_began_anew_is_shown_anew(run: Path) -> None:
    folder = write(run, b"short\n")
    with logs.opened(folder) as file:
        assert logs.grown(file, 1000).start == 0


def test_no_log_is_told(run: Path) -> None:
    for folder in (None, str(run), str(run / "nothing")):
        with pytest.raises(NotFoundError), logs.opened(folder):
            pass


def test_a_pipe_is_no_log(run: Path) -> None:
    import os

    os.mkfifo(run / "output.log")
    with pytest.raises(NotFoundError), logs.opened(str(run)):
        pass


# -- colours ----------------------------------------------------------------------------------------------------------


@given(st.text(st.sampled_from("\x1b[]m0123456789;:<>&\"'abc\r\n\x07\\?KHJ\x00\x9b"), max_size=80))
def test_only_spans_and_escaped_text_come_out(text: str) -> None:
    painted = Painter().html(text)
    bare = re.sub(r'<span class="[a-z0-9 ]+">|</span>', "", painted)
    assert "<" not in bare
    assert ">" not in bare
    assert painted.count("<span") == painted.count("</span>")
    assert "\x1b" not in bare


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=200))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert html.unescape(Painter().html(text)) == text


@pytest.mark.parametrize(
    ("codes", "classes"),
    [("31", "a1"), ("1;32", "a2 bold"), ("97;41", "a15 b1"), ("38;5;9", "a9"), ("38;2;255;0;0", "a9"), ("48;5;4", "b4"),
     ("38:5:2", "a2"), ("38;5;250", "a7"), ("3;4", "italic underlined")],
)  # fmt: skip
def test_colours_are_classes(codes: str, classes: str) -> None:
    assert Painter().html(f"\x1b[{codes}mx\x1b[0my") == f'<span class="{classes}">x</span>y'


def test_colours_last_from_one_part_to_the_next() -> None:
    painter = Painter()
    painter.html("\x1b[31mred")
    assert painter.html("still\x1b[39m not") == '<span class="a1">still</span> not'


def test_progress_bars_show_their_last_state() -> None:
    assert Painter().html("10 %\r50 %\r100 %\ndone\r\n") == "100 %\ndone\n"


def test_a_code_of_many_digits_colours_nothing() -> None:
    assert Painter().html(f"\x1b[{'1' * 5000}mtext") == "text"
