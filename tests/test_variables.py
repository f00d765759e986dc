"""A queue's template variables: what they are filled with, what they are refused for, and that nothing else happens."""

from __future__ import annotations

import enum
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher import LaunchError, Queues, launch_add
from launcher.dispatcher import Dispatcher
from launcher.errors import UsageError
from launcher.item import QueueInfo, RunState
from launcher.queue_file import queue_info, read_queues
from launcher.spec import LaunchArguments
from launcher.template import placeholders, render
from launcher.variables import laid_over, lay_arguments, settle, typed
from tests.conftest import Project

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,3}", fullmatch=True)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=9)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
TEXTS = st.text(alphabet="ab{} .$\\%(__class__)", max_size=8)
HOSTILE = st.sampled_from(
    ["{{a}}", "{{ a.__class__ }}", "{{a", "{{", "}}", "${HOME}", "{0}", "%(a)s", "{%x%}", "__import__('os')", "$(id)"]
)
NOT_JSON = st.floats() | st.binary(max_size=2) | st.just(object()) | st.text(alphabet="\0\ud800a", max_size=2)
WIDE = st.recursive(
    SCALARS | HOSTILE | NOT_JSON,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=3) | HOSTILE | st.integers(0, 3) | st.none(), inner, max_size=2)
    ),
    max_leaves=6,
)
VARIABLES = {
    "gpus": {"type": "integer", "minimum": 1, "maximum": 8, "default": 1},
    "rate": {"type": "number", "default": 0.5},
    "who": {"type": "string", "pattern": "^[a-z]+$", "default": "ann"},
    "fast": {"type": "boolean", "default": False},
    "size": {"type": "string", "enum": ["small", "large"]},
}
QUEUE = QueueInfo(
    "gpu",
    "slurm",
    resource_args={"slurm": {"gpus": "{{gpus}}", "comment": "{{who}} {{fast}} {{rate}}", "x": "{{size}}"}},
    variables=VARIABLES,
)


# -- rendering -----------------------------------------------------------------------------------------------------


@given(NAMES, JSON)
@settings(max_examples=300)
def test_a_text_that_is_wholly_a_variable_becomes_its_value_of_its_type(name: str, value: Any) -> None:
    rendered = render({"deep": [f"{{{{{name}}}}}"]}, {name: value})["deep"][0]
    assert (type(rendered), json.dumps(rendered)) == (type(value), json.dumps(value))


@given(st.lists(st.tuples(st.text(alphabet="ab $%", max_size=3), NAMES), min_size=1, max_size=4), HOSTILE | TEXTS)
@settings(max_examples=300)
def test_inside_a_text_it_is_inserted_once_and_never_evaluated(parts: list[tuple[str, str]], value: str) -> None:
    text = "-" + "".join(f"{before}{{{{ {name} }}}}" for before, name in parts)
    assert render(text, {name: value for _, name in parts}) == "-" + "".join(before + value for before, _ in parts)


@pytest.mark.parametrize(("value", "text"), [(True, "true"), (None, "null"), (1.5, "1.5"), ("a", "a"), ([1], "[1]")])
def test_values_that_are_no_text_are_inserted_as_json_writes_them(value: Any, text: str) -> None:
    assert render("x-{{v}}", {"v": value}) == f"x-{text}"


@given(JSON)
@settings(max_examples=200)
def test_what_holds_no_variable_stays_as_it_is(value: Any) -> None:
    if not list(placeholders(value)):
        assert json.dumps(render(value, {})) == json.dumps(value)


@given(st.dictionaries(st.sampled_from(list(VARIABLES)), WIDE), WIDE)
@settings(max_examples=500)
def test_nothing_is_left_to_fill_and_nothing_but_problems_comes_of_bad_values(given: Any, own: Any) -> None:
    document = {"resource": "slurm", "template_variables": given, "resource_args": {"slurm": {"own": own}}}
    problems = lay_arguments(document, QUEUE, {})
    assert "template_variables" not in document
    if not problems:
        assert not list(placeholders(document["resource_args"]))
        assert type(document["resource_args"]["slurm"]["gpus"]) is int


# -- values and their schemas --------------------------------------------------------------------------------------


def told(**given: Any) -> list[str]:
    return [str(problem) for problem in settle(QUEUE, {"size": "small", **given})[1]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"gpus": 0}, "template_variables.gpus: 0 is less than the minimum of 1"),
        ({"gpus": 9}, "template_variables.gpus: 9 is greater than the maximum of 8"),
        ({"gpus": True}, "template_variables.gpus: True is a boolean, expected an integer"),
        ({"gpus": "2"}, "template_variables.gpus: '2' is a string, expected an integer"),
        ({"rate": float("nan")}, "template_variables.rate: nan is not a JSON number; expected a finite one"),
        ({"fast": "true"}, "template_variables.fast: 'true' is a string, expected a boolean"),
        ({"size": "huge"}, "template_variables.size: 'huge' is unknown; expected one of small, large"),
        (
            {"gpu": 1},
            "template_variables.gpu: queue 'gpu' has no such variable; did you mean 'gpus'? known: fast, gpus, rate, "
            "size, who",
        ),
    ],
)
def test_a_value_that_its_schema_refuses_is_told(given: dict[str, Any], message: str) -> None:
    assert told(**given) == [message]


