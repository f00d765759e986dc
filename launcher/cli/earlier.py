"""What `launcher add` says when a sweep gets all of its points once more, since they run something else by now: code
that was edited, most often."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from launcher.item import ItemFilter, Receipt
from launcher.queues import Store
from launcher.spec import LaunchSpec, identifying

PARTS = {
    "git": "code", "overrides.run_config": "config", "overrides.args": "arguments", "overrides.entry_point": "command",
    "docker": "image", "resource_args": "resource arguments",
}  # fmt: skip
"""Where specs differ, most often, and the words for that."""


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

    def differs(self, receipt: Receipt) -> str | None:
        """What to tell people when none of the specs was there already, although the point was."""
        if not (self._item and self._spec) or receipt.present or receipt.retried:
            return None
        before, now = identifying(self._store.document(self._item.id)), identifying(self._spec.document)
        if self._item.queue != self._spec.queue_name:
            return f"the sweep had these points already, in queue {self._item.queue}"
        paths = [path for path in PARTS if _at(before, path) != _at(now, path)]
        if not paths:
            return "the sweep had these points already, for other work"
        words, ignored = ", ".join(PARTS[path] for path in paths), ", ".join(paths)
        return (
            f"the sweep had these points already, with other {words}; with fingerprint: {{ignore: [{ignored}]}} in the "
            "sweep file they would count as the same (docs/attempts.md)"
        )


def _at(document: object, path: str) -> object:
    for key in path.split("."):
        document = document.get(key) if isinstance(document, Mapping) else None
    return document
