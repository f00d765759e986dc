"""`make screenshots`: the real digits sweep in Chromium, as pictures in docs/pictures/."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from launcher.item import ItemFilter
from launcher.queues import Store, open_store
from tests.conftest import REPOSITORY, until
from tests.web.browser import browser, chromium_missing
from tests.web.test_live import serving

PICTURES = REPOSITORY / "docs" / "pictures"
LARGEST = 200_000
"""Bytes of a picture."""

SCREENS: dict[str, dict[str, Any]] = {
    "wide": {"viewport": {"width": 1440, "height": 1000}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1440, "height": 1000}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
}


def main() -> None:
    """Run the sweep, and take the pictures."""
    if missing := chromium_missing():
        sys.exit(missing)
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = open_store(f"sqlite:///{folder}/store.db")
        clone = folder / "launcher"  # so that no picture tells where this checkout is, nor what is not committed in it
        subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)
        run_digits(store, clone)
        for address in serving(store, folder):
            for screen, options in SCREENS.items():
                take(folder / screen, screen, options, address, paths(store))
        store.close()


def run_digits(store: Store, project: Path) -> None:
    """The digits sweep to its end, and another one that has just begun."""
    command = [sys.executable, "-m", "launcher"]
    environment = {
        **os.environ,
        "LAUNCHER_STORE": store.url,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }

    def launcher(*words: str) -> None:
        subprocess.run([*command, *words], cwd=project, env=environment, check=True, stdout=subprocess.DEVNULL)

    launcher("add", "sweeps/digits.yaml")
    launcher("agent", "--drain", "--max-jobs", "2")
    launcher(
        "add", "--sweep", "digits-typo", "-m", "experiment=digits", "seed=0,1,2", "--", "python", "-c", "import skleran"
    )
    launcher("agent", "--drain", "--max-jobs", "2")


def paths(store: Store) -> dict[str, str]:
    """The pages that are shown, by the names of their pictures."""
    best = max(store.items(ItemFilter(sweep="digits")), key=lambda item: (item.result or {}).get("accuracy", 0))
    return {
        "overview": "/", "sweep": "/sweeps/digits", "failures": "/sweeps/digits-typo", "item": f"/items/{best.id}",
    }  # fmt: skip


def take(profile: Path, screen: str, options: dict[str, Any], address: str, pages: dict[str, str]) -> None:
    """The pictures of one kind of screen."""
    with browser(profile, **options) as context:
        page = context.new_page()
        for name, path in pages.items():
            page.goto(address + path)
            page.wait_for_function("document.fonts.status === 'loaded'")
            file = PICTURES / f"{name}-{screen}.png"
            page.screenshot(path=str(file))
            until(lambda file=file: file.stat().st_size, "the picture")
            size = file.stat().st_size
            if size > LARGEST:
                sys.exit(f"{file} has {size:,} bytes, more than {LARGEST:,}")
            print(f"{file.relative_to(REPOSITORY)}  {size:,} bytes")  # noqa: T201 - a command


if __name__ == "__main__":
    main()
