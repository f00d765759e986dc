"""`build=True`, from launch_add and the command line: an image is built and pushed, a job version of it registered, and
a reference to that queued; nothing is queued when it fails."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from launcher import LaunchError, launch_add, launch_sweep
from launcher.dispatcher import Dispatcher
from launcher.errors import BuildError, SpecError
from launcher.item import ItemFilter, JobVersion, QueueInfo, RunState
from launcher.queues import open_store
from launcher.spec import LaunchArguments, Source
from tests.conftest import Project, Result, until
from tests.services import Docker, Registry
from tests.sources.repositories import commit, git

COMMAND = ["cat", "/made"]
DOCKERFILE = 'FROM box:1\nCOPY . /code\nRUN ["sh", "-c", "cat /code/train.py > /made"]\n'


@pytest.fixture
def code(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The project in git, with a Dockerfile, and a queue for images."""
    monkeypatch.setenv("WANDB_USERNAME", "ann")
    monkeypatch.chdir(project.folder)
    git(project.folder, "init", "--quiet", "--initial-branch=main")
    project.write(".gitignore", ".launcher\n")
    project.write("Dockerfile.launcher", DOCKERFILE)
    commit(project.folder, "first")
    with closing(open_store(project.store_url)) as store:
        store.create_queue(QueueInfo("images", "local-container"))
    return project


def queued(project: Project) -> list[dict[str, Any]]:
    with closing(open_store(project.store_url)) as store:
        return [store.document(item.id) for item in store.items(ItemFilter())]


def jobs(project: Project) -> list[JobVersion]:
    with closing(open_store(project.store_url)) as store:
        return store.jobs()


# -- with a build of the test's own --------------------------------------------------------------------------------


def building(code: Project, built: list[Any], fails: bool = False) -> Dispatcher:
    def build(source: Source, document: Any) -> JobVersion:
        built.append((source.commit, document["overrides"].get("entry_point")))
        if fails:
            raise BuildError("the build failed")
        return JobVersion("ann/p/x-image", "image", {"docker": {"docker_image": f"x:{len(built)}"}}, number=len(built))

    queues = {"images": QueueInfo("images", "local-container")}
    return Dispatcher(queues, str(code.folder), {}, "ann", build=build)


def points(number: int, **arguments: Any) -> list[dict[str, Any]]:
    return [{"entry_point": COMMAND, "name": f"n{count}", **arguments} for count in range(number)]


def shared(code: Project) -> LaunchArguments:
    return LaunchArguments(uri=str(code.folder), build=True, queue_name="images")


def test_what_runs_the_same_code_and_command_shares_a_build(code: Project) -> None:
    built: list[Any] = []
    specs = list(building(code, built).specs([*points(3), *points(2, entry_point=["sh"])], shared(code)))
    assert [spec.document["job"] for spec in specs] == ["ann/p/x-image:v1"] * 3 + ["ann/p/x-image:v2"] * 2
    assert specs[0].document["docker"] == {"docker_image": "x:1"}
    assert "uri" not in specs[0].document
    assert specs[0].document["git"] == {}
    assert len(built) == 2


def test_a_build_that_fails_is_not_tried_again_for_each_spec(code: Project) -> None:
    built: list[Any] = []
    with pytest.raises(SpecError, match="the build failed: 3 of 3 specs"):
        list(building(code, built, fails=True).specs(points(3), shared(code), what="spec"))
    assert len(built) == 1


def test_nothing_is_built_for_a_spec_that_is_wrong(code: Project) -> None:
    built: list[Any] = []
    with pytest.raises(SpecError):
        list(building(code, built).specs(points(1, priority=9), shared(code)))
    assert built == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"repository": "registry.team/images:1"}, "repository: 'registry.team/images:1' is none; expected a name"),
        ({"repository": "--x"}, "repository: '--x' is none"),
        ({"config": {"builder": {"type": "kaniko"}}}, "builder.type: 'kaniko' is unknown; expected docker or podman"),
        ({"config": {"builder": {"base_image": "a\nRUN x"}}}, "is not the name of an image"),
        ({"config": {"builder": {"base_imgae": "a"}}}, "did you mean 'base_image'?"),
        ({"config": {"git": {"in_place": True}}}, "build: builds what is pinned, so in_place contradicts it"),
        ({"uri": None, "docker_image": "a"}, "build: builds an image of the code that uri names"),
    ],
)
def test_what_is_wrong_with_a_build_is_told_before(code: Project, arguments: dict[str, Any], told: str) -> None:
    built: list[Any] = []
    given = {"uri": str(code.folder), "build": True, "queue_name": "images", **arguments}
    with pytest.raises(SpecError) as error:
        building(code, built).spec(LaunchArguments(**given))
    assert told in str(error.value)
    assert built == []


# -- with a real Docker --------------------------------------------------------------------------------------------


