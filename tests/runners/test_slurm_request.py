"""What Slurm is asked, as text: job scripts, how runs share arrays, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import RunnerError
from launcher.item import Item, Lease, RunState
from launcher.paths import RunPaths
from launcher.runners import node
from launcher.runners.slurm_cluster import WORDS, Answer, said
from launcher.runners.slurm_request import OURS, SlurmBatch, SlurmRequest, batches, slurm_request

ROOT = Path("/data/runs")


def request(number: int = 1, *, priority: int = 0, root: Path = ROOT, **fields: Any) -> SlurmRequest:
    arguments = {"python": "/opt/python"} | fields.pop("slurm", {})
    item = Item(f"item{number}", "q", "my sweep", RunState.LEASED, priority, "name", (), 1, 3, 0.0, 0.0)
    document = {
        "entity": "e", "project": "p", "docker": {}, "git": {}, "resource": "slurm",
        "overrides": {"entry_point": ["python"], "args": ["train.py", "lr=0.1"]},
        "resource_args": {"slurm": arguments}, **fields,
    }  # fmt: skip
    lease = Lease(item, f"token{number}", document)
    return slurm_request(lease, RunPaths.of(root, item.id, 1), "/code", {"PATH": "/bin", "TOKEN": "s3cret"})


def script(*requests: SlurmRequest) -> str:
    return SlurmBatch(ROOT / ".slurm/b", requests).script().replace(node.__file__, "NODE")


def test_the_job_script_of_a_sweep() -> None:
    asked = {"cpus": 1.5, "memory": "2GiB", "gpus": 2, "gpu_type": "a100", "time": "90m"}
    own = {
        "partition": "gpu", "signal": "USR1@120", "dependency": "afterok:12", "hint": "nomultithread",
        "account": "my lab",
        "exclusive": False, "modules": ["cuda/12"], "setup": [". venv/bin/activate"],
        "extra": ["--constraint=ib", "-x n7"],
    }  # fmt: skip
    two = [request(number, priority=3, resources=asked, slurm=own) for number in (1, 2)]
    assert (
        script(*two)
        == """\
