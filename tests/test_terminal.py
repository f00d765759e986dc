"""Text of others for a terminal: it cannot command it."""

from __future__ import annotations

import itertools
import re
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from launcher.terminal import COLORS, Colored, clean, clean_lines

PIECES = (
    "\x1b", "[", "31m", "\x1b[1;31m", "\x1b[2J", "\x1b[?25l", "\x1b]0;title\x07", "\x1b]8;;http://a\x1b\\", "\x1b(B",
    "\x1b[A", "\x1bc", "\x9b", "\x07", "\b", "\r", "\n", "\t", "\x7f", "\u202e", "\u2028", "loss", " ", "é", "10 %",
)  # fmt: skip
TEXT = st.lists(st.sampled_from(PIECES) | st.characters(codec="utf-8"), max_size=20).map("".join)


@given(TEXT)
def test_a_clean_text_is_one_line_that_commands_nothing(text: str) -> None:
    cleaned = clean(text)
    assert not any(unicodedata.category(char) in ("Cc", "Zl", "Zp") or char == "\u202e" for char in cleaned)
    assert clean(cleaned) == cleaned


@given(TEXT)
def test_clean_lines_are_as_many_as_before_and_each_is_clean(text: str) -> None:
    lines = clean_lines(text).split("\n")
    assert len(lines) == text.count("\n") + 1
    assert [clean(line) for line in lines] == [line.replace("\t", "\\t") for line in lines]


def test_a_text_without_commands_is_as_it_was() -> None:
    text = "model=svm  accuracy 0.97 ± 0.01 …日本語"
    assert clean(text) == clean_lines(text) == text


def test_of_a_progress_bar_the_last_state_stays() -> None:
    bar = "  0%|   | 0/2\r 50%|█  | 1/2\r100%|██ | 2/2\x1b[A\r"
    assert clean(bar) == "100%|██ | 2/2"
    assert clean_lines(f"start\r\n{bar}\nend") == "start\n100%|██ | 2/2\nend"
    assert clean("\x1b[31mred\x1b[0m\x1b[2J \x1b]0;title\x07\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\") == "red link"


@given(TEXT, st.lists(st.integers(0, 80)))
def test_a_log_is_the_same_in_whatever_blocks_it_comes(text: str, places: list[int]) -> None:
    data = text.encode()
    cuts = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    output, whole = Colored(), Colored()
    parts = [output.feed(data[first:last]) for first, last in itertools.pairwise(cuts)]
    assert "".join(parts) == whole.feed(data)


@given(st.binary(max_size=60) | TEXT.map(str.encode))
def test_a_log_keeps_its_colours_and_no_other_command(data: bytes) -> None:
    shown = Colored().feed(data)
    rest = COLORS.sub("", shown)
    assert not any(unicodedata.category(char) == "Cc" and char not in "\b\t\n\r" for char in rest)


def test_plain_colours_and_what_is_written_over_stay_in_a_log() -> None:
    text = "\x1b[1;38;5;9mred\x1b[0m 10 %\r20 %\n\tend\n"
    assert Colored().feed(text.encode()) == text
    assert Colored().feed(b"\x1b[2J\x1b]0;t\x07\x1b[?1049h\xff|" + b"x") == "�|x"
    assert re.fullmatch("x*", Colored().feed(b"x" * 10_000 + b"\x1b]0;"))
