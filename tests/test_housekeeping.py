"""`launcher gc`: what ended runs left is cleared away, and nothing else, whatever the folders look like."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.housekeeping import collect
from launcher.item import TERMINAL, Item, ItemFilter, RunState, Sweep
from launcher.outcome import Failed, Finished, Lost
from launcher.queues import Store, open_store
from tests.conftest import Project, Result
from tests.queues.steps import agent, spec

Cli = Callable[..., Result]
EVERYTHING = ItemFilter()
PROGRAM = "import launcher, os\nprint('x' * 1000)\nlauncher.report(ok=True)\n"


@pytest.fixture
def ours(project: Project) -> Iterator[Store]:
    made = open_store(project.store_url)
    yield made
    made.close()


@pytest.fixture
def runs(project: Project) -> Path:
    return project.folder / ".launcher/runs"


@pytest.fixture
def done(cli: Cli, project: Project) -> Cli:
    """Sweeps `s` and `t`, of three and two runs that ended, and one run that waits."""
    project.write("program.py", PROGRAM)
    for sweep, seeds in (("s", 3), ("t", 2)):
        cli("add", "--sweep", sweep, "-m", f"seed=range({seeds})", "--", "python", "program.py")
    assert cli("agent", "--drain", "-j", "2").code == 0
    cli("add", "--sweep", "waiting", "--", "python", "program.py")
    return cli


def items(store: Store, sweep: str | None = None) -> list[Item]:
    return list(store.items(ItemFilter(sweep=sweep)))


def folders(runs: Path) -> set[str]:
    return {folder.name for folder in runs.iterdir()}


def ended(store: Store, runs: Path, count: int, sweep: str = "big") -> list[str]:
    """Items that ran and ended, with a folder each; put in by the store's own verbs."""
    store.push(Sweep(sweep), [spec(seed) for seed in range(count)])
    store.register(agent("a"))
    leases = store.pop("a", ["default"], count)
    store.ack((lease, {"pid": 1}, f"{runs}/{lease.item.id}/1") for lease in leases)
    for lease in leases:
        log = runs / lease.item.id / "1/output.log"
        log.parent.mkdir(parents=True)
        log.write_text("1234567890")
    assert all(store.finish([(lease, Finished()) for lease in leases]))
    return [lease.item.id for lease in leases]


def later() -> float:
    return time.time() + 1


def test_folders_of_old_runs_go_and_their_items_stay(done: Cli, ours: Store, runs: Path) -> None:
    before = items(ours)
    held = sum(file.stat().st_size for file in runs.rglob("*") if file.is_file())
    assert done("gc").out == "0 folders removed (0 B)\n", "nothing is as old as 30 days"
    assert len(folders(runs)) == 5
    told = json.loads(done("gc", "--older-than", "0s", "--json").out)
    assert (told["folders"], told["size"], told["items"], told["missing"], told["failures"]) == (5, held, 0, 0, [])
    assert folders(runs) == set()
    assert items(ours) == before
    assert "did launcher gc remove it?" in done("logs", before[0].id).err
    assert "5 folders not at" in done("gc", "--older-than", "0s").out


def test_a_dry_run_counts_and_removes_nothing(done: Cli, ours: Store, runs: Path) -> None:
    before, there = items(ours), folders(runs)
    dry = json.loads(done("gc", "--older-than", "0s", "--items", "--dry-run", "--json").out)
    assert (folders(runs), items(ours)) == (there, before)
    wet = json.loads(done("gc", "--older-than", "0s", "--items", "--json").out)
    assert {**wet, "freed": 0} == dry
    assert (wet["folders"], wet["items"]) == (5, 5)


def test_with_items_the_ended_ones_are_forgotten_and_the_waiting_one_runs(done: Cli, ours: Store) -> None:
    assert done("gc", "--older-than", "0s", "--items").code == 0
    assert [(item.sweep, item.state) for item in items(ours)] == [("waiting", RunState.PENDING)]
    assert ours.check() == []
    assert done("agent", "--drain").code == 0
    assert [item.state for item in items(ours)] == [RunState.FINISHED]