#!/bin/bash
#SBATCH --array=0-1
#SBATCH --chdir=/data/runs/.slurm/b
#SBATCH --comment=launcher:/data/runs/.slurm/b
#SBATCH --output=/data/runs/.slurm/b/%a.log
#SBATCH --open-mode=append
#SBATCH --job-name=launcher-my-sweep
#SBATCH --cpus-per-task=2
#SBATCH --mem=2048M
#SBATCH --gres=gpu:a100:2
#SBATCH --time=90
#SBATCH --nice=300
#SBATCH --requeue
#SBATCH --export=ALL
#SBATCH --partition=gpu
#SBATCH --signal=B:USR1@120
#SBATCH --dependency=afterok:12
#SBATCH --hint=nomultithread
#SBATCH '--account=my lab'
#SBATCH --constraint=ib
#SBATCH -x n7
set -e
module load cuda/12
. venv/bin/activate
exec /opt/python -I -S NODE /data/runs/.slurm/b/tasks "$SLURM_ARRAY_TASK_ID" 1
"""
    )


def test_what_a_spec_says_in_sbatchs_words_wins() -> None:
    asked = {"cpus": 2, "memory": "2G", "gpus": 1, "time": "1h"}
    own = {"cpus-per-task": 8, "mem-per-cpu": "1G", "gpus-per-node": 4, "nice": 7, "no-requeue": True, "job-name": "me"}
    text = script(request(resources=asked, slurm=own | {"extra": ["--time=2-0", "--export=NONE"]}, priority=3))
    options = re.findall(r"#SBATCH --?([\w-]+)(?:=(.*))?", text)
    given = {name: value for name, value in options if name not in OURS}
    assert given == {
        "cpus-per-task": "8", "mem-per-cpu": "1G", "gpus-per-node": "4", "nice": "7", "no-requeue": "",
        "job-name": "me", "time": "2-0", "export": "NONE",
    }  # fmt: skip


def test_packed_runs_share_an_allocation() -> None:
    asked = {"cpus": 2, "memory": "1GiB", "gpus": 0.5, "time": "10m"}
    five = [request(number, resources=asked, slurm={"pack": 4, "at_once": 2}) for number in range(5)]
    batch = SlurmBatch(ROOT / ".slurm/b", five)
    text = script(*five)
    for option in ("--array=0-1", "--cpus-per-task=4", "--mem=2048M", "--gres=gpu:1", "--time=20"):
        assert f"#SBATCH {option}\n" in text
    assert text.endswith('"$SLURM_ARRAY_TASK_ID" 2\n')
    lines = batch.tasks().splitlines()
    assert [line.split("\t") for line in lines] == [
        [f"/data/runs/item{number}/1" for number in range(4)], ["/data/runs/item4/1"],
    ]  # fmt: skip
    assert [batch.place(number) for number in range(5)] == [0, 0, 0, 0, 1]


@given(
    st.lists(st.tuples(st.sampled_from([1, 2, 4]), st.integers(0, 3), st.sampled_from([1, 3])), max_size=40),
    st.integers(1, 7),
)
def test_every_run_is_in_one_array_with_its_like(asked: list[tuple[int, int, int]], most: int) -> None:
    requests = [
        request(number, priority=priority, resources={"cpus": cpus}, slurm={"pack": pack})
        for number, (cpus, priority, pack) in enumerate(asked)
    ]
    made = [SlurmBatch(ROOT, some) for some in batches(requests, most)]
    assert sorted(each.token for batch in made for each in batch.requests) == sorted(each.token for each in requests)
    assert all(len({each.kind for each in batch.requests}) == 1 and 1 <= batch.count <= most for batch in made)
    assert len(made) == sum(
        -(-len([each for each in requests if each.kind == kind]) // (most * kind[3]))
        for kind in {r.kind for r in requests}
    ), "no more arrays than are needed"


def test_srun_starts_the_command() -> None:
    assert request(slurm={"srun": True}).argv == ("srun", "python", "train.py", "lr=0.1")
    assert request(slurm={"srun": ["--ntasks=2"], "ntasks": 2}).argv[:3] == ("srun", "--ntasks=2", "python")


def test_no_secret_is_written_down() -> None:
    made = request(secrets=["TOKEN"], slurm={"env": {"HF": "x-${TOKEN}", "HERE": "${run_id}", "ODD": "${other}"}})
    assert made.references == {"HF": "x-${TOKEN}", "HERE": "item1", "ODD": "${other}"}
    assert made.needed == ("TOKEN",)
    assert "s3cret" not in repr(made) + script(made) + repr(made.document())


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"slurm": {"array": "0-9"}}, "resource_args.slurm.array is launcher's own to give"),
        ({"slurm": {"extra": ["--output=x"]}}, "resource_args.slurm.output is launcher's own to give"),
        ({"slurm": {"extra": ["rm"]}}, "'rm', which is no option of sbatch"),
        ({"slurm": {"account": "a\nb"}}, "resource_args.slurm.account has a line break"),
        ({"slurm": {"extra": ["--account=a\nrm"]}}, "resource_args.slurm.extra has a line break"),
        ({"slurm": {"account": "${TOKEN}"}, "secrets": ["TOKEN"]}, "would show the secret TOKEN"),
        ({"docker": {"docker_image": "a"}}, "no docker_image"),
        ({"overrides": {}}, "no entry_point"),
        ({"root": Path("/a\\b")}, r"the folder '/a\\b' has a backslash, tab or line break"),
        ({"root": Path("/a\tb")}, r"the folder '/a\tb' has a backslash, tab or line break"),
    ],
)
def test_what_is_refused_is_told(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(RunnerError, match=re.escape(told)) as error:
        request(**fields)
    assert error.value.stage == "prepare"


def test_a_state_that_nobody_knows_goes_on() -> None:
    assert said("NEW_IN_25").word is WORDS["RUNNING"]
    assert replace(said("CANCELLED by 0", "None"), native="") == replace(said("CANCELLED+", "(null)"), native="")


POLICY = (
    "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
)


@pytest.mark.parametrize(
    ("told", "full"),
    [
        (["Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)"], False),
        (["QOSMaxWallDurationPerJobLimit", POLICY], False),
        (["QOSMaxCpuPerJobLimit", POLICY], False),
        (["AssocMaxSubmitJobLimit", POLICY], True),
        (["QOSMaxSubmitJobPerUserLimit", POLICY], True),
        ([POLICY], True),
        (["Slurm temporarily unable to accept job, sleeping and retrying"], True),
        (["Batch job submission failed: Unable to create job record, try again"], True),
        (["Batch job submission failed: Invalid partition name specified"], False),
    ],
)
def test_what_slurm_may_take_later_is_told_from_what_it_never_will(told: list[str], full: bool) -> None:
    answer = Answer(1, "", "".join(f"sbatch: error: {line}\n" for line in told))
    assert answer.full is full
    assert told[-1] in answer.why
    assert told[0] in answer.why, "the limit is named"
