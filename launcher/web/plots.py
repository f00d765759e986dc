"""The plots of a sweep: each on a page of its own that the sweep's page frames. Drawing needs `eval`, so these pages
run in a sandbox: without an origin, without cookies, unable to reach anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from launcher.errors import NotFoundError
from launcher.plots import render
from launcher.plots.sweep import KINDS, Asked, plot
from launcher.plots.theme import Spec
from launcher.web.view import View

POLICY = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'self' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src data: blob:; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)
"""What the plot's page may do; its styles are Vega's own, for its tooltips."""


def specification(view: View, name: str, parameters: Mapping[str, str]) -> Spec:
    """The Vega-Lite specification of a sweep's plot. Parameters: `kind`, `x`, `y`, `color`."""
    found, queues = view.sweep(name)
    table = view.reader.table(found, queues)
    kind = parameters.get("kind") or None
    if kind is not None and kind not in KINDS:
        raise NotFoundError(f"no plot of kind {kind!r}; expected one of {', '.join(KINDS)}")
    asked = Asked(kind, *(parameters.get(key) or None for key in ("x", "y", "color")))
    return plot(view.desk.store, [name], table.results, table.ranking, asked)


def embedded(spec: Mapping[str, Any]) -> str:
    """A specification, or some colours, as text that no script element ends early."""
    return json.dumps(spec).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


library = cache(render.javascript)
