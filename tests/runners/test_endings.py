"""However a program ends, its item ends in the right state, with a reason, and its log is kept."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.item import ItemFilter, RunState
from launcher.queues.sqlite import SqliteStore
from launcher.runners.verdict import why_not
from tests.conftest import Project, Result

Cli = Callable[..., Result]

ENDINGS = {
    "writes a result": ("import launcher; launcher.report(a=1); launcher.report(b=float('nan'))", "finished", None, 0),
    "reports nothing": ("print('hello')", "finished", None, 0),
    "exits non-zero": ("print('hello'); raise SystemExit(3)", "failed", "exit code 3: hello", 3),
    "raises": ("raise ValueError('bad lr')", "failed", "exit code 1: ValueError: bad lr", 1),
    "is killed": ("import os; os.kill(os.getpid(), 9)", "failed", "killed by SIGKILL", -9),
    "writes broken JSON": (
        "import os; open(os.environ['LAUNCHER_RESULT'], 'w').write('{\"a\": ')", "failed", "the result is not JSON", 0,
    ),
    "writes no object": (
        "import os; open(os.environ['LAUNCHER_RESULT'], 'w').write('[1]')", "failed", "expected a JSON object", 0,
    ),
    "writes what no UTF-8 holds": (
        "import os; open(os.environ['LAUNCHER_RESULT'], 'w').write('{\"a\": \"\\\\udce9\"}')", "failed",
        "the result is not JSON", 0,
    ),
    "nests too deep": (
        "import os; open(os.environ['LAUNCHER_RESULT'], 'w').write('{\"a\": ' + '[' * 300 + ']' * 300 + '}')", "failed",
        "the result is not JSON", 0,
    ),
    "writes a point that no UTF-8 holds": (
        "import os; open(os.environ['LAUNCHER_RUN_DIR'] + '/series.jsonl', 'w').write("
        "'{\"step\": 1, \"\\\\udce9\": 2}\\n{\"step\": 2, \"a\": 1}\\n')", "finished", None, 0,
    ),
    "removes its folder": (
        "import os, shutil; shutil.rmtree(os.environ['LAUNCHER_RUN_DIR'])", "failed", "is gone, and with it", 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_program_that(ending: str, cli: Cli, project: Project) -> None:
    program, state, reason, exit_code = ENDINGS[ending]
    project.write("program.py", program)
    assert cli("add", "--sweep", "s", "--", "python", "program.py").code == 0
    assert cli("agent", "--drain").code == 0
    [item] = json.loads(cli("status", "s", "--json").out)
    assert item["state"] == state
    assert item["exit_code"] == exit_code
    assert item["reason"] is None if reason is None else reason in item["reason"]
    assert item["finished_at"] >= item["started_at"] >= item["added_at"]
    if "hello" in program:
        assert cli("logs", item["id"][:5]).out == "hello\n"
    assert cli("wait", "s").code == (0 if state == "finished" else 1)


def test_a_result_keeps_what_was_reported_before_a_failure(cli: Cli, project: Project) -> None:
    project.write("program.py", "import launcher; launcher.report(loss=float('inf')); raise SystemExit(1)")
    cli("add", "--sweep", "s", "--", "python", "program.py")
    cli("agent", "--drain")
    [record] = json.loads(cli("results", "s", "--json").out)
    assert record["state"] == "failed"
    assert record["loss"] == "Infinity"


def test_a_program_that_is_not_there(cli: Cli, project: Project) -> None:
    cli("add", "--sweep", "s", "--", "no-such-program", "--x")
    assert cli("agent", "--drain").code == 0
    [item] = json.loads(cli("status", "s", "--json").out)
    assert (item["state"], item["stage"]) == ("failed", "submit")
    assert "the program 'no-such-program' is not on PATH" in item["reason"]
    assert "install it, or correct the entry point" in item["reason"]


@pytest.mark.parametrize(("line", "named"), [("#! /no/python -u\n", "/no/python"), ("#!/bin/sh\r\n", "/bin/sh\\r")])
@pytest.mark.parametrize("searched", [False, True])
def test_a_program_whose_interpreter_is_not_there(
    cli: Cli, project: Project, monkeypatch: pytest.MonkeyPatch, line: str, named: str, searched: bool
) -> None:
    script = project.write("bin/own-program", line)
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    program = "own-program" if searched else "./bin/own-program"
    cli("add", "--sweep", "s", "--", program)
    cli("agent", "--drain")
    [item] = json.loads(cli("status", "s", "--json").out)
    assert (item["state"], item["stage"]) == ("failed", "submit")
    assert f"the program '{program}' is there, but its interpreter '{named}' is not" in item["reason"]


def test_what_another_machine_lacks_is_no_interpreter_of_what_is_here(tmp_path: Path) -> None:
    script = tmp_path / "program"
    script.write_text("#!/no/python\n")
    for program, told in ((str(script), "is not there"), ("./program", "its interpreter '/no/python' is not;")):
        assert told in why_not(program, str(tmp_path), True, None, errno.ENOENT, "")


def test_a_program_that_may_not_be_executed(cli: Cli, project: Project) -> None:
    script = project.write("script.sh", "#!/bin/sh\n")
    script.chmod(0o644)
    cli("add", "--sweep", "s", "--", "./script.sh")
    cli("agent", "--drain")
    [item] = json.loads(cli("status", "s", "--json").out)
    assert item["state"] == "failed"
    assert "may not be executed; chmod +x it" in item["reason"]


def test_a_source_folder_that_has_gone(cli: Cli, project: Project) -> None:
    project.write("conf/launch/elsewhere.yaml", "uri: code\nentry_point: ['true']\n")
    project.write("conf/config.yaml", "defaults: [{launch: elsewhere}, _self_]\n")
    code = project.folder / "code"
    code.mkdir()
    cli("add", "--sweep", "s")
    code.rmdir()
    cli("agent", "--drain")
    [item] = json.loads(cli("status", "s", "--json").out)
    assert (item["state"], item["stage"]) == ("failed", "prepare")
    assert f"the source folder {code} is not there" in item["reason"]


def test_what_a_run_sees(cli: Cli, project: Project) -> None:
    project.write(
        "program.py",
        "import json, os, sys, launcher\n"
        "launcher.report(env={k: v for k, v in os.environ.items() if k.startswith(('WANDB_', 'LAUNCHER_'))},"
        " argv=sys.argv[1:], config=open(os.environ['LAUNCHER_CONFIG']).read(), cwd=os.getcwd())",
    )
    project.write(
        "conf/config.yaml",
        "seed: 0\nlaunch: {name: 'run-${seed}', project: p, entity: e, author: me, entry_point: [python, program.py], "
        "args: ['--config=${config_file}', '${overrides}', '--dir', '${run_dir}', 'all: ${overrides}']}\n",
    )
    cli("add", "--sweep", "s", "-p", "high", "seed=4", "+note='a b'")
    cli("agent", "--drain")
    store = SqliteStore(project.store_url)
    [item] = store.items(ItemFilter())
    store.close()
    assert item.state is RunState.FINISHED
    assert item.result is not None
    env = item.result["env"]
    folder = item.run_dir
    assert folder == str(project.folder / ".launcher/runs" / item.id / "1")
    assert env == {
        "WANDB_PROJECT": "p", "WANDB_ENTITY": "e", "WANDB_RUN_ID": item.id, "WANDB_NAME": "run-4",
        "WANDB_LAUNCH": "True", "WANDB_LAUNCH_QUEUE_NAME": "default", "WANDB_LAUNCH_QUEUE_ENTITY": "e",
        "WANDB_LAUNCH_TRACE_ID": item.id, "WANDB_USERNAME": "me", "WANDB_SWEEP_ID": "s",
        "WANDB_CONFIG": '{"seed": 4, "note": "a b"}', "WANDB_ARTIFACTS": "{}", "WANDB_LAUNCH_FILE_OVERRIDES": "{}",
        "LAUNCHER_RUN_DIR": folder, "LAUNCHER_CONFIG": f"{folder}/config.yaml",
        "LAUNCHER_RESULT": f"{folder}/result.json", "LAUNCHER_ATTEMPT": "1",
        "LAUNCHER_LEASE_TOKEN": env["LAUNCHER_LEASE_TOKEN"],
    }  # fmt: skip
    assert len(env["LAUNCHER_LEASE_TOKEN"]) == 16
    assert item.result["argv"] == [
        f"--config={folder}/config.yaml", "seed=4", "+note='a b'", "--dir", folder, "all: seed=4 +note='a b'",
    ]  # fmt: skip
    assert item.result["config"] == "seed: 4\nnote: a b\n"
    assert item.result["cwd"] == str(project.folder)