def test_launch_add_builds_pushes_registers_and_queues(code: Project, docker: Docker, registry: Registry) -> None:
    repository = f"{registry.address}/team/launched"
    launch_add(uri=".", entry_point=COMMAND, queue_name="images", build=True, repository=repository, project="p")
    [version] = jobs(code)
    image = version.source["docker"]["docker_image"]
    assert (version.reference, version.aliases, version.entry_point) == (
        "ann/p/project-image:v0",
        ("latest",),
        tuple(COMMAND),
    )
    assert version.source["built_from"]["uri"] == str(code.folder)
    [document] = queued(code)
    assert (document["job"], document["docker"]) == (version.reference, {"docker_image": image})
    assert not {"uri", "build"} & document.keys()
    docker.run("rmi", image)
    docker.run("pull", image)
    assert docker.run("run", "--rm", "--network=none", image, *COMMAND) == "first"
    launch_add(uri=".", entry_point=COMMAND, queue_name="images", build=True, repository=repository, project="p")
    assert len(jobs(code)) == 1
    launch_add(job="project-image", project="p", queue_name="images")
    assert queued(code)[-1]["overrides"]["entry_point"] == COMMAND
    assert {each["job"] for each in queued(code)} == {version.reference}


def test_a_failed_build_queues_nothing_and_says_why(code: Project, docker: Docker) -> None:
    code.write("Dockerfile.launcher", 'FROM box:1\nRUN ["sh", "-c", "echo out of cheese; exit 3"]\n')
    with pytest.raises(LaunchError, match="out of cheese") as error:
        launch_sweep("s", points(2), uri=".", queue_name="images", build=True)
    log = next((code.folder / ".launcher/builds").glob("*.log"))
    assert str(log) in str(error.value)
    assert (queued(code), jobs(code)) == ([], [])


def test_a_grid_is_built_once_from_the_command_line(code: Project, docker: Docker, cli: Callable[..., Result]) -> None:
    command = ["-m", "lr=1,2", "--queue", "images", "--build", "--sweep", "grid"]
    planned = cli("plan", *command, "--", *COMMAND)
    assert planned.code == 0
    assert not Path(".launcher/builds").exists()
    added = cli("add", *command, "--", *COMMAND)
    assert added.out.splitlines()[0] == "sweep grid: 2 added"
    assert "job: ann/uncategorized/project-image:v0" in added.out
    assert [document["overrides"]["args"] for document in queued(code)] == [["lr=1"], ["lr=2"]]
    assert "0 added" in cli("add", *command, "--", *COMMAND).out
    assert len(queued(code)) == 2, "what the sweep has already is not added again"
    refused = cli("add", *command[:2], "--build", "--", *COMMAND)
    assert "build: needs queue_name" in refused.err


def test_an_add_that_is_interrupted_while_it_builds_leaves_nothing(code: Project, docker: Docker) -> None:
    code.write("Dockerfile.launcher", 'FROM box:1\nRUN ["sleep", "100"]\n')
    before = docker.containers()
    with code.start("add", "--queue", "images", "--build", "lr=1", "--", *COMMAND) as adding:
        until(lambda: set(docker.containers()) - set(before), "the build")
        adding.send_signal(signal.SIGINT)
        _, told = adding.communicate(timeout=60)
    assert (adding.returncode, told.splitlines()[-1]) == (130, "launcher: interrupted")
    until(lambda: docker.containers() == before, "the end of the build's container")
    assert (queued(code), jobs(code)) == ([], [])


def test_a_terminal_shows_the_line_that_a_build_is_at(
    code: Project, docker: Docker, cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launcher.cli.add.on_terminal", lambda _: True)
    told = cli("add", "--queue", "images", "--build", "lr=1", "--", *COMMAND).err
    assert re.search(r"\rbuild of launcher-project:\w+: Step 2/4", told)
    assert told.endswith("\r"), "and is gone at the end"


def test_what_was_built_runs_with_its_entry_point_and_arguments(code: Project, docker: Docker) -> None:
    arguments = {"local-container": {"network": "none"}}
    entry_point = ["sh", "-c", 'cat /made; echo " with $0 and $WANDB_CONFIG"', "lr=1"]
    config = {"overrides": {"run_config": {"lr": 1}}}
    run = launch_add(
        uri=".", entry_point=entry_point, queue_name="images", build=True, resource_args=arguments, config=config
    )
    by_job = launch_add(job="project-image", queue_name="images", resource_args=arguments)
    assert code.run("agent", "--drain").code == 0
    assert (run.state, run.logs()) == (RunState.FINISHED, 'first with lr=1 and {"lr": 1}\n')
    assert by_job.logs() == "first with lr=1 and {}\n"
    assert docker.containers() == []


def test_the_code_of_a_job_comes_into_the_image_that_its_run_names(code: Project, docker: Docker) -> None:
    commit(code.folder, "echo hello $1")
    assert "created" in code.run("job", "create", "git", "train", "--", "sh", "train.py").out
    commit(code.folder, "echo later")
    arguments = {"local-container": {"network": "none"}}
    run = launch_add(job="train", queue_name="images", resource_args=arguments, config={"image_uri": "box:1"})
    assert code.run("agent", "--drain").code == 0
    assert run.logs() == "hello\n"
