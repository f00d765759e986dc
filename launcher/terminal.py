"""Text of others for a terminal: names, values, reasons and logs come from configs and runs, and may hold sequences
that move the cursor, change colours or set titles, and bars of progress that write over their line."""

from __future__ import annotations

import codecs
import re

SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]?"  # colours, the cursor, modes
    r"|\x1b[\]PX^_][^\x00-\x1f\x7f]*(?:\x07|\x1b\\)?"  # titles, links and other strings
    r"|\x1b[ -/]*[0-~]?"
)
UNFINISHED = re.compile(r"\x1b(?:[ -/]*|\[[0-?]{0,64}[ -/]{0,8}|[\]PX^_][^\x00-\x1f\x7f]{0,4096}\x1b?)\Z")
"""What may be the beginning of a sequence; a longer one is none that a terminal needs."""

COLORS = re.compile(r"\x1b\[[0-9;:]*m")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that command a terminal, end a line, or turn the order of what follows them."""

IN_LINES = re.compile(rf"(?![\t\n]){CONTROL.pattern}")

WRITTEN = re.compile(r"[\x00-\x07\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]")
"""Control characters that no log needs on a terminal: it writes with backspaces, tabs and ends of lines."""

RESET = "\x1b[0m"


def overwritten(line: str) -> str:
    r"""A line as a terminal shows it: what follows the last carriage return that has something after it.

    >>> overwritten("10 %\r20 %\r\r"), overwritten("plain\r")
    ('20 %', 'plain')
    """
    if "\r" not in line:
        return line
    return line.rstrip("\r\b").rpartition("\r")[2]


def clean(text: str) -> str:
    r"""A text in one line that commands no terminal: without escape sequences, other control characters as Python
    writes them. Of what was written over with carriage returns, the last state stays.

    >>> clean("\x1b[31mloss\x1b[0m 3\r\x1b]0;title\x07loss 2\n\a")
    'loss 2\\n\\x07'
    """
    return text if text.isprintable() else _without(CONTROL, text)  # nearly all texts are printable


def clean_lines(text: str) -> str:
    r"""As `clean`, but ends of lines and tabs stay.

    >>> clean_lines("a:\n\tb\x1b[2J")
    'a:\n\tb'
    """
    return text if text.isprintable() else _without(IN_LINES, text)


def _without(control: re.Pattern[str], text: str) -> str:
    return control.sub(_escaped, "\n".join(map(overwritten, SEQUENCE.sub("", text).split("\n"))))


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


class Colored:
    """A log's bytes, block by block, as a terminal may get them: with its colours and carriage returns, without what
    else would command the terminal. Bytes that are no UTF-8 become replacement characters."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, block: bytes) -> str:
        """The next block; a sequence that may go on in the one after it waits for that."""
        text = self._rest + self._decoder.decode(block)
        found = UNFINISHED.search(text)
        text, self._rest = (text[: found.start()], found[0]) if found else (text, "")
        return WRITTEN.sub("", SEQUENCE.sub(lambda each: each[0] if COLORS.fullmatch(each[0]) else "", text))
