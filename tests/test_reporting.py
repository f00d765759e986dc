"""`launcher.report` adds to the result file of this run, and writes nothing where there is no run."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import LaunchError
from launcher.reporting import report


class Scalar:
    """A number as array libraries wrap it."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def item(self) -> Any:
        return self.value


class Several:
    """An array of more than one number: it has `item`, which refuses."""

    def item(self) -> Any:
        raise ValueError("can only convert an array of size 1 to a Python scalar")


@pytest.fixture
def result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "result.json"
    monkeypatch.setenv("LAUNCHER_RESULT", str(path))
    return path


def test_outside_of_a_run_it_returns_the_metrics_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert report(accuracy=0.9, epochs=3) == {"accuracy": 0.9, "epochs": 3}
    assert list(tmp_path.iterdir()) == []


def test_the_result_file_holds_what_was_reported_and_nothing_lies_beside_it(result: Path) -> None:
    assert report(accuracy=0.9, note="é", nested={"a": [1, None, True]}) == json.loads(result.read_text("utf-8"))
    assert list(result.parent.iterdir()) == [result]


def test_later_calls_add_and_replace_by_name(result: Path) -> None:
    report(accuracy=0.1, epochs=1)
    assert report(accuracy=0.9, loss=2) == {"accuracy": 0.9, "epochs": 1, "loss": 2}
    assert json.loads(result.read_text()) == {"accuracy": 0.9, "epochs": 1, "loss": 2}


def test_nan_and_infinity_are_kept_as_text(result: Path) -> None:
    report(a=math.nan, b=[math.inf, {"c": -math.inf}])
    assert json.loads(result.read_text()) == {"a": "NaN", "b": ["Infinity", {"c": "-Infinity"}]}


def test_wrapped_numbers_become_numbers(result: Path) -> None:
    report(a=Scalar(3), b=Scalar(math.nan))
    assert json.loads(result.read_text()) == {"a": 3, "b": "NaN"}


def test_integers_of_any_size_are_kept(result: Path) -> None:
    report(a=2**80)
    assert json.loads(result.read_text()) == {"a": 2**80}


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", [object()], Scalar(object()), Several()])
def test_what_is_no_json_value_is_told_by_name_and_type_and_the_result_stays(result: Path, value: Any) -> None:
    report(before=1)
    with pytest.raises(LaunchError) as error:
        report(good=2, bad=value)
    kind = type(value).__name__
    assert str(error.value) == f"report: bad is a {kind}, expected a JSON value (number, text, list, dict)"
    assert json.loads(result.read_text()) == {"before": 1}


@pytest.mark.parametrize("content", [b"{", b"", b"[1]", b"\xff", b"3"])
def test_a_file_that_was_not_ours_is_replaced(result: Path, content: bytes) -> None:
    result.write_bytes(content)
    assert report(a=1) == {"a": 1}
    assert json.loads(result.read_text()) == {"a": 1}


def test_what_no_file_can_hold_is_told_by_name(result: Path) -> None:
    """A file name that is no UTF-8, as Python has it."""
    with pytest.raises(LaunchError, match="report: file is a str, expected"):
        report(file="caf\udce9.txt")
    with pytest.raises(LaunchError, match="report: file is a str, expected"):
        report(step=1, file="caf\udce9.txt")
    assert not result.exists()


def test_threads_that_report_at_once_lose_nothing(result: Path) -> None:
    def work(name: str) -> None:
        for number in range(50):
            report(**{f"{name}{number}": number})

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert json.loads(result.read_text()) == {f"{name}{number}": number for name in "ab" for number in range(50)}
