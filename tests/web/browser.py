"""Debian's Chromium for the tests of the web page and for the pictures in docs/."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def chromium_missing() -> str | None:
    """Why there is no browser here; None when there is one."""
    return None if shutil.which(CHROMIUM) else "Debian's chromium is not installed (make services)"


@contextmanager
def browser(folder: Path, **options: Any) -> Iterator[Any]:
    """A browser with a profile of its own, as a Playwright context; `options` are its viewport and the like."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(folder), executable_path=CHROMIUM, headless=True, args=list(ARGUMENTS), timezone_id="UTC", **options
        )
        try:
            yield context
        finally:
            context.close()
