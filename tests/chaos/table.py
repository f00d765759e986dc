"""The figures of the chaos suite and of the soak as tables in docs/reliability.md, each between two markers."""

from __future__ import annotations

from collections.abc import Sequence

from tests.chaos.harness import REPOSITORY, Verdict
from tests.chaos.scenarios import SCENARIOS, Scenario

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
    """Put these verdicts into the table of docs/reliability.md; what was not played keeps its row."""
    rows = {_key(told): told for told in _between("chaos")[1].splitlines() if told.startswith("| ")}
    rows |= {_key(told): told for told in (row(*entry) for entry in verdicts)}
    keys = [_key(f"| {scenario.what} | {store} |") for scenario in SCENARIOS for store in scenario.stores]
    put("chaos", HEAD + "".join(f"{rows[key]}\n" for key in keys if key in rows))


def _key(told: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in told.split("|")[1:3])


def put(name: str, text: str) -> None:
    """Replace what stands between `<!-- name -->` and `<!-- end of name -->`."""
    before, _, after = _between(name)
    PAGE.write_text(f"{before}<!-- {name} -->\n\n{text}\n<!-- end of {name} -->{after}", encoding="utf-8")


def _between(name: str) -> tuple[str, str, str]:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(f"<!-- {name} -->\n")
    text, _, after = rest.partition(f"<!-- end of {name} -->")
    return before, text, after
