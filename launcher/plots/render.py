"""Specifications to files: PNG, SVG, or one HTML page that needs nothing else. Only here the library that draws is
used."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

from launcher.errors import LaunchError, UsageError
from launcher.plots.theme import Spec

SUFFIXES = (".png", ".svg", ".html", ".json")
SCALE = 2.0
"""Pixels of a PNG for each of a plot's, for sharp screens."""

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 1.5rem; font-family: system-ui, sans-serif; }}
#plot {{ max-width: 100%; overflow-x: auto; }}
</style>
</head>
<body>
<main id="plot" role="img" aria-label="{title}. {subtitle}"></main>
<script type="module">
{library}
const actions = {{ export: true, source: false, compiled: false, editor: false }};
vegaEmbed("#plot", {spec}, {{ mode: "vega-lite", actions }});
</script>
</body>
</html>
"""


def write(spec: Spec, path: Path) -> None:
    """Draw a specification into a file; its ending says how: .png, .svg, .html, or .json for the specification itself.
    Raises UsageError for another ending, LaunchError without the extra `plot`, and where the file cannot be written."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{path} ends in no known format; expected one of {', '.join(SUFFIXES)}")
    content = json.dumps(spec, indent=1).encode() if suffix == ".json" else _drawn(spec, suffix)
    try:
        path.write_bytes(content)
    except OSError as error:
        raise LaunchError(f"{path} cannot be written: {error.strerror}") from error


def _drawn(spec: Spec, suffix: str) -> bytes:
    library = _library()
    try:
        if suffix == ".png":
            return bytes(library.vegalite_to_png(spec, scale=SCALE))
        if suffix == ".svg":
            return str(library.vegalite_to_svg(spec)).encode()
        return page(spec, javascript()).encode()
    except ValueError as error:
        raise LaunchError(f"the plot cannot be drawn: {error}") from error


def page(spec: Spec, library: str) -> str:
    """The HTML page of a plot. Whatever texts are in its data, none of them can end the script that holds them."""
    told = json.dumps(spec).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    title, subtitle = (html.escape(str(spec["title"][name])) for name in ("text", "subtitle"))
    return PAGE.format(title=title, subtitle=subtitle, library=library, spec=told)


def javascript() -> str:
    """Vega, Vega-Lite and Vega-Embed as a script, which gives `window.vegaEmbed`; LaunchError without the extra."""
    return str(_library().javascript_bundle())


def _library() -> Any:
    try:
        import vl_convert
    except ImportError as error:
        raise LaunchError("launcher plot needs vl-convert; pip install 'launcher[plot]'") from error
    return vl_convert
