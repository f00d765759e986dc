"""Agents of containers are killed and stopped for real; no container is left that nobody owns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from launcher.item import ItemFilter, RunState
from launcher.queues.sqlite import SqliteStore
from tests.chaos.test_kill import start_agent
from tests.conftest import Project, Result, until
from tests.services import Docker

EVERYTHING = ItemFilter()


@pytest.fixture
def ours(project: Project, docker: Docker) -> Iterator[SqliteStore]:
    made = SqliteStore(project.store_url)
    assert project.run("queue", "create", "images", "--resource", "local-container").code == 0
    yield made
    made.close()
    left = docker.containers()
    if left:
        docker.run("rm", "--force", *left)
    assert left == [], "no container is left behind"


def add(project: Project, *command: str, sweep: str = "s") -> None:
    options = ("--queue", "images", "--sweep", sweep, "+launch.docker_image=box:1", "+launch.args=[]")
    done = project.run("add", *options, "--", *command)
    assert done.code == 0, done


def test_a_container_runs_its_item_to_the_end(project: Project, ours: SqliteStore) -> None:
    add(project, "sh", "-c", """echo '{"loss": 0.5}' > "$LAUNCHER_RESULT"; cat "$LAUNCHER_CONFIG" """)
    assert project.run("agent", "--drain").code == 0
    [item] = ours.items(EVERYTHING)
    assert (item.state, item.result) == (RunState.FINISHED, {"loss": 0.5}), item.reason
    assert "lr: 0.1" in project.run("logs", item.id).out
    assert "image      sha256:" in project.run("show", item.id).out


def test_an_agent_that_is_killed_leaves_its_container_to_the_next(
    project: Project, ours: SqliteStore, docker: Docker
) -> None:
    wait = 'echo begun; until [ -e "$LAUNCHER_RUN_DIR/go" ]; do sleep 0.1; done; echo over'
    add(project, "sh", "-c", wait)
    first = project.start("agent")
    [item] = until(lambda: list(ours.items(ItemFilter(states=frozenset({RunState.RUNNING})))))
    first.kill()
    first.communicate()
    [container] = docker.containers()
    second = project.start("agent", "--drain")
    assert second.stdout is not None
    until(lambda: "items taken over" in second.stdout.readline(), "the takeover")
    assert docker.containers() == [container], "it is the same one"
    (project.folder / ".launcher/runs" / item.id / "1/go").touch()
    second.communicate()
    [item] = ours.items(EVERYTHING)
    assert (item.state, item.attempt) == (RunState.FINISHED, 1), item.reason
    assert project.run("logs", item.id).out == "begun\nover\n"


def test_a_container_that_nobody_has_a_lease_for_is_removed(
    project: Project, ours: SqliteStore, docker: Docker
) -> None:
    add(project, "true")
    assert project.run("agent", "--drain").code == 0
    runs = project.folder / ".launcher/runs"
    [item] = ours.items(EVERYTHING)
    labels = (
        f"--label=launcher.root={runs}",
        f"--label=launcher.item={item.id}",
        "--label=launcher.token=0123456789abcdef",
    )
    stray = docker.run("run", "--detach", "--init", *labels, "box:1", "sleep", "1000").strip()
    labels = (f"--label=launcher.root={runs}", "--label=launcher.item=of-another-store")
    other = docker.run("run", "--detach", "--init", *labels, "box:1", "sleep", "1000").strip()
    private = runs / f".private/{item.id}-0123456789abcdef"
    private.mkdir()
    (private / "start").write_text("export TOKEN=secret")
    done = project.run("agent", "--drain")
    assert "local-container: ended 2 left-overs of runs that no agent had a lease for" in done.out
    assert docker.containers() == [other], (stray, "what is not ours is left alone")
    assert not list((runs / ".private").iterdir())
    docker.run("rm", "--force", other)


def test_a_container_that_comes_up_late_is_removed_too(project: Project, ours: SqliteStore, docker: Docker) -> None:
    add(project, "sh", "-c", 'until [ -e "$LAUNCHER_RUN_DIR/go" ]; do sleep 0.1; done')
    agent = start_agent(project, lease_seconds=1.0)
    [item] = until(lambda: list(ours.items(ItemFilter(states=frozenset({RunState.RUNNING})))))
    runs = project.folder / ".launcher/runs"
    labels = (
        f"--label=launcher.root={runs}",
        f"--label=launcher.item={item.id}",
        "--label=launcher.token=of-a-killed-one",
    )
    late = docker.run("run", "--detach", "--init", *labels, "box:1", "sleep", "1000").strip()
    until(lambda: late not in docker.containers(), "its removal")
    (runs / item.id / "1/go").touch()
    agent.communicate()
    assert ours.item(item.id).state is RunState.FINISHED


def test_cancelling_ends_a_container(project: Project, ours: SqliteStore) -> None:
    add(project, "sleep", "1000")
    agent = project.start("agent", "--drain")
    until(lambda: list(ours.items(ItemFilter(states=frozenset({RunState.RUNNING})))))
    assert project.run("cancel", "s").code == 0
    agent.communicate()
    [item] = ours.items(EVERYTHING)
    assert item.state is RunState.CANCELLED
    assert item.reason == "stopped; it ended with signal 15"


def test_the_agents_leave_comes_from_its_command(project: Project, ours: SqliteStore) -> None:
    launch = {"docker_image": "box:1", "args": [], "resource_args": {"local-container": {"cap-drop": ["ALL"]}}}
    project.write("conf/config.yaml", f"launch: {json.dumps(launch)}\n")
    assert project.run("add", "-q", "images", "--sweep", "s", "--", "grep", "CapEff", "/proc/self/status").code == 0
    assert project.run("agent", "--drain").code == 0
    [item] = ours.items(EVERYTHING)
    assert (item.state, item.stage) == (RunState.FAILED, "prepare")
    assert "resource_args.local-container.cap-drop is not allowed by this agent" in str(item.reason)
    project.run("retry", "s")
    assert project.run("agent", "--drain", "--allow-container-option", "cap-drop").code == 0
    [item] = ours.items(EVERYTHING)
    assert item.state is RunState.FINISHED, item.reason
    assert project.run("logs", item.id).out.split() == ["CapEff:", "0000000000000000"]


def test_agents_share_out_their_room_to_containers_too(project: Project, ours: SqliteStore) -> None:
    launch = {"docker_image": "box:1", "args": [], "resource_args": {"local-container": {"cpus": 1, "m": "64m"}}}
    project.write("conf/config.yaml", f"launch: {json.dumps(launch)}\nseed: 0\n")
    script = 'echo "$OMP_NUM_THREADS"; until [ -e "$LAUNCHER_RUN_DIR/go" ]; do sleep 0.1; done'
    assert project.run("add", "-q", "images", "-m", "seed=1,2", "--", "sh", "-c", script).code == 0
    agent = project.start("agent", "--drain", "--max-jobs", "2", "--cpus", "1")
    for _ in range(2):
        [item] = until(lambda: list(ours.items(ItemFilter(states=frozenset({RunState.RUNNING})))))
        (project.folder / ".launcher/runs" / item.id / "1/go").touch()
        until(lambda item=item: ours.item(item.id).state is RunState.FINISHED)
        assert project.run("logs", item.id).out == "1\n"
    agent.communicate()


def test_an_agent_without_docker_leaves_containers_to_others(
    project: Project, ours: SqliteStore, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Result]
) -> None:
    add(project, "true")
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert cli("agent", "--drain").code == 0
    [item] = ours.items(EVERYTHING)
    assert item.state is RunState.PENDING
    refused = cli("agent", "--drain", "--queue", "images")
    assert refused.code == 1
    assert "none of docker, podman is on PATH here; install one of them" in refused.err
