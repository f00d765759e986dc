"""launch_add, parameter by parameter: what each does to the item that is queued, and what it is refused for. One test
for each row of the contract's table, named after the parameter."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from launcher import LaunchError, QueuedRun, launch_add
from launcher.item import ItemFilter, JobVersion, QueueInfo
from launcher.queues import open_store
from tests.conftest import Project
from tests.test_public_names import CONTRACT

COMMAND = ["python", "train.py"]
VARIABLES = {
    "gpus": {"type": "integer", "enum": [1, 2, 4], "default": 1},
    "who": {"type": "string"},
}
QUEUES = [
    QueueInfo(
        "gpu",
        "slurm",
        entity="team",
        resource_args={"slurm": {"gpus": "{{gpus}}", "comment": "of {{who}}", "partition": "a100"}},
        variables=VARIABLES,
    ),
    QueueInfo("images", "local-container"),
    QueueInfo("plain", "local-process", prioritization="DISABLED"),
    QueueInfo("fixed", "local-container", resource_args={"local-container": {"cpus": 2}}, allow_overrides=False),
]


@pytest.fixture(autouse=True)
def _here(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(project.folder)
    with closing(open_store(project.store_url)) as store:
        for queue in QUEUES:
            store.create_queue(queue)
        yield
        for item in store.items(ItemFilter()):
            assert store.document(item.id), "what is queued can be read"


def document(run: QueuedRun) -> dict[str, Any]:
    """The launch spec that was queued."""
    with closing(open_store(run.store)) as store:
        return store.document(run.id)


def add(**arguments: Any) -> dict[str, Any]:
    """The launch spec that launch_add queues for these arguments, and some that it needs."""
    if not {"uri", "job", "docker_image"} & arguments.keys():
        arguments["uri"] = "."
    return document(launch_add(**{"entry_point": COMMAND, **arguments}))


def refusal(**arguments: Any) -> str:
    """Why launch_add refuses these arguments; nothing is queued then."""
    with closing(open_store(os.environ.get("LAUNCHER_STORE") or "sqlite:///.launcher/store.db")) as store:
        before = [item.id for item in store.items(ItemFilter())]
        with pytest.raises(LaunchError) as error:
            add(**arguments)
        assert [item.id for item in store.items(ItemFilter())] == before
    return str(error.value)


def commit(folder: Path) -> str:
    """Make `folder` a git repository of one commit; returns its hash."""
    identity = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    (folder / "train.py").write_text("print(1)")
    for words in (["init", "-q", "-b", "main"], ["add", "train.py"], ["commit", "-qm", "one"], ["tag", "v1"]):
        subprocess.run(["git", *words], cwd=folder, env={**os.environ, **identity}, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True)
    return head.stdout.strip()


def test_uri(project: Project) -> None:
    assert add(uri=".")["uri"] == str(project.folder)
    head = commit(project.folder)
    pinned = add(uri=f"file://{project.folder}")
    assert (pinned["uri"], pinned["git"]) == (
        f"file://{project.folder}",
        {"repo": f"file://{project.folder}", "version": head},
    )
    assert "'nowhere' is neither a folder here nor a git remote" in refusal(uri="nowhere")
    assert "uri='.', docker_image='a'" in refusal(uri=".", docker_image="a", resource="local-container")
    assert "exactly one of uri, job or docker_image must be given; got none" in refusal(uri="")


def test_job(project: Project) -> None:
    assert "no job named 'team/p/train'; none is known" in refusal(job="team/p/train:v1")
    with closing(open_store(project.store_url)) as store:
        code = {"uri": str(project.folder), "git": {"version": "a" * 40}}
        inputs = {"properties": {"lr": {"type": "number"}}}
        store.keep_job(JobVersion("team/p/train", "git", code, ("python", "job.py"), inputs), ["best"])
    queued = document(launch_add(job="train:best", entity="team", project="p"))
    assert (queued["job"], queued["uri"], queued["git"]) == ("team/p/train:v0", code["uri"], code["git"])
    assert queued["overrides"] == {"entry_point": ["python", "job.py"]}
    assert add(job="team/p/train")["overrides"]["entry_point"] == COMMAND, "the argument wins"
    assert document(launch_add(job="team/p/train"))["project"] == "p", "the job's project stands in for a missing one"
    assert "did you mean 'team/p/train'? known: team/p/train" in refusal(job="team/p/trian")
    assert "team/p/train has no version 'v1'; known: best, latest, v0" in refusal(job="team/p/train:v1")
    assert "overrides.run_config.lr: 'x' is a string, expected a number" in refusal(
        job="team/p/train", config={"overrides": {"run_config": {"lr": "x"}}}
    )
    assert "job: 'a/b/c/d' is no job; expected entity/project/name:alias" in refusal(job="a/b/c/d")
    assert "got uri='.', job='j:v1'" in refusal(uri=".", job="j:v1")
    assert "job: 3 is an integer, expected a string" in refusal(job=3)


def test_config() -> None:
    config = {"overrides": {"run_config": {"lr": 0.1}, "args": ["--fast"]}, "mine": {"deep": [1]}, "docker": None}
    before = copy.deepcopy(config)
    queued = add(config=config, name="n")
    assert config == before, "the caller's own object is not changed"
    assert queued["mine"] == {"deep": [1]}, "unknown keys are kept"
    assert queued["overrides"] == {"entry_point": COMMAND, "run_config": {"lr": 0.1}, "args": ["--fast"]}
    told = refusal(config={"overrides": {"args": "--fast"}, "docker": 3})
    assert "config.docker: 3 is an integer" in told
    told = refusal(config={"overrides": {"args": ["\0"], "run_config": {"a": [float("inf")], 3: "x"}}})
    assert "overrides.args[0]: '\\x00' holds a NUL character" in told
    assert "overrides.run_config.a[0]: inf is not a JSON number" in told
    assert "overrides.run_config.3: key 3 is an integer; JSON keys are strings" in told
    assert "'../x' is not a relative path without '..'" in refusal(config={"overrides": {"files": {"../x": {}}}})
    assert "s3cret" not in refusal(config={"_wandb_api_key": "s3cret" * 8})
    assert add(config={"_wandb_api_key": "${TEAM_KEY}"})["secrets"] == ["TEAM_KEY"]


def test_template_variables() -> None:
    given = {"queue_name": "gpu", "template_variables": {"gpus": 4, "who": "ann"}}
    assert add(**given)["resource_args"] == {"slurm": {"gpus": 4, "comment": "of ann", "partition": "a100"}}
    over = add(
        queue_name="gpu", config={"template_variables": {"gpus": 2, "who": "c"}}, template_variables={"who": "a"}
    )
    assert over["resource_args"]["slurm"] == {"gpus": 2, "comment": "of a", "partition": "a100"}
    assert "template_variables" not in over
    told = refusal(queue_name="gpu", template_variables={"gpus": 3, "gpu": 1})
    assert "template_variables.gpu: queue 'gpu' has no such variable; did you mean 'gpus'?" in told
    assert "template_variables.gpus: 3 is unknown; expected one of 1, 2, 4" in told
    assert "template_variables.who: missing; queue 'gpu' needs a string" in told
    assert "template_variables.gpus: 'four'" in refusal(
        queue_name="gpu", template_variables={"gpus": "four", "who": ""}
    )


@pytest.mark.parametrize("field", ["project", "entity"])
def test_project_and_entity(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert add()[field] == ""
    monkeypatch.setenv(f"WANDB_{field.upper()}", "from-wandb")
    assert add()[field] == "from-wandb"
    monkeypatch.setenv(f"LAUNCHER_{field.upper()}", "from-launcher")
    assert add()[field] == "from-launcher"
    assert add(config={field: "from-config"})[field] == "from-config"
    assert add(config={field: "from-config"}, **{field: "given"})[field] == "given"
    assert f"{field}: 3 is an integer, expected a string" in refusal(**{field: 3})
    if field == "project":
        assert "'a/b' is not a project name" in refusal(project="a/b")


def test_queue_name() -> None:
    assert launch_add(uri=".", entry_point=COMMAND).queue_name == "default"
    run = launch_add(docker_image="a", queue_name="images")
    assert run.queue_name == "images"
    assert document(run).keys().isdisjoint({"queue_name", "queue"})
    told = refusal(queue_name="image")
    assert "no queue named 'image'; did you mean 'images'?" in told


def test_project_queue() -> None:
    assert launch_add(uri=".", entry_point=COMMAND).project_queue == "model-registry"
    run = launch_add(uri=".", entry_point=COMMAND, project_queue="ours")
    assert run.project_queue == "ours"
    assert "project_queue" not in document(run)
    assert "project_queue: 3 is an integer, expected a string" in refusal(project_queue=3)


def test_resource() -> None:
    assert add(docker_image="a", queue_name="images")["resource"] == "local-container"
    assert add(queue_name="images", config={"resource": "local-process"})["resource"] == "local-process"
    over = add(docker_image="a", config={"resource": "slurm"}, resource="local")
    assert over["resource"] == "local-container", "the argument wins, and `local` is its older name"
    assert "resource: 'gpu' is unknown; expected one of local-process" in refusal(resource="gpu")
    assert "resource: 'sagemaker' is none that this store's agents run" in refusal(
        docker_image="a", resource="sagemaker"
    )


def test_resource_args() -> None:
    own = {"slurm": {"gpus": 8, "qos": "high"}}
    both = add(queue_name="gpu", template_variables={"who": "ann"}, resource_args=own)
    assert both["resource_args"] == {"slurm": {"gpus": 8, "comment": "of ann", "partition": "a100", "qos": "high"}}
    replaced = add(docker_image="a", queue_name="images", config={"resource_args": {"x": {}}}, resource_args={"y": {}})
    assert replaced["resource_args"] == {"y": {}}, "the argument replaces the config's"
    told = refusal(
        queue_name="gpu", template_variables={"who": "a"}, resource_args={"slurm": {"gpus": [], "ntasks": 0}}
    )
    assert "resource_args.slurm.gpus: [] is a list, expected" in told
    assert "resource_args.slurm.ntasks: 0 is less than the minimum of 1" in told
    assert "queue 'fixed' allows none" in refusal(
        docker_image="a", queue_name="fixed", resource_args={"local-container": {"cpus": 9}}
    )
    left = refusal(docker_image="a", queue_name="images", resource_args={"local-container": {"cpus": "{{n}}"}})
    assert "'{{n}}' is left in it" in left
    told = refusal(docker_image="a", queue_name="images", resource_args={"local-container": {"command": "echo it's"}})
    assert """resource_args.local-container.command: "echo it's" cannot be split into words""" in told


def test_entry_point() -> None:
    assert add(entry_point=["bash", "-c", "a b"])["overrides"]["entry_point"] == ["bash", "-c", "a b"]
    image = add(docker_image="a", queue_name="images", entry_point=["run"])
    assert image["overrides"]["entry_point"] == ["run"]
    assert "entry_point: 'python train.py' is a string, expected a list" in refusal(entry_point="python train.py")
    assert "entry_point[1]: 3 is an integer, expected a string" in refusal(entry_point=["python", 3])
    assert "entry_point: missing; expected the command to run" in refusal(entry_point=None)


def test_name(project: Project) -> None:
    shown = [sys.executable, "-c", "import os; print(os.environ['WANDB_NAME'])"]
    run = launch_add(uri=".", name="my run", entry_point=shown)
    assert document(run)["name"] == "my run"
    assert project.run("agent", "--drain").code == 0
    assert run.logs() == "my run\n"
    assert "name: 'nnn" in refusal(name="n" * 129)


def test_version(project: Project) -> None:
    head = commit(project.folder)
    for version in ("main", "v1", head):
        assert add(uri=f"file://{project.folder}", version=version)["git"]["version"] == head
    assert "nosuch" in refusal(uri=f"file://{project.folder}", version="nosuch")
    assert "version: 1.5 is a number, expected a string" in refusal(version=1.5)


def test_docker_image() -> None:
    queued = add(docker_image="registry/team/image:1", queue_name="images", entry_point=None)
    assert queued["docker"] == {"docker_image": "registry/team/image:1"}
    assert queued["overrides"] == {}
    assert "docker_image: 'a' cannot be run by local-process" in refusal(docker_image="a")
    assert "got job='j:v1', docker_image='a'" in refusal(docker_image="a", job="j:v1", queue_name="images")


def test_run_id() -> None:
    run = launch_add(uri=".", entry_point=COMMAND, run_id="mine-1")
    assert (run.id, run.run_id) == ("mine-1", "mine-1")
    assert re.fullmatch(r"[a-z0-9]{8}", launch_add(uri=".", entry_point=COMMAND).run_id)
    assert "mine-1" in refusal(run_id="mine-1")
    assert "'../x' is not 1 to 128 characters" in refusal(run_id="../x")


def test_build() -> None:
    with pytest.raises(LaunchError, match="is in no git commit, so no image of it can be built; commit it"):
        launch_add(uri=".", build=True, queue_name="images")
    assert "build: builds an image of the code that uri names" in refusal(
        docker_image="a", build=True, queue_name="images"
    )
    told = refusal(build=True)
    assert "build: needs queue_name" in told
    assert "build: builds an image, which local-process cannot run" in told


def test_repository() -> None:
    config = {"registry": {"url": "old", "keep": 1}}
    queued = add(config=config, repository="registry.team/images")
    assert queued["registry"] == {"url": "registry.team/images", "keep": 1}
    assert config["registry"]["url"] == "old"
    assert "repository: 3 is an integer, expected a string" in refusal(repository=3)


def test_sweep_id(project: Project) -> None:
    run = launch_add(uri=".", entry_point=COMMAND, sweep_id="probe")
    assert (run.sweep, document(run)["sweep_id"]) == ("probe", "probe")
    assert json.loads(project.run("status", "--json").out)["sweeps"][0]["name"] == "probe"
    assert "sweep_id: 3 is an integer, expected a string" in refusal(sweep_id=3)


def test_author(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "login")
    assert add()["author"] == "login"
    monkeypatch.setenv("WANDB_USERNAME", "wandb-user")
    assert add()["author"] == "wandb-user"
    assert add(config={"author": "of-config"})["author"] == "of-config"
    assert add(config={"author": "of-config"}, author="ann")["author"] == "ann"
    assert "author: 3 is an integer, expected a string" in refusal(author=3)


def test_priority() -> None:
    assert launch_add(uri=".", entry_point=COMMAND).priority == 2
    for given, number in ((0, 0), ("critical", 0), (1, 1), ("low", 3)):
        run = launch_add(uri=".", entry_point=COMMAND, priority=given)  # type: ignore[arg-type]  # names are ours
        assert run.priority == number
        assert "priority" not in document(run)
    assert "expected one of 0 (critical), 1 (high), 2 (medium), 3 (low)" in refusal(priority=4)
    assert "priority: True" in refusal(priority=True)
    assert "queue 'plain' has its prioritization disabled" in refusal(queue_name="plain", priority=1)


def test_every_parameter_has_a_test_here() -> None:
    tested = {name.removeprefix("test_") for name in globals()} | {"project", "entity"}
    assert tested >= set(CONTRACT)
