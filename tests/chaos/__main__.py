"""`make chaos`: the long form of every scenario, over every store it is about, as a table in docs/reliability.md.

`python -m tests.chaos NAME…` plays only those; `--short` plays the short forms and writes no table. The exit code is
1 if anything was lost, doubled, stale or left behind, or took longer than two leases.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos import table
from tests.chaos.scenarios import SCENARIOS, play


def main() -> None:
    names = [name for name in sys.argv[1:] if not name.startswith("--")]
    known = {scenario.name: scenario for scenario in SCENARIOS}
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    chosen = [known[name] for name in names] or list(SCENARIOS)
    good = True
    for scenario in chosen:
        for store in scenario.stores:
            folder = Path(tempfile.mkdtemp(prefix=f"chaos-{scenario.name}-{store}-"))
            verdict, notes = play(scenario, store, folder / "world", long="--short" not in sys.argv)
            if "--short" not in sys.argv:
                table.write([(scenario, store, verdict)])
            print(table.row(scenario, store, verdict), flush=True)
            for note in notes[:20]:
                print(f"    {note}")
            if verdict.holds:
                shutil.rmtree(folder)
            else:
                print(f"    see {folder}")
                good = False
    sys.exit(not good)


main()
