"""What `launcher add`, or the Hydra launcher, says when a sweep gets all of its points once more, since they run
something else by now: code that was edited, most often."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from launcher.errors import LaunchError
from launcher.item import ItemFilter, Receipt
from launcher.queues import Store
from launcher.spec import LaunchSpec, identifying

PARTS = {
    "git": "code", "overrides.run_config": "config", "overrides.args": "arguments", "overrides.entry_point": "command",
    "docker": "image", "resource_args": "resource arguments",
}  # fmt: skip
"""Where specs differ, most often, and the words for that."""

SHOWN = 5
FILE = re.compile(rb"^diff --git a/(.+) b/\1$|^diff --git \"a/(.+)\" \"b/\2\"$", re.MULTILINE)


class Earlier:
    """The first item of a sweep of `store`, if it has one, beside the spec of the same point that is added now."""

    def __init__(self, store: Store, sweep: str) -> None:
        self._store = store
        self._item = next(store.items(ItemFilter(sweep=sweep)), None) if store.renders else None
        self._spec: LaunchSpec | None = None

    def watch(self, specs: Iterable[LaunchSpec]) -> Iterator[LaunchSpec]:
        """The same specs, looked at as they pass."""
        for spec in specs:
            if self._item and self._spec is None and spec.point == self._item.point:
                self._spec = spec
            yield spec

    def differs(self, receipt: Receipt, ignoring: str) -> str | None:
        """What to tell people when none of the specs was there already, although the point was. `ignoring` says where
        they write, in place of `{}`, what their fingerprints shall ignore."""
        if not (self._item and self._spec) or receipt.present or receipt.retried:
            return None
        before, now = identifying(self._store.document(self._item.id)), identifying(self._spec.document)
        if self._item.queue != self._spec.queue_name:
            return f"the sweep had these points already, in queue {self._item.queue}"
        paths = [path for path in PARTS if _at(before, path) != _at(now, path)]
        if not paths:
            return "the sweep had these points already, for other work"
        words = ", ".join(PARTS[path] + (self._files(before, now) if path == "git" else "") for path in paths)
        return (
            f"the sweep had these points already, with other {words}; with {ignoring.format(', '.join(paths))} they "
            "would count as the same (docs/attempts.md)"
        )

    def _files(self, before: object, now: object) -> str:
        """Which files differ, where both are changes over one commit."""
        if _at(before, "git.version") != _at(now, "git.version"):
            return ""
        patches = [self._patch(_at(document, "git.patch")) for document in (before, now)]
        names = sorted({name for name in {*patches[0], *patches[1]} if patches[0].get(name) != patches[1].get(name)})
        told = [f"{name} (untracked)" if any(_is_new(each.get(name, b"")) for each in patches) else name
                for name in names[:SHOWN]]  # fmt: skip
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        return f": {', '.join(told)}{more}" if told else ""

    def _patch(self, digest: Any) -> dict[str, bytes]:
        """What a patch says of each file."""
        try:
            content = self._store.patch(digest) if digest else b""
        except LaunchError:  # the sweep's first item may be older than what is kept
            return {}
        begins = list(FILE.finditer(content))
        ends = [*(each.start() for each in begins[1:]), len(content)]
        return {
            (each[1] or each[2]).decode(errors="replace"): content[each.start() : end]
            for each, end in zip(begins, ends, strict=False)
        }


def _is_new(told: bytes) -> bool:
    return b"\nnew file mode " in told


def _at(document: object, path: str) -> object:
    for key in path.split("."):
        document = document.get(key) if isinstance(document, Mapping) else None
    return document
