"""How wide the columns of a table are on a terminal: cells are cut, never broken, and what has no room is left out."""

from __future__ import annotations

from collections.abc import Sequence

LEAST, LEAST_NUMBER = 12, 24
"""So many cells of the terminal a column keeps. A number that is cut says nothing, so it keeps more."""

GAP = 2


def cells(text: str) -> int:
    """How many cells of a terminal a text takes.

    >>> cells("lr"), cells("学习")
    (2, 4)
    """
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def cut(text: str, width: int) -> str:
    """A text that takes at most `width` cells, of which the last tells that there was more.

    >>> cut("a long text", 8), cut("短い文", 4)
    ('a long …', '短…')
    """
    if cells(text) <= width:
        return text
    taken, kept = 0, []
    for char in text:
        taken += cells(char)
        if taken > width - 1:
            break
        kept.append(char)
    return "".join(kept) + "…"


def cut_heading(text: str, width: int) -> str:
    """As `cut`; of a dotted key its end stays, which tells it from its neighbours.

    >>> cut_heading("model.optimizer.lr", 12), cut_heading("validation_accuracy", 12)
    ('…ptimizer.lr', 'validation_…')
    """
    return cut(text[::-1], width)[::-1] if "." in text else cut(text, width)


def fitted(
    columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str], keep: Sequence[str], width: int
) -> dict[int, int]:
    """The columns that fit into `width`, by place, and how wide each is: as wide as it wants, else empty ones left out
    and the widest ones cut. Where that is not enough the last columns go first, those of `keep` after the others."""
    widest = [max(map(cells, column), default=0) for column in zip(*rows, strict=True)] or [0] * len(columns)
    wanted = [max(cells(name), body) for name, body in zip(columns, widest, strict=True)]
    least = [
        max(min(body, LEAST_NUMBER if name in right else LEAST), min(cells(name), LEAST))
        for name, body in zip(columns, widest, strict=True)
    ]
    places = list(range(len(columns)))
    if sum(wanted) + GAP * (len(places) - 1) > width:
        places = [place for place in places if widest[place] or columns[place] in keep] or places
    while len(places) > 1:
        room = width - GAP * (len(places) - 1)
        for most in range(room, 0, -1):
            widths = {place: max(least[place], min(wanted[place], most)) for place in places}
            if sum(widths.values()) <= room:
                return widths
        places.remove(max(places, key=lambda place: (columns[place] not in keep, place)))
    return {place: min(wanted[place], width) for place in places}