def test_all_problems_of_all_variables_are_told_at_once() -> None:
    problems = settle(QUEUE, {"gpus": 0, "who": "Ann!", "rates": 1})[1]
    assert [problem.path.split(".")[1] for problem in problems] == ["rates", "gpus", "who", "size"]
    assert str(problems[-1]) == "template_variables.size: missing; queue 'gpu' needs one of small, large"


def test_defaults_are_filled_in() -> None:
    values, problems = settle(QUEUE, {"size": "small", "gpus": 8})
    assert problems == []
    assert values == {"gpus": 8, "rate": 0.5, "who": "ann", "fast": False, "size": "small"}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("gpus", "4", 4),
        ("gpus", "four", "four"),
        ("rate", "1e-3", 0.001),
        ("fast", "True", True),
        ("fast", "yes", "yes"),
        ("who", "4", "4"),
    ],
)
def test_a_value_from_the_command_line_gets_the_type_of_its_schema(name: str, text: str, value: Any) -> None:
    made = typed(text, VARIABLES[name])
    assert (made, type(made)) == (value, type(value))


def test_a_sweep_may_sweep_over_a_variable(project: Project) -> None:
    queue = '{"slurm": {"gpus": "{{gpus}}"}}'
    variables = '{"gpus": {"type": "integer", "enum": [1, 2, 4]}}'
    project.run("queue", "create", "g", "--resource", "slurm", "--resource-args", queue, "--variables", variables)
    grid = ["-m", "+launch.queue_name=g", "+launch.template_variables.gpus=1,2,4", "--json", "--", "true"]
    planned = json.loads(project.run("plan", *grid).out)
    assert [entry["spec"]["resource_args"]["slurm"]["gpus"] for entry in planned] == [1, 2, 4]
    over = json.loads(project.run("plan", "--set-var", "gpus=2", *grid).out)
    assert {entry["spec"]["resource_args"]["slurm"]["gpus"] for entry in over} == {2}
    bad = project.run("add", "-q", "g", "--set-var", "gpus=three=3", "--set-var", "gpu=1", "--", "true")
    assert bad.code in (1, 2)
    assert "template_variables.gpus: 'three=3' is a string, expected an integer\n" in bad.err
    assert "template_variables.gpu: queue 'g' has no such variable" in bad.err


