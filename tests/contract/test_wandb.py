"""Beside the released `wandb` package: for the same arguments our launch spec is the one its client builds, and a run
sees the environment that its agent would give it. Every difference is one of docs/contract.md, and named here."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.item import Item, Lease, RunState
from launcher.paths import RunPaths
from launcher.runners.environment import CHUNK, own_environment, run_environment
from launcher.spec import LaunchArguments, construct
from tests.conftest import needs

CASES = 1000
API = SimpleNamespace(
    default_entity="login", api_key="k" * 40, settings={"base_url": "http://127.0.0.1:1"}
)  # what of W&B's LaunchApi the two functions read
AGENT = {"PATH": "/bin", "WANDB_BASE_URL": API.settings["base_url"], "WANDB_API_KEY": API.api_key}

TEXTS = st.sampled_from(["a", "Name", "x y", "ünï", "a/b/c:v1", "1"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=6,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=3)
RESOURCE_ARGS = st.dictionaries(st.sampled_from(["slurm", "kubernetes"]), OBJECTS, max_size=2)
JOBS = st.sampled_from(["train:latest", "entity/jobs/train:v3"])
OVERRIDES = st.fixed_dictionaries(
    {},
    optional={
        "args": st.lists(TEXTS, max_size=3),
        "run_config": OBJECTS,
        "artifacts": OBJECTS,
        "files": OBJECTS,
        "entry_point": st.lists(TEXTS, min_size=1, max_size=2),
        "dockerfile": TEXTS,
        "working_dir": TEXTS,
    },
)
CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "project": TEXTS,
        "entity": TEXTS,
        "name": TEXTS,
        "run_id": TEXTS,
        "author": TEXTS,
        "resource": st.sampled_from(["slurm", "kubernetes"]),
        "resource_args": RESOURCE_ARGS,
        "overrides": OVERRIDES,
        "docker": st.fixed_dictionaries({}, optional={"docker_image": TEXTS, "user_id": st.integers(0, 9)}),
        "git": st.fixed_dictionaries({}, optional={"repo": TEXTS, "version": TEXTS}),
        "registry": st.fixed_dictionaries({}, optional={"url": TEXTS}),
        "image_uri": TEXTS,
        "python_version": TEXTS,
        "_resume_count": st.integers(0, 3),
        "template_variables": st.dictionaries(TEXTS, st.integers(0, 9) | TEXTS, min_size=1, max_size=2),
        "unknown": VALUES,
    },
)
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "job": JOBS,
        "config": CONFIGS,
        "project": TEXTS,
        "entity": TEXTS,
        "resource": st.sampled_from(["slurm", "kubernetes"]),
        "entry_point": st.lists(TEXTS, min_size=1, max_size=3),
        "name": TEXTS,
        "version": TEXTS,
        "docker_image": TEXTS,
        "resource_args": RESOURCE_ARGS,
        "run_id": TEXTS,
        "repository": TEXTS,
        "sweep_id": TEXTS,
        "author": TEXTS,
    },
)


@pytest.fixture(autouse=True, scope="module")
def _wandb() -> None:
    needs("wandb", importlib.util.find_spec("wandb") is not None, "the package is not installed")


def theirs(arguments: dict[str, Any]) -> dict[str, Any]:
    """The launch spec that W&B's client builds, as its `launch_add` calls for it."""
    from wandb.sdk.launch.utils import construct_launch_spec

    names = (
        "job", "name", "project", "entity", "docker_image", "resource", "entry_point", "version", "resource_args",
        "run_id", "repository", "author", "sweep_id",
    )  # fmt: skip
    given = {name: arguments.get(name) for name in names}
    with contextlib.redirect_stderr(io.StringIO()):
        built: dict[str, Any] = construct_launch_spec(
            uri=None, api=API, launch_config=copy.deepcopy(arguments.get("config")), **given
        )
    return built


def as_documented(built: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """W&B's launch spec, changed where docs/contract.md says that ours differs."""
    config = arguments.get("config") or {}
    if arguments.get("resource"):
        built["resource"] = arguments["resource"]  # W&B: the config's wins
    resource_args = arguments.get("resource_args") or config.get("resource_args")
    if resource_args is not None and config.get("template_variables"):
        built["resource_args"] = resource_args  # W&B: dropped beside template variables
    if arguments.get("repository"):
        built["registry"] = {**config.get("registry", {}), "url": arguments["repository"]}  # W&B: lost without config
    if not (arguments.get("author") or config.get("author")):
        built["author"] = "user"  # W&B: absent
    return built


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(ARGUMENTS)
def test_our_launch_spec_is_the_one_that_wandbs_client_builds(arguments: dict[str, Any]) -> None:
    before = copy.deepcopy(arguments)
    ours = construct(LaunchArguments(**arguments).given(), {"WANDB_ENTITY": "login"}, "user")
    assert ours == as_documented(theirs(arguments), arguments)
    assert arguments == before


def lease_of(document: dict[str, Any], attempt: int) -> Lease:
    item = Item(
        id=document["run_id"], queue="queue", sweep=document.get("sweep_id"), state=RunState.LEASED, priority=2,
        name=document.get("name"), point=(), attempt=attempt, max_attempts=3, added_at=0.0, changed_at=0.0,
    )  # fmt: skip
    return Lease(item, "token", document)


LONG = st.integers(CHUNK - 40, 3 * CHUNK).map(lambda length: {"text": "ü\\" * (length // 8), "n": length})


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    arguments=ARGUMENTS,
    run_config=OBJECTS | LONG,
    files=OBJECTS | LONG,
    run_id=TEXTS,
    attempt=st.integers(1, 3),
    queue_entity=TEXTS,
)
def test_a_run_sees_the_environment_that_wandbs_agent_gives(
    arguments: dict[str, Any], run_config: Any, files: Any, run_id: str, attempt: int, queue_entity: str
) -> None:
    from wandb.sdk.launch._project_spec import LaunchProject

    document = construct(LaunchArguments(**arguments).given(), {}, "user")
    document["overrides"] |= {"run_config": run_config, "files": files}
    document |= {"run_id": run_id, "queue_entity": queue_entity, "_resume_count": attempt - 1}
    lease = lease_of(document, attempt)
    ours = {**AGENT, **own_environment(lease, AGENT), **run_environment(lease, RunPaths(Path("/runs/1")))}

    with contextlib.redirect_stderr(io.StringIO()):
        project = LaunchProject.from_spec(copy.deepcopy(document), API)
    project.queue_name, project.queue_entity, project.run_queue_item_id = "queue", queue_entity, run_id
    theirs = project.get_env_vars_dict(API, CHUNK)
    if not theirs["WANDB_ENTITY"]:
        del theirs["WANDB_ENTITY"]  # W&B: an empty text
    assert {name: value for name, value in ours.items() if name.startswith("WANDB_")} == theirs
    assert json.loads(theirs["WANDB_ARTIFACTS"]) is not None