def test_of_each_sweep_the_last_ones_are_spared(done: Cli, ours: Store, runs: Path) -> None:
    told = json.loads(done("gc", "--older-than", "0s", "--keep", "1", "--items", "--json").out)
    assert (told["folders"], told["items"]) == (3, 3)
    left = items(ours)
    assert Counter(item.sweep for item in left) == {"s": 1, "t": 1, "waiting": 1}
    assert folders(runs) == {item.id for item in left if item.state in TERMINAL}
    assert max(item.changed_at for item in left if item.sweep == "s") == left[0].changed_at


def test_equally_old_items_are_spared_by_number_too(ours: Store, runs: Path) -> None:
    made = ended(ours, runs, 10)
    told = collect(ours, runs, ItemFilter(ended_before=later()), keep=4, items=True)
    assert (told.items, {item.id for item in items(ours)}) == (6, set(made[6:]))


def test_only_the_sweep_that_is_named(done: Cli, ours: Store) -> None:
    told = json.loads(done("gc", "--older-than", "0s", "--sweep", "t", "--items", "--json").out)
    assert told["items"] == 2
    assert Counter(item.sweep for item in items(ours)) == {"s": 3, "waiting": 1}
    unknown = done("gc", "--sweep", "u")
    assert unknown.code == 1
    assert "no sweep named 'u'" in unknown.err


@pytest.mark.parametrize("span", ["soon", "-1d", "5 w"])
def test_a_span_that_is_none_is_a_wrong_call(cli: Cli, span: str) -> None:
    told = cli("gc", "--older-than", span)
    assert told.code == 2
    assert f"{span!r} is no span of time" in told.err


def test_all_attempts_go_and_runs_that_never_started_too(ours: Store, runs: Path) -> None:
    [made] = ours.push(None, [spec()]).ids
    ours.register(agent("a"))
    for number in (1, 2, 3):
        (runs / made / str(number)).mkdir(parents=True)
        [lease] = ours.pop("a", ["default"], 1)
        if number < 3:
            ours.ack([(lease, {"pid": 1}, f"{runs}/{made}/{number}")])
            ours.finish([(lease, Lost("gone"))])
        else:
            ours.finish([(lease, Failed("prepare", "no code"))])
    (runs / made / "4").mkdir()
    (runs / made / "notes").mkdir()
    told = collect(ours, runs, ItemFilter(ended_before=later()))
    assert told.folders == 3
    assert folders(runs / made) == {"4", "notes"}, "what no attempt of the item made"


def test_what_waits_or_is_held_is_never_touched(ours: Store, runs: Path) -> None:
    ours.push(None, [spec(1), spec(2), spec(3)])
    ours.register(agent("a"))
    first, second = ours.pop("a", ["default"], 2)
    ours.ack([(first, {"pid": 1}, f"{runs}/{first.item.id}/1")])
    for item in items(ours):
        (runs / item.id / "1").mkdir(parents=True)
    before = items(ours)
    told = collect(ours, runs, ItemFilter(ended_before=later()), items=True)
    assert (told.folders, told.items) == (0, 0)
    assert (items(ours), len(folders(runs))) == (before, 3)
    assert second.item.id in folders(runs)


def test_an_item_that_is_retried_meanwhile_is_not_forgotten(ours: Store, runs: Path) -> None:
    [made] = ended(ours, runs, 1)
    store_delete = ours.delete

    def delete(which: ItemFilter) -> int:
        harm = "UPDATE items SET state = 'failed'"
        with ours._session() as db:  # type: ignore[attr-defined]
            db.execute(harm)
        assert ours.retry(ItemFilter(ids=(made,)), "ann") == 1
        return store_delete(which)

    ours.delete = delete  # type: ignore[method-assign]
    assert collect(ours, runs, ItemFilter(ended_before=later()), items=True).items == 0
    assert [item.state for item in items(ours)] == [RunState.PENDING]


