"""Slurm's command-line programs: what they are asked, and what is read in what they say. `slurm` calls it. Argument
lists only, never a shell."""

from __future__ import annotations

import getpass
import os
import re
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from launcher.runners.engines import Said, Word

ANSWER_SECONDS = 60.0
UNLIMITED = 1_000_000
AT_A_TIME = 500
"""Jobs named in one command line."""

WORDS: Mapping[str, Word] = {
    "PENDING": Word.GOES_ON, "CONFIGURING": Word.GOES_ON, "RUNNING": Word.GOES_ON, "SUSPENDED": Word.GOES_ON,
    "COMPLETING": Word.GOES_ON, "STOPPED": Word.GOES_ON, "SIGNALING": Word.GOES_ON, "STAGE_OUT": Word.GOES_ON,
    "RESIZING": Word.GOES_ON, "REQUEUED": Word.GOES_ON, "REQUEUE_FED": Word.GOES_ON, "REQUEUE_HOLD": Word.GOES_ON,
    "SPECIAL_EXIT": Word.GOES_ON, "RESV_DEL_HOLD": Word.GOES_ON, "POWER_UP_NODE": Word.GOES_ON,
    "COMPLETED": Word.ENDED, "FAILED": Word.FAILED, "CANCELLED": Word.CANCELLED, "TIMEOUT": Word.TIMED_OUT,
    "DEADLINE": Word.TIMED_OUT, "OUT_OF_MEMORY": Word.OUT_OF_MEMORY, "PREEMPTED": Word.PREEMPTED,
    "NODE_FAIL": Word.BROKEN, "BOOT_FAIL": Word.BROKEN, "LAUNCH_FAILED": Word.BROKEN, "REVOKED": Word.CANCELLED,
}  # fmt: skip
"""Slurm's states, from job_state_string of 22.05 and later; one that is not here goes on."""

LIMIT = re.compile(r"^\w+: error: ((?:Assoc|QOS)\w*Limit)$", re.MULTILINE)
"""The line that names what a job is over, before one that lists whatever it might be; from acct_policy.c."""

FULL = re.compile(r"(job submit limit|maximum number of jobs|temporarily unable|try again)", re.IGNORECASE)
UNREACHED = re.compile(
    r"(unable to contact|timed out|zero bytes|connection|transport|communication|authentication|munge|"
    r"did not answer|protocol)",
    re.IGNORECASE,
)

REST = "N/A"

Task = tuple[str, str]
"""A task of a job array: the array's job ID, and the task's number."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program of Slurm said."""

    code: int
    out: str
    err: str

    @property
    def why(self) -> str:
        """What it says in the end, for people."""
        lines = [line for line in map(str.strip, self.err.splitlines()) if line]
        told = re.sub(r"^\w+: (error|fatal): ", "", lines[-1]) if lines else f"exit code {self.code}"
        return f"{told}: {limit[1]}" if (limit := LIMIT.search(self.err)) else told

    @property
    def full(self) -> bool:
        """Whether it has too many jobs now, and may take this one later; a job that asks for too much stays refused."""
        limit = LIMIT.search(self.err)
        return "SubmitJob" in limit[1] if limit else FULL.search(self.err) is not None