def test_what_is_queued_is_what_was_checked(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later change of the queue's settings does not reach what waits."""
    monkeypatch.chdir(project.folder)
    program = [sys.executable, "-c", "import os; print(os.environ['N'])"]
    env = {"local-process": {"env": {"N": "{{n}}"}}}
    Queues().create("q", resource_args=env, variables={"n": {"type": "integer", "default": 1}})
    run = launch_add(uri=".", entry_point=program, queue_name="q", template_variables={"n": 3})
    Queues().update("q", variables={"n": {"type": "integer", "default": 7}}, resource_args={"local-process": {}})
    project.run("agent", "-q", "q", "--drain")
    assert run.logs() == "3\n"


# -- secrets -------------------------------------------------------------------------------------------------------

SECRET_QUEUE = {
    "resource": "local-process",
    "resource_args": {"local-process": {"env": {"TOKEN": "{{token}}", "RUN": "${run_id}"}}},
    "variables": {"token": {"type": "string", "format": "secret", "default": "${HF_TOKEN}"}},
}


def test_a_secret_reaches_the_run_from_the_agents_environment_and_nothing_else(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    Queues().create("q", **SECRET_QUEUE)
    program = [sys.executable, "-c", "import os; print(len(os.environ['TOKEN']), os.environ['RUN'])"]
    run = launch_add(uri=".", entry_point=program, queue_name="q", config={"_wandb_api_key": "${TEAM_KEY}"})
    secret, key = "hf_" + "s" * 30, "k" * 40
    monkeypatch.setenv("HF_TOKEN", secret)
    monkeypatch.setenv("TEAM_KEY", key)
    agent = project.run("agent", "-q", "q", "--drain")
    assert run.logs() == f"33 {run.id}\n"
    shown = project.run("show", run.id, "--json")
    everything = b"".join(path.read_bytes() for path in project.folder.rglob("*") if path.is_file())
    for text in (agent.out, agent.err, shown.out, everything.decode(errors="replace")):
        assert secret not in text
        assert key not in text
    assert "${HF_TOKEN}" in shown.out


def test_an_agent_without_the_secret_fails_the_run_and_says_what_it_needs(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    Queues().create("q", **SECRET_QUEUE)
    run = launch_add(uri=".", entry_point=["true"], queue_name="q")
    project.run("agent", "-q", "q", "--drain")
    assert run.state is RunState.FAILED
    assert "the agent's environment has no HF_TOKEN" in project.run("show", run.id).out


@pytest.mark.parametrize("value", ["hf_clear_text", "${A}${B}", "x${A}", ""])
def test_a_secret_in_clear_text_is_refused_and_not_repeated(value: str) -> None:
    queue, problems = queue_info({"name": "q", **SECRET_QUEUE})
    assert queue is not None, problems
    [problem] = settle(queue, {"token": value})[1]
    assert "is a secret" in str(problem)
    assert not value or value not in str(problem).replace("${HF_TOKEN}", "")
    bad = {**SECRET_QUEUE, "variables": {"token": {"type": "string", "format": "secret", "default": value}}}
    assert "is a secret" in str(queue_info({"name": "q", **bad})[1][0])


# -- any input -----------------------------------------------------------------------------------------------------

ARGUMENTS = st.dictionaries(st.sampled_from(sorted(LaunchArguments.__slots__)), WIDE, max_size=4)


@given(ARGUMENTS)
@settings(max_examples=500, deadline=None)
def test_launch_add_raises_nothing_but_launch_errors(arguments: dict[str, Any]) -> None:
    given = {"uri": ".", "entry_point": ["true"], **arguments}
    try:
        spec = Dispatcher({"default": QueueInfo("default", "local-process"), "gpu": QUEUE}, ".", {}, "me").spec(
            LaunchArguments(**given)
        )
    except LaunchError:
        return
    json.dumps(spec.document, allow_nan=False)
    assert spec.fingerprint()


FIELDS = ["name", "resource", "resource_args", "variables", "max_running", "links", "paused", "entity", "other"]
KEYWORDS = st.sampled_from(["type", "pattern", "enum", "minimum", "default", "format"])
DEFINITIONS = st.dictionaries(
    st.sampled_from(["gpus", "a"]), st.dictionaries(KEYWORDS, WIDE | st.just("[")), max_size=2
)
SETTINGS = st.dictionaries(st.sampled_from(FIELDS), WIDE | DEFINITIONS, max_size=4)


@given(SETTINGS)
@settings(max_examples=500, deadline=None)
def test_queue_settings_raise_nothing_and_what_is_right_can_be_used(settings_: dict[str, Any]) -> None:
    queue, problems = queue_info({"name": "q", **settings_})
    assert (queue is None) == bool(problems)
    if queue is not None:
        try:
            Dispatcher({"default": queue}, ".", {}, "me").spec(LaunchArguments(uri=".", entry_point=["true"]))
        except LaunchError:
            return


@given(st.binary(max_size=60) | st.text(alphabet="-: {}[]\n&*!?'\"ab\t", max_size=40).map(str.encode))
@settings(max_examples=300, deadline=None)
def test_a_queue_file_raises_nothing_but_launch_errors(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "queues.yaml"
        path.write_bytes(content)
        with pytest.raises(UsageError, match="queue file"):
            read_queues(path)


class Size(enum.StrEnum):
    SMALL = "small"


def test_kinds_of_texts_and_numbers_count_as_what_they_are() -> None:
    class Real(float):
        pass

    queues = {"default": QUEUE}
    config: dict[str, Any] = {
        "overrides": {"run_config": {"size": Size.SMALL, "lr": Real(0.5), "t": (1, enum.IntEnum("N", "A").A)}}
    }
    spec = Dispatcher(queues, ".", {}, "me").spec(
        LaunchArguments(uri=".", config=config, template_variables={"size": Size.SMALL}, entry_point=("true",))  # type: ignore[arg-type]
    )
    run_config = spec.document["overrides"]["run_config"]
    assert json.dumps(run_config) == '{"size": "small", "lr": 0.5, "t": [1, 1]}'
    assert {type(run_config["size"]), type(run_config["lr"])} == {str, float}


def test_an_argument_that_holds_itself_is_told() -> None:
    config: dict[str, Any] = {}
    config["config"] = config
    with pytest.raises(LaunchError, match="an argument holds itself"):
        Dispatcher({"default": QUEUE}, ".", {}, "me").spec(LaunchArguments(uri=".", config=config))


def test_laying_arguments_over_others_goes_key_by_key_and_shares_nothing_that_changes() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert laid_over(base, {"a": {"c": [3]}, "e": {"f": 2}}) == {"a": {"b": 1, "c": [3]}, "d": 1, "e": {"f": 2}}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 1}
