"""The figures of the chaos suite and of the soak as tables in docs/reliability.md, each between two markers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.chaos.harness import REPOSITORY, Verdict
from tests.chaos.scenarios import Scenario

PAGE = REPOSITORY / "docs/reliability.md"
HEAD = (
    "| what happens | store | items | faults | lost | doubled | stale | orphans | recovery | 2 × lease |\n"
    "|---|---|---|---|---|---|---|---|---|---|\n"
)


def row(scenario: Scenario, store: str, verdict: Verdict) -> str:
    cells = (
        scenario.what, store, f"{verdict.items:,}", str(verdict.faults), str(verdict.lost), str(verdict.doubled),
        str(verdict.stale), str(verdict.orphans), f"{verdict.recovery_seconds:.1f} s",
        f"{2 * verdict.lease_seconds:g} s",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def write(verdicts: Sequence[tuple[Scenario, str, Verdict]]) -> None:
    put("chaos", HEAD + "".join(f"{row(*entry)}\n" for entry in verdicts))


def put(name: str, text: str, page: Path = PAGE) -> None:
    """Replace what stands between `<!-- name -->` and `<!-- end of name -->`."""
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, _, rest = page.read_text(encoding="utf-8").partition(start)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{start}\n{text}\n{end}{after}", encoding="utf-8")
