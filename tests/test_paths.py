"""The files of a run: where they are, and that they appear whole."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from launcher.paths import RunPaths, write_atomically


def test_every_file_of_an_attempt_is_below_its_folder(tmp_path: Path) -> None:
    paths = RunPaths.of(tmp_path, "k3x9a1b2", 2)
    assert paths.folder == tmp_path / "k3x9a1b2" / "2"
    assert [path.relative_to(paths.folder).as_posix() for path in (paths.config, paths.log, paths.result)] == [
        "config.yaml", "output.log", "result.json",
    ]  # fmt: skip


def test_creating_makes_the_folder_with_the_config_in_it_and_may_be_repeated(tmp_path: Path) -> None:
    paths = RunPaths.of(tmp_path / "runs", "k3", 1)
    paths.create({"lr": 0.1})
    paths.create({"z": [1, "é"], "a": None})
    assert paths.config.read_text(encoding="utf-8") == "z:\n- 1\n- é\na: null\n"
    assert list(paths.folder.iterdir()) == [paths.config]


def test_writing_replaces_the_whole_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_atomically(path, "old and long")
    with path.open(encoding="utf-8") as reader:
        write_atomically(path, "néw")
        assert reader.read() == "old and long"
    assert path.read_text(encoding="utf-8") == "néw"
    assert list(tmp_path.iterdir()) == [path]


def test_threads_that_write_one_file_at_once_each_write_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "manifest.json"
    both, plain = threading.Barrier(2, timeout=30), Path.write_text

    def write(self: Path, text: str, **more: str) -> int:
        written = plain(self, text, **more)
        both.wait()  # only then does one of them put it in place
        return written

    monkeypatch.setattr(Path, "write_text", write)
    with ThreadPoolExecutor(2) as threads:
        done = [threads.submit(write_atomically, path, text * 1000) for text in "ab"]
    assert [each.exception() for each in done] == [None, None]
    assert path.read_text() in ("a" * 1000, "b" * 1000)
    assert list(tmp_path.iterdir()) == [path]


def test_writing_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "x" * 100_000 + "\ud800")
    assert path.read_text(encoding="utf-8") == "old"


def test_a_run_in_the_folder_of_a_deleted_item_with_its_id_tells_nothing_of_that_one(tmp_path: Path) -> None:
    paths = RunPaths.of(tmp_path, "given", 1)
    paths.create({})
    told = (paths.log, paths.result, paths.series, paths.job_return, paths.exit_code)
    for path in told:
        path.write_text("0")
    paths.create({"seed": 2})
    assert [path.name for path in told if path.exists()] == []
    assert yaml.safe_load(paths.config.read_text()) == {"seed": 2}
