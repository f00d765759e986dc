"""Images: what is to be built, as text; then built by a real Docker, pushed to a real registry, and found again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import BuildError
from launcher.sources import Checkouts, Images, pin, plan_build
from launcher.sources.builds import Build, export
from launcher.spec import Source
from tests.services import Docker, Registry
from tests.sources.repositories import commit, repository

BUSYBOX = 'FROM box:1\nCOPY . /code\nRUN ["sh", "-c", "cat /code/train.py > /made"]\n'


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return repository(tmp_path / "My_Repo")


@pytest.fixture
def plan(tmp_path: Path) -> Iterator[Callable[..., tuple[Build, Path]]]:
    """What would be built of a repository as it is now, and where its code is checked out."""
    patches: dict[str, bytes] = {}
    with closing(Checkouts(tmp_path / "cache", patches.__getitem__)) as checkouts:

        def planned(repo: Path, **given: Any) -> tuple[Build, Path]:
            source, patch = pin(str(repo))
            if patch:
                patches[patch.digest] = patch.content
            code = checkouts.of(source)
            return plan_build(source, code, **given), code

        yield planned


# -- as values -----------------------------------------------------------------------------------------------------


def test_an_image_is_named_after_its_source_and_its_content(repo: Path, plan: Any) -> None:
    build, _ = plan(repo, python_version="3.12")
    assert build.name == "launcher-my-repo"
    assert build.dockerfile == "FROM python:3.12-slim\nENV PYTHONUNBUFFERED=1\nWORKDIR /launcher/code\nCOPY . .\n"
    assert len(build.tag) == 20
    assert build == plan(repo, python_version="3.12")[0]
    assert plan(repo, repository="registry.team:5000/images")[0].name == "registry.team:5000/images"


@pytest.mark.parametrize(
    "given",
    [
        {"base_image": "team/base:1"},
        {"builder": {"base_image": "team/base:2"}},
        {"builder": {"platform": "linux/arm64"}},
        {"builder": {"build_args": {"A": "1"}}},
    ],
)
def test_what_decides_the_content_decides_the_tag(repo: Path, plan: Any, given: dict[str, Any]) -> None:
    before, _ = plan(repo, python_version="3.12")
    assert plan(repo, **{"python_version": "3.12", **given})[0].tag != before.tag


def test_another_commit_and_uncommitted_changes_have_another_tag(repo: Path, plan: Any) -> None:
    tags = {plan(repo)[0].tag}
    (repo / "train.py").write_text("changed")
    tags.add(plan(repo)[0].tag)
    commit(repo, "second")
    tags.add(plan(repo)[0].tag)
    assert len(tags) == 3
    commit(repo, "x", "Dockerfile.launcher")
    assert plan(repo)[0].tag not in tags


BUILD = Build("reg.team/images", "abc", "c" * 40, "FROM x\n", None, "linux/arm64", {"B": "2", "A": "1 2"}, pushed=True)


def test_command_lines_of_docker() -> None:
    options = [
        "--file", "/d", "--tag", "reg.team/images:abc", "--platform", "linux/arm64", "--label",
        f"org.opencontainers.image.revision={'c' * 40}", "--build-arg", "A=1 2", "--build-arg", "B=2", "/context",
    ]  # fmt: skip
    assert BUILD.command("docker", "/d", "/context") == ["docker", "build", "--force-rm", *options]
    assert BUILD.command("docker", "/d", "/context", buildkit=True) == [
        "docker", "buildx", "build", "--load", "--progress", "plain", *options,
    ]  # fmt: skip
    assert BUILD.push("docker") == ["docker", "push", "reg.team/images:abc"]
    assert BUILD.look("docker") == ["docker", "image", "inspect", "reg.team/images:abc"]
    assert BUILD.look_afar("docker") == ["docker", "manifest", "inspect", "reg.team/images:abc"]
    local = replace(BUILD, name="127.0.0.1:5000/images")
    assert local.look_afar("docker") == ["docker", "manifest", "inspect", "--insecure", "127.0.0.1:5000/images:abc"]
    assert local.push("docker") == ["docker", "push", "127.0.0.1:5000/images:abc"]


def test_command_lines_of_podman() -> None:
    small = Build("launcher-x", "abc", "c" * 40, "FROM x\n")
    assert small.command("podman", "/d", "/context") == [
        "podman", "build", "--force-rm", "--file", "/d", "--tag", "launcher-x:abc", "--label",
        f"org.opencontainers.image.revision={'c' * 40}", "/context",
    ]  # fmt: skip
    assert BUILD.push("podman") == ["podman", "push", "reg.team/images:abc"]
    local = replace(BUILD, name="localhost:5000/images")
    assert local.push("podman") == ["podman", "push", "--tls-verify=false", "localhost:5000/images:abc"]
    assert local.look_afar("podman") == [
        "podman", "manifest", "inspect", "--tls-verify=false", "localhost:5000/images:abc",
    ]  # fmt: skip


# -- which Dockerfile ----------------------------------------------------------------------------------------------


def test_a_dockerfile_is_the_one_named_else_the_one_beside_the_program_else_made(repo: Path, plan: Any) -> None:
    def file(**given: Any) -> Any:
        return plan(repo, entry_point=["python", "sub/train.py"], **given)[0].file

    commit(repo, "x", "sub/train.py")
    commit(repo, "x", "Dockerfile.launcher")
    assert file() is None
    for name in ("sub/Dockerfile.wandb", "sub/Dockerfile.launcher"):
        commit(repo, f"FROM {name}", name)
        assert file() == name
    assert plan(repo)[0].file == "Dockerfile.launcher"
    assert plan(repo, entry_point=["sh", "-c", "x"])[0].dockerfile == "x"
    assert plan(repo, entry_point=["sh", "-c", "x" * 5000])[0].file == "Dockerfile.launcher"
    assert file(dockerfile="./sub/../sub/Dockerfile.wandb") == "sub/Dockerfile.wandb"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("../Dockerfile", "leads out of the source"),
        ("/etc/passwd", "leads out of the source"),
        ("sub/../../x", "leads out of the source"),
        ("link", "leads out of the source"),
        ("folder/passwd", "leads out of the source"),
        ("gone", "is not in the source"),
        ("loop", "is not in the source"),
        ("x" * 300, "is not in the source"),
    ],
)
def test_a_dockerfile_outside_of_the_source_is_refused(repo: Path, plan: Any, name: str, told: str) -> None:
    (repo / "link").symlink_to("/etc/passwd")
    (repo / "folder").symlink_to("/etc")
    (repo / "loop").symlink_to("loop")
    (repo / "Dockerfile.launcher").symlink_to("/etc/passwd")
    commit(repo, "x")
    with pytest.raises(BuildError, match=told):
        plan(repo, dockerfile=name)
    assert plan(repo)[0].file is None, "nor is one found that is a link to the outside"


def test_a_source_that_is_not_pinned_is_no_image(tmp_path: Path) -> None:
    for source in (Source(folder=str(tmp_path)), Source(folder=str(tmp_path), commit="a" * 40, in_place=True)):
        with pytest.raises(BuildError, match="is in no git commit, so no image of it can be built; commit it"):
            plan_build(source, tmp_path)


# -- what goes into it ---------------------------------------------------------------------------------------------


def test_the_context_is_what_git_has_and_nothing_that_runs_left_there(repo: Path, plan: Any, tmp_path: Path) -> None:
    (repo / "link").symlink_to("/etc/passwd")
    commit(repo, "x", "sub/tool.sh")
    (repo / "sub/tool.sh").chmod(0o755)
    (repo / "sub/new.txt").write_text("not committed")
    _, code = plan(repo)
    (code / "outputs").mkdir()
    (code / "outputs/model.pt").write_text("of a run")
    target = tmp_path / "context"
    export(code, target)
    found = sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if not path.is_dir())
    assert found == ["link", "sub/new.txt", "sub/tool.sh", "train.py"]
    assert (target / "link").is_symlink()
    assert (target / "sub/tool.sh").stat().st_mode & 0o777 == 0o755
    export(code / "sub", tmp_path / "below")
    assert sorted(path.name for path in (tmp_path / "below").iterdir()) == ["new.txt", "tool.sh"]


# -- what is asked of which program --------------------------------------------------------------------------------

FAKE = """#!/bin/sh
echo "$(basename "$0") $*" >> "{calls}"
case "$1 $2" in "image inspect" | "manifest inspect") exit 1;; esac
test "$1" != buildx || exit {buildx}
"""


@pytest.mark.parametrize(
    ("program", "buildx", "asked"),
    [
        ("docker", 0, ["docker buildx version", "docker buildx build --load --progress plain {how}"]),
        ("docker", 1, ["docker buildx version", "docker build --force-rm {how}"]),
        ("podman", 0, ["podman build --force-rm {how}"]),
    ],
)
def test_each_engine_is_asked_to_look_build_and_push(
    repo: Path, plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, buildx: int, asked: list[str]
) -> None:
    build, code = plan(repo, repository="reg.team/images", python_version="3.12")
    fake = tmp_path / "bin" / program
    fake.parent.mkdir()
    fake.write_text(FAKE.format(calls=tmp_path / "calls", buildx=buildx))
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    monkeypatch.setattr("launcher.sources.builds.ENGINES", (program,))
    Images(tmp_path / "builds").provide(build, code)
    how = f"--file * --tag {build.image} --label org.opencontainers.image.revision={build.commit} *"
    look = [f"{program} manifest inspect {build.image}", f"{program} image inspect {build.image}"]
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [re.sub(r"/\S*launcher-build-\S+", "*", call) for call in calls] == [
        *look, *(call.format(how=how) for call in asked), f"{program} push {build.image}",
    ]  # fmt: skip


# -- with a real Docker --------------------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(tmp_path / "builds")


def created(docker: Docker, build: Build) -> str:
    return str(json.loads(docker.run("image", "inspect", build.image))[0]["Created"])


def content(docker: Docker, image: str, path: str) -> str:
    return docker.run("run", "--rm", "--network=none", image, "cat", path)


def test_an_image_is_built_of_the_pinned_code_and_only_once(
    repo: Path, plan: Any, docker: Docker, images: Images
) -> None:
    commit(repo, BUSYBOX, "Dockerfile.launcher")
    build, code = plan(repo)
    (repo / "train.py").write_text("edited meanwhile")
    told: list[str] = []
    replace(images, tell=told.append).provide(build, code)
    assert content(docker, build.image, "/made") == "first"
    log = images.log(build).read_text()
    assert log.startswith("$ docker build ")
    assert "COPY . /code" in log
    assert told
    before = images.log(build).stat().st_mtime_ns
    images.provide(build, code)
    assert images.log(build).stat().st_mtime_ns == before, "nothing was built"
    other, code = plan(repo)
    images.provide(other, code)
    assert content(docker, other.image, "/made") == "edited meanwhile"


def test_a_generated_dockerfile_builds(repo: Path, plan: Any, docker: Docker, images: Images, tmp_path: Path) -> None:
    pip = tmp_path / "base/python"
    pip.parent.mkdir()
    pip.write_text('#!/bin/sh\necho "$@" >> /installed\ncat requirements.txt >> /installed\n')
    pip.chmod(0o755)
    (pip.parent / "Dockerfile").write_text("FROM box:1\nCOPY python /bin/python\n")
    docker.run("build", "--tag", "base:1", str(pip.parent))
    commit(repo, "numpy==2\n", "requirements.txt")
    build, code = plan(repo, base_image="base:1")
    images.provide(build, code)
    assert content(docker, build.image, "train.py") == "first", "the code is the folder where it starts"
    installed = content(docker, build.image, "/installed")
    assert installed.startswith("-m pip install ")
    assert installed.endswith("--requirement requirements.txt\nnumpy==2\n")


def test_an_image_is_pushed_and_found_in_its_registry_by_who_has_it_not(
    repo: Path, plan: Any, docker: Docker, registry: Registry, images: Images
) -> None:
    commit(repo, BUSYBOX, "Dockerfile.launcher")
    build, code = plan(repo, repository=f"{registry.address}/team/train")
    images.provide(build, code)
    assert "$ docker push" in images.log(build).read_text()
    docker.run("rmi", build.image)
    images.provide(build, code)
    assert docker.ask("image", "inspect", build.image).returncode, "it was not built again"
    docker.run("pull", build.image)
    assert content(docker, build.image, "/made") == "first"


def test_a_build_that_fails_is_told_with_its_last_lines_and_log_and_leaves_nothing(
    repo: Path, plan: Any, docker: Docker, images: Images
) -> None:
    commit(repo, 'FROM box:1\nRUN ["sh", "-c", "echo out of cheese; exit 3"]\n', "Dockerfile.launcher")
    build, code = plan(repo)
    before = docker.containers()
    with pytest.raises(BuildError) as error:
        images.provide(build, code)
    assert str(error.value).startswith(f"the build of image {build.image} failed with exit code ")
    assert f"the log {images.log(build)} ends:" in str(error.value)
    assert "\n  out of cheese\n" in str(error.value)
    assert docker.containers() == before
    assert docker.ask("image", "inspect", build.image).returncode
    with pytest.raises(BuildError):
        images.provide(build, code)
    assert images.log(build).read_text().count("$ docker build") == 1, "the log is the last build's"


def test_a_push_that_fails_is_told(repo: Path, plan: Any, docker: Docker, images: Images) -> None:
    commit(repo, BUSYBOX, "Dockerfile.launcher")
    build, code = plan(repo, repository="127.0.0.1:9/team/train")
    with pytest.raises(BuildError, match=r"the push of image 127.0.0.1:9/team/train:\w+ failed with exit code 1"):
        images.provide(build, code)


def test_without_an_engine_it_is_said_what_is_missing(
    repo: Path, plan: Any, images: Images, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    build, code = plan(repo)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="docker and podman not on PATH, so no image can be built"):
        images.provide(build, code)
    with pytest.raises(BuildError, match="podman not on PATH"):
        images.provide(build, code, "podman")
