"""Terminal output as HTML: colours of ANSI escape sequences as classes, other sequences left out, whatever else is text
escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from launcher.terminal import overwritten

SEQUENCE = re.compile(
    r"\x1b\[(?P<codes>[0-9;:]*)m"  # colours and weights
    r"|\x1b\[[0-?]*[ -/]*[@-~]"  # other control sequences
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"  # titles, links and other strings
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f]",
    re.MULTILINE,
)
WEIGHTS = {1: "bold", 2: "dim", 3: "italic", 4: "underlined"}
ENDS = {22: ("bold", "dim"), 23: ("italic",), 24: ("underlined",)}
CUBE = 16
GRAYS = 232


@dataclass(slots=True)
class Painter:
    """Text to HTML; colours last from one text to the next."""

    color: str | None = None
    ground: str | None = None
    weights: set[str] = field(default_factory=set)

    def html(self, text: str) -> str:
        r"""The HTML of some lines. Of a line that was written over with carriage returns, the last state is shown.

        >>> Painter().html("\x1b[31mred <b>\x1b[0m plain")
        '<span class="a1">red &lt;b&gt;</span> plain'
        """
        return "".join(self._parts("\n".join(map(overwritten, text.split("\n")))))

    def _parts(self, text: str) -> Iterator[str]:
        place = 0
        for found in SEQUENCE.finditer(text):
            yield self._span(text[place : found.start()])
            place = found.end()
            if found["codes"] is not None:
                self._apply(found["codes"])
        yield self._span(text[place:])

    def _span(self, text: str) -> str:
        if not text:
            return ""
        classes = [name for name in (self.color, self.ground, *sorted(self.weights)) if name]
        escaped = html.escape(text)
        return f'<span class="{" ".join(classes)}">{escaped}</span>' if classes else escaped

    def _apply(self, text: str) -> None:
        codes = iter([int(code[:4]) if code.isdecimal() else 0 for code in re.split("[;:]", text)[:32]])
        for code in codes:
            if code == 0:
                self.color = self.ground = None
                self.weights.clear()
            elif code in WEIGHTS:
                self.weights.add(WEIGHTS[code])
            elif code in ENDS:
                self.weights.difference_update(ENDS[code])
            elif code in (38, 48):
                self._paint(code == 48, _extended(codes))
            elif code in (39, 49):
                self._paint(code == 49, None)
            elif code in range(30, 38) or code in range(90, 98):
                self._paint(False, code - 30 if code < 90 else code - 82)
            elif code in range(40, 48) or code in range(100, 108):
                self._paint(True, code - 40 if code < 100 else code - 92)

    def _paint(self, ground: bool, color: int | None) -> None:
        name = None if color is None else f"{'b' if ground else 'a'}{color}"
        if ground:
            self.ground = name
        else:
            self.color = name


def _extended(codes: Iterator[int]) -> int | None:
    """The nearest of the sixteen colours to one of 256, or to one of red, green and blue."""
    kind = next(codes, 0)
    if kind == 5:
        color = next(codes, 0)
        if color < CUBE:
            return color
        if color >= GRAYS:
            level = (color - GRAYS) * 10 + 8
            return _nearest(level, level, level)
        color -= CUBE
        return _nearest(*(51 * part for part in (color // 36 % 6, color // 6 % 6, color % 6)))
    if kind == 2:
        return _nearest(next(codes, 0), next(codes, 0), next(codes, 0))
    return None


def _nearest(red: int, green: int, blue: int) -> int:
    brightest = max(red, green, blue)
    if brightest < 64:
        return 0
    bits = sum(bit for bit, part in ((1, red), (2, green), (4, blue)) if part > brightest / 2)
    return bits + 8 if brightest > 192 and bits != 7 else 15 if brightest > 224 else bits
