"""`launcher failures`: why runs failed, by cause, from real runs; and retrying those of one cause."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.paths import RunPaths
from launcher.runners.verdict import judge
from tests.conftest import Project, Result

Cli = Callable[..., Result]
PROGRAM = """\
import os, signal, sys

def fit(model, seed):
    if model == "vit":
        print("epoch", seed)
        raise ValueError(f"loss is nan at {seed}")
    if seed == 2:
        os.kill(os.getpid(), signal.SIGKILL)

point = dict(word.split("=") for word in sys.argv[1:])
fit(point["model"], int(point["seed"]))
"""


@pytest.fixture
def failed(cli: Cli, project: Project) -> Cli:
    project.write("fit.py", PROGRAM)
    project.write("conf/model/vit.yaml", "name: vit\n")
    grid = ["-m", "model=svm,vit", "seed=range(3)", "--", "python", "fit.py"]
    assert cli("add", "--sweep", "s", *grid).code == 0
    assert cli("agent", "--drain", "-j", "2").code == 0
    return cli


def test_failed_runs_are_folded_by_cause_with_what_they_share(failed: Cli) -> None:
    lines = failed("failures", "s", "--lines", "2").out.splitlines()
    assert lines[0] == "4 of 6 runs failed, in 2 ways"
    assert lines[2:4] == ["ValueError (fit.py:6 in fit): 3 runs", "  3 of 3 runs with model=vit"]
    assert lines[4].endswith(": exit code 1: ValueError: loss is nan at 2 (fit.py:6 in fit)")
    assert [line.strip() for line in lines[5:7]] == [
        '|     raise ValueError(f"loss is nan at {seed}")', "| ValueError: loss is nan at 2"
    ]  # fmt: skip
    assert lines[7].startswith("  retry: launcher retry s --cause ")
    assert lines[9:11] == ["killed by SIGKILL: 1 run", "  model=svm seed=2"]


def test_what_failed_from_one_cause_is_retried_alone(failed: Cli) -> None:
    first, second = json.loads(failed("failures", "s", "--json").out)
    assert (first["kind"], first["count"], first["common"], first["of"]) == ("exception", 3, ["model=vit"], 3)
    assert first["log"][-1] == "ValueError: loss is nan at 2"
    dry = json.loads(failed("retry", "s", "--cause", second["cause"], "--dry-run", "--json").out)
    assert dry["first"] == second["ids"]
    assert failed(*second["retry"].split()[1:]).out == "1 queued again\n"
    assert len(json.loads(failed("failures", "s", "--json").out)) == 1
    unknown = failed("retry", "s", "--cause", "000000")
    assert unknown.code == 2
    assert "--cause '000000': nothing failed from it" in unknown.err
    assert first["cause"] in unknown.err


def test_the_most_frequent_ones_are_shown_and_the_rest_counted(failed: Cli) -> None:
    assert failed("failures", "s", "--top", "1").out.splitlines()[-1] == (
        "… and 1 more in 1 other ways (--top 2 shows them)"
    )
    assert failed("failures", "s", "--where", "model=svm", "--where", "seed<2").out == "none of 2 runs failed\n"
    assert failed("failures", "t").code == 1


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("epoch 1\n", "epoch 1"),
        (
            "Error executing job\nTraceback (most recent call last):\n"
            '  File "/code/train.py", line 7, in main\n    fit()\n'
            '  File "/usr/lib/python3.11/site-packages/torch/x.py", line 70, in backward\n    raise\n'
            "RuntimeError: bad\n\nSet the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.\n",
            "RuntimeError: bad (train.py:7 in main)",
        ),
        (
            "Traceback (most recent call last):\n"
            '  File "/venv/lib/python3.11/site-packages/torch/x.py", line 70, in backward\nKeyError\n',
            "KeyError (x.py:70 in backward)",
        ),
        ('Traceback (most recent call last):\n  File "<string>", line 1, in <module>\nKeyError: 1\n', "KeyError: 1"),
        (
            "Traceback (most recent call last):\n"
            '  File "/a.py", line 1, in f\nOSError: handled\n' + "going on\n" * 9 + "gave up\n",
            "gave up",
        ),
        ('  File "/a.py", line 1, in f\n    cut off', "cut off"),
        (
            'Traceback (most recent call last):\n  File "/a.py", line 1, in f\nKeyError: 1\n\n'
            "During handling of the above exception, another exception occurred:\n\n"
            'Traceback (most recent call last):\n  File "/b.py", line 2, in g\nOSError: 2\n',
            "OSError: 2 (b.py:2 in g)",
        ),
    ],
)
def test_the_reason_is_the_exception_and_where_it_was_raised(tmp_path: Path, log: str, reason: str) -> None:
    paths = RunPaths(tmp_path)
    paths.log.write_text(log, encoding="utf-8")
    assert judge(1, paths).reason == f"exit code 1: {reason}"  # type: ignore[union-attr]