def ask(*argv: str, env: Mapping[str, str] | None = None, given: str | None = None) -> Answer:
    """Run a program of Slurm; `env` is the environment that it hands on to jobs."""
    own = {name: value for name, value in os.environ.items() if name in ("SLURM_CONF", "HOME", "USER", "PATH")}
    handed = {name: value for name, value in (env or {}).items() if not name.startswith("SLURM_")}
    try:
        done = subprocess.run(
            argv, env=own | handed, input=given or "", capture_output=True, text=True, timeout=ANSWER_SECONDS,
            check=False, start_new_session=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Answer(-9, "", f"{argv[0]} did not answer within {ANSWER_SECONDS:g} s")
    except OSError as error:
        return Answer(127, "", f"{argv[0]} cannot be started: {error.strerror}")
    return Answer(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a cluster allows: tasks in an array, jobs of ours at a time; and whether it keeps accounts."""

    tasks: int = 1000
    jobs: int = UNLIMITED
    accounting: bool = False


def limits() -> Limits | None:
    """The limits of the cluster and of the user; None while it does not answer."""
    told = ask("scontrol", "show", "config")
    if told.code:
        return None
    values = {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in told.out.splitlines())}
    tasks = max(int(values.get("MaxArraySize", "1001")), 1)
    jobs = int(values.get("MaxJobCount", UNLIMITED))
    accounting = values.get("AccountingStorageType") == "accounting_storage/slurmdbd"
    if accounting:
        jobs = min(jobs, *_of_user())
    return Limits(tasks, jobs, accounting)


def _of_user() -> list[int]:
    """The limits on submitted jobs of the user's associations, and of the QOS that these may use by default."""
    columns = "format=MaxSubmitJobs,GrpSubmitJobs,DefaultQOS"
    told = ask("sacctmgr", "-nP", "show", "assoc", f"user={getpass.getuser()}", columns)
    rows = [line.split("|") for line in told.out.splitlines() if line]
    found = [int(value) for row in rows for value in row[:2] if value.isdigit()]
    qos = {row[2] or "normal" for row in rows if len(row) > 2}
    if qos:
        told = ask("sacctmgr", "-nP", "show", "qos", ",".join(sorted(qos)), "format=MaxSubmitPU,MaxSubmitPA,GrpSubmit")
        found += [int(value) for line in told.out.splitlines() for value in line.split("|") if value.isdigit()]
    return found or [UNLIMITED]


@dataclass(frozen=True, slots=True)
class Listed:
    """What squeue tells of the user's jobs: of each task what is said, and the comment that says whose it is."""

    said: Mapping[Task, Said]
    comments: Mapping[Task, str]

    def of(self, task: Task) -> Said | None:
        """What is said of a task; one record speaks for all of an array that were cancelled before they started."""
        return self.said.get(task) or self.said.get((task[0], REST))

    @property
    def waiting_or_running(self) -> int:
        """How many count against the user's limits."""
        return sum(said.word is Word.GOES_ON for said in self.said.values())


def listed() -> Listed | None:
    """All tasks of the user's job arrays that Slurm remembers, in one call; None while it does not answer.

    The text is read, not squeue's JSON: that has 5 kB a task, in a shape that changes from version to version.
    """
    told = ask("squeue", "--me", "--noheader", "--array", "--states=all", "--format=%F|%K|%T|%r|%k")
    if told.code:
        return None
    rows = [line.split("|", 4) for line in told.out.splitlines() if line.count("|") >= 4]
    return Listed(
        {(job, task): said(state, reason) for job, task, state, reason, _ in rows},
        {(job, task): comment for job, task, _, _, comment in rows},
    )


def accounted(jobs: Iterable[str]) -> dict[Task, Said] | None:
    """What the accounts tell of all tasks of these arrays; None while they do not answer."""
    told = ask(
        "sacct", "--noheader", "--parsable2", "--allocations", "--format=JobID,State,Reason",
        f"--jobs={','.join(sorted(set(jobs)))}",
    )  # fmt: skip
    if told.code:
        return None
    rows = [line.split("|", 2) for line in told.out.splitlines() if line.count("|") >= 2]
    tasks = [(job.partition("_"), state, reason) for job, state, reason in rows]
    return {(job[0], job[2]): said(state, reason) for job, state, reason in tasks if job[2].isdigit()}


def said(state: str, reason: str = "") -> Said:
    """What a state of Slurm means; `CANCELLED by 1000` is one.

    >>> said("CANCELLED by 1000").word.name
    'CANCELLED'
    """
    native = state.partition(" ")[0].rstrip("+")
    told = "" if reason in ("None", "", "(null)") else reason
    return Said(WORDS.get(native, Word.GOES_ON), state, told)


def cancel(tasks: Collection[Task]) -> set[Task]:
    """Ask Slurm to end these, some hundred at a time; returns those that it was asked for."""
    asked: set[Task] = set()
    waiting = sorted(tasks)
    for start in range(0, len(waiting), AT_A_TIME):
        some = waiting[start : start + AT_A_TIME]
        told = ask("scancel", *(f"{job}_{task}" for job, task in some))
        if not UNREACHED.search(told.err):  # others are gone, which is what was wanted
            asked.update(some)
    return asked


def unfit(script: str, env: Mapping[str, str]) -> str | None:
    """Why Slurm would refuse this job script, if it says so now; nothing is submitted."""
    told = ask("sbatch", "--test-only", env=env, given=script)
    return told.why if told.code and not UNREACHED.search(told.err) else None


def submit(script: Sequence[str] | str, env: Mapping[str, str]) -> Answer:
    """Hand over a job script; what it prints is the job's ID."""
    return ask("sbatch", "--parsable", env=env, given=str(script))