def test_links_are_never_followed(ours: Store, runs: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "1").mkdir()
    (precious / "thesis").write_text("years of work")
    home, attempt, inside = ended(ours, runs, 3)
    for path, what in ((runs / home, runs / home / "1"), (runs / attempt / "1", runs / attempt / "1")):
        (what / "output.log").unlink()
        what.rmdir()
        if path != what:
            path.rmdir()
        path.symlink_to(precious, target_is_directory=True)
    (runs / inside / "1/data").symlink_to(precious, target_is_directory=True)
    told = collect(ours, runs, ItemFilter(ended_before=later()), items=True)
    assert (told.folders, told.items) == (1, 1)
    assert len(told.failures) == 2
    assert {item.id for item in items(ours)} == {home, attempt}
    assert folders(precious) == {"1", "thesis"}
    assert (precious / "thesis").read_text() == "years of work"


@pytest.mark.parametrize(
    "place", ["{tmp}/elsewhere/{id}/1", "{runs}/other/1", "{runs}/{id}/../{id}/1", "{runs}", "/", ""]
)
def test_a_folder_that_is_not_where_runs_lie_is_left_alone(
    ours: Store, runs: Path, tmp_path: Path, place: str, cli: Cli
) -> None:
    [made] = ours.push(None, [spec()]).ids
    ours.register(agent("a"))
    [lease] = ours.pop("a", ["default"], 1)
    told_place = place.format(tmp=tmp_path, runs=runs, id=made)
    ours.ack([(lease, {"pid": 1}, told_place)])
    ours.finish([(lease, Finished())])
    for folder in (tmp_path / "elsewhere" / made / "1", runs / "other/1", runs / made / "1"):
        folder.mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    told = cli("gc", "--older-than", "0s", "--items")
    assert told.code == 0
    assert "1 folder not below" in told.out
    assert sorted(path for path in tmp_path.rglob("*") if ".db" not in path.name) == [
        path for path in before if ".db" not in path.name
    ]
    assert [item.id for item in items(ours)] == [made], "it says where its folder is"


def test_a_folder_that_cannot_be_removed_is_told_and_its_item_stays(
    ours: Store, runs: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, gone = ended(ours, runs, 2)
    import launcher.housekeeping

    real = launcher.housekeeping.shutil.rmtree

    def rmtree(folder: Path) -> None:
        if stuck in str(folder):
            raise PermissionError(1, "Operation not permitted", str(folder))
        real(folder)

    monkeypatch.setattr(launcher.housekeeping.shutil, "rmtree", rmtree)
    told = cli("gc", "--older-than", "0s", "--items")
    assert told.code == 1
    assert told.err == f"launcher: {runs}/{stuck}/1 cannot be removed: Operation not permitted\n"
    assert "1 folder removed (10 B), 1 item forgotten" in told.out
    assert [item.id for item in items(ours)] == [stuck]
    assert gone not in folders(runs)


def test_agents_work_while_thousands_of_items_go(ours: Store, project: Project, runs: Path) -> None:
    ours.push(Sweep("big"), [spec(seed) for seed in range(5000)])
    ours.cancel(ItemFilter(sweep="big"), "ann")
    ours.push(Sweep("live"), [spec(seed) for seed in range(50)])
    ours.register(agent("a"))
    cleaner = project.start("gc", "--older-than", "0s", "--items", "--json")
    finished = 0
    while leases := ours.pop("a", ["default"], 1):
        ours.ack([(lease, {"pid": 1}, f"{runs}/{lease.item.id}/1") for lease in leases])
        finished += sum(ours.finish([(lease, Finished()) for lease in leases]))
    out, err = cleaner.communicate(timeout=60)
    assert cleaner.returncode == 0, err
    assert finished == 50
    told = json.loads(out)
    assert told["items"] >= 5000
    assert len(items(ours)) == 5050 - told["items"]
    assert ours.check() == []
