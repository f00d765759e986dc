"""What runs and launcher leave among the code is no code, unless somebody tracks it."""

from __future__ import annotations

from pathlib import Path

from launcher.sources import Leavings, pin
from launcher.sources.snapshot import LIMIT
from tests.sources.repositories import checkout, commit, git

RUN = ("2026/1/.hydra/hydra.yaml", "2026/1/model.ckpt")


def write(repo: Path, *names: str) -> None:
    for name in names:
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text(name)


def recorded(repo: Path, leavings: Leavings, folder: str = "") -> list[str]:
    _, patch = pin(str(repo / folder), leavings=leavings)
    return sorted(patch.paths) if patch else []


def test_hydras_own_folders_of_outputs_are_no_code_where_hydra_wrote_them(repo: Path) -> None:
    write(repo, *(f"outputs/{name}" for name in RUN), "multirun/new.py", "__pycache__/a.pyc", "runs/.hydra/hydra.yaml")
    assert recorded(repo, Leavings()) == ["multirun/new.py", "runs/.hydra/hydra.yaml"]
    assert not pin(str(repo), dirty="ignore", leavings=Leavings(outputs=[repo / "multirun"]))[0].dirty
    assert not pin(str(repo), in_place=True, leavings=Leavings(outputs=[repo / "multirun"]))[0].dirty


def test_whatever_hydra_wrote_for_an_app_is_no_code(repo: Path) -> None:
    write(
        repo, *(f"logs/{name}" for name in RUN), "logs/2026/multirun.yaml", "logs/2026/best.txt", "logs/b.py", "out/a"
    )
    assert recorded(repo, Leavings(outputs=[repo / "out"])) == ["logs/b.py"]


def test_outputs_where_the_code_lies_are_left_out_alone(repo: Path) -> None:
    write(repo, "src/train.py", ".hydra/hydra.yaml", "multirun.yaml", "src/.hydra/hydra.yaml", "src/new/a.py")
    both = Leavings(outputs=[repo, repo / "src"])
    told = [".hydra/hydra.yaml", "multirun.yaml", "src/.hydra/hydra.yaml", "src/new/a.py", "src/train.py"]
    assert recorded(repo, both, "src") == told
    git(repo, "add", "src/train.py")
    assert "src/new/a.py" in recorded(repo, both)  # a folder of code, which an app writes its outputs into too


def test_nothing_that_is_tracked_is_left_out(repo: Path, cache: Path) -> None:
    write(repo, "outputs/.gitkeep", "outputs/keep/.hydra/hydra.yaml", "gone/.hydra/hydra.yaml")
    commit(repo, "second")
    write(repo, "outputs/staged/.hydra/hydra.yaml")
    git(repo, "add", "outputs/staged")
    git(repo, "rm", "-r", "--quiet", "--cached", "gone")
    (repo / "outputs/keep/.hydra/hydra.yaml").write_text("edited")
    write(repo, *(f"outputs/{name}" for name in RUN), "outputs/keep/.hydra/new.yaml")
    source, patch = pin(str(repo), leavings=Leavings(outputs=[repo / "outputs"]))
    assert patch
    assert sorted(patch.paths) == ["gone/.hydra/hydra.yaml", "outputs/keep/.hydra/hydra.yaml",
                                   "outputs/staged/.hydra/hydra.yaml"]  # fmt: skip
    code = checkout(source, cache, patch)
    assert (code / "outputs/keep/.hydra/hydra.yaml").read_text() == "edited"
    assert not (code / "outputs/2026").exists()


def test_checkpoints_among_outputs_do_not_count_for_the_size(repo: Path) -> None:
    write(repo, "multirun/1/.hydra/hydra.yaml", "a.csv")
    with (repo / "multirun/1/model.ckpt").open("wb") as file:
        file.truncate(LIMIT + 1)
    assert recorded(repo, Leavings(files=[repo / "a.csv", repo / "train.py", repo.parent / "b.csv"])) == []
    (repo / "train.py").write_text("edited")
    assert recorded(repo, Leavings(files=[repo / "train.py"])) == ["a.csv", "train.py"]
