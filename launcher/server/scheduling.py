"""Sweeps of W&B's, made and changed; with `wandb launch-sweep`, its scheduler becomes an item: the program, run by an
agent, that asks for points and queues a run for each."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from launcher import canonical, schema
from launcher.errors import ConflictError, Problem, SpecError, UsageError, suggest
from launcher.item import TERMINAL, ItemFilter, QueueInfo
from launcher.server import runs, sweeps
from launcher.server.desk import Ask, parsed, project_name
from launcher.server.leases import item_of
from launcher.server.pushing import KEY, Pusher, spec_of
from launcher.server.queues import entity_of, found_queue
from launcher.server.search import config_of
from launcher.server.sweep_agents import forget_agents
from launcher.spec import DEFAULT_PRIORITY, SCHEDULER_URI, LaunchSpec

OWN_ID = "WANDB_SWEEP_ID"
"""What stands in a scheduler's spec for the ID that its sweep does not have yet."""

QUOTED = re.compile(r"'([\w./:@-]+)'")
HARMLESS = re.compile(r"(?!-)[\w./:@+-]+|'[^'\\\n]+'")
COMMAND = ["wandb", "scheduler"]
OPTIONS = ("--queue", "--project", "--author", "--job", "--image_uri")
NEEDED = ("uri", "entity", "project", "name", "run_id", "resource", "author", "overrides")
OVERRIDES = ("entry_point", "args", "run_config")
IGNORED = ("docker", "git", "registry", "sweep_id", KEY)
"""What W&B's client may say of its scheduler, and what says nothing of a process."""


def upsert_sweep(pusher: Pusher) -> Any:
    """The resolver of upsertSweep, which queues schedulers through `pusher`."""

    def upsert(_: Any, info: Any, input: Mapping[str, Any]) -> dict[str, Any]:
        ask: Ask = info.context
        _refuse(input)
        if input.get("id"):
            key, value = _changed(ask, input, pusher)
        else:
            key, value = _created(ask, input, pusher)
        warnings = _warnings(value["config"]) if input.get("config") else []
        return {"sweep": sweeps.node(ask, key, value), "configValidationWarnings": warnings}

    return upsert


def _refuse(input: Mapping[str, Any]) -> None:
    """What W&B's server does and this one does not: UsageError, rather than silence."""
    if parsed(input.get("priorRunsFilters"), "priorRunsFilters"):
        raise UsageError("priorRunsFilters: runs of before do not become a sweep's here; leave out --prior_run")
    if parsed(input.get("controller"), "controller"):
        raise UsageError("controller: a local controller is not listened to by this server; leave it out")


def _state(given: str | None) -> str | None:
    if given is None:
        return None
    state = {"CANCELLED": "CANCELED", "STOPPED": "FINISHED"}.get(given.upper(), given.upper())
    if state not in sweeps.STATES:
        raise UsageError(f"state {given[:80]!r} is unknown; expected one of {', '.join(sweeps.STATES)}")
    return state


def _warnings(text: str) -> list[str]:
    """What of a config this server leaves out."""
    config = config_of(text)
    return ["early_terminate is not done by this server: every run goes on to its end"] * bool(
        config.get("early_terminate")
    )


def _created(ask: Ask, input: Mapping[str, Any], pusher: Pusher) -> tuple[str, dict[str, Any]]:
    entity, project = ask.entity(input.get("entityName"), "member"), project_name(input.get("projectName"))
    text = input.get("config") or ""
    if not text:
        raise UsageError("config is missing; expected a sweep's as YAML, with method and parameters")
    launched = parsed(input.get("launchScheduler"), "launchScheduler") or {}
    name = "".join(secrets.choice(runs.LETTERS) for _ in range(8))
    scheduler = _scheduler(ask, entity, name, launched, input.get("templateVariableValues")) if launched else None
    config, searched = sweeps.searchable(text, parsed(launched.get("run_spec"), "run_spec") if launched else None)
    key, now = sweeps.key_of(entity, project, name), time.time()
    value = {
        "entity": entity, "project": project, "name": name, "user": ask.user.name, "config": text,
        "method": str(config.get("method"))[:80], "metric": sweeps.metric_of(config), "searched": searched,
        "state": _state(input.get("state")) or ("PENDING" if launched else "RUNNING"),
        "scheduler": _kept(launched), "description": input.get("description") or config.get("description"),
        "display_name": input.get("displayName") or config.get("name"), "created_at": now, "updated_at": now,
    }  # fmt: skip
    if not ask.desk.store.keep_record(sweeps.KIND, key, value):
        raise ConflictError(f"sweep {name!r} exists already; try again")
    if scheduler:
        try:
            pusher.push([scheduler])[0].result()
        except Exception:
            ask.desk.store.drop_record(sweeps.KIND, key)
            raise
    return key, value


def _changed(ask: Ask, input: Mapping[str, Any], pusher: Pusher) -> tuple[str, dict[str, Any]]:
    """A sweep with another state, description or name, or with a new scheduler; its config stays what it was."""
    key, value = sweeps.sweep_by_id(ask, input["id"], "member")
    state = _state(input.get("state"))
    launched = parsed(input.get("launchScheduler"), "launchScheduler") or {}
    more = {"description": input.get("description"), "display_name": input.get("displayName")}
    more = {name: text for name, text in more.items() if text is not None}
    if launched:
        _resume(ask, key, value, launched, input.get("templateVariableValues"), pusher)
        more["scheduler"] = _kept(launched)
    if state:
        more["state"] = state
    changed: dict[str, Any] = ask.desk.change(
        sweeps.KIND, key, lambda before: before and {**before, **more, "updated_at": time.time()}
    )
    if state in sweeps.OVER and changed["state"] != value["state"]:
        sweeps.end_runs(ask, key, changed)
    return key, dict(changed)


def _resume(
    ask: Ask, key: str, value: Mapping[str, Any], launched: Mapping[str, Any], variables: str | None, pusher: Pusher
) -> None:
    """A sweep's new scheduler takes the place of the one that has ended."""
    spec = _scheduler(ask, value["entity"], value["name"], launched, variables)
    before = item_of(ask.desk, value["name"])
    if before and before.state not in TERMINAL:
        raise ConflictError(
            f"the scheduler of sweep {value['name']!r} is {before.state.value}; wait until it has ended"
        )
    forget_agents(ask.desk, key)
    if before:
        with ask.desk.writing:
            ask.desk.store.delete(ItemFilter(ids=(value["name"],)))
    pusher.push([spec])[0].result()


def _kept(launched: Mapping[str, Any]) -> str | None:
    """The scheduler's request, as W&B's client reads it again to resume; without keys."""
    if not launched:
        return None
    spec = parsed(launched.get("run_spec"), "run_spec") or {}
    spec = {name: value for name, value in spec.items() if name != KEY}
    return canonical.encode({**launched, "run_spec": canonical.encode(spec)})


def _scheduler(ask: Ask, entity: str, name: str, launched: Mapping[str, Any], variables: str | None) -> LaunchSpec:
    """The checked spec of a sweep's scheduler."""
    text, queue = launched.get("run_spec"), launched.get("queue")
    if not isinstance(text, str) or not isinstance(queue, str):
        raise UsageError("launchScheduler has no queue and run_spec; expected both, as wandb launch-sweep gives them")
    target = found_queue(ask.desk, entity, queue)
    given = parsed(text.replace(OWN_ID, name), "run_spec") or {}
    given = {**given, "entity": entity, "run_id": name}
    if given.pop("uri", None) != SCHEDULER_URI:
        raise UsageError(f"launchScheduler.run_spec.uri is not {SCHEDULER_URI!r}, by which agents know a scheduler")
    docker = given.get("docker")
    if given.get("job") or (isinstance(docker, dict) and docker.get("docker_image")):
        variables = None if variables == "null" else variables
        spec = spec_of(ask, target, canonical.encode(given), variables, None)
        return LaunchSpec({**spec.document, "uri": SCHEDULER_URI}, target.name, spec.priority)
    return _process(ask, target, given, name)


def _process(ask: Ask, target: QueueInfo, given: Mapping[str, Any], name: str) -> LaunchSpec:
    """The spec of W&B's own scheduler as a process of the agent, on whatever queue: since the queue's rules do not hold
    for it, it is made of nothing but what that program needs."""
    overrides = given.get("overrides")
    overrides = overrides if isinstance(overrides, dict) else {}
    document: dict[str, Any] = {
        "uri": SCHEDULER_URI, "entity": given["entity"], "project": given.get("project") or "uncategorized",
        "name": given.get("name") or f"Scheduler.{name}", "run_id": name, "resource": given.get("resource"),
        "docker": {}, "git": {}, "author": given.get("author") or ask.user.name,
        "overrides": {key: overrides[key] for key in OVERRIDES if overrides.get(key) is not None},
        "queue_entity": entity_of(ask.desk, target),
    }  # fmt: skip
    if problems := [*_beyond(given, overrides), *schema.problems(document)]:
        raise SpecError(problems)
    document["project"] = project_name(document["project"])
    if document["resource"] != "local-process" or document["overrides"].get("entry_point") != [*COMMAND, name]:
        raise UsageError(
            "launchScheduler.run_spec runs neither a job, nor an image, nor 'wandb scheduler' as local-process"
        )
    document["overrides"]["args"] = _arguments(overrides.get("args") or ())
    return LaunchSpec(document, target.name, DEFAULT_PRIORITY)


def _beyond(given: Mapping[str, Any], overrides: Mapping[str, Any]) -> Iterator[Problem]:
    """What a spec says that W&B's scheduler, as a process of the agent, may not be given."""
    told = "is not for W&B's scheduler as a process; make the scheduler a job (scheduler: {job: ...}), or leave it out"
    for key, value in given.items():
        if value and key not in (*NEEDED, *IGNORED):
            yield Problem(key, told)
    for key, value in overrides.items():
        if value and key not in OVERRIDES:
            yield Problem(f"overrides.{key}", told)


def _arguments(words: Sequence[str]) -> list[str]:
    """The arguments of `wandb scheduler`, each an option of it and its value. W&B's client quotes these for a shell,
    through which its agents of before 0.19 run them as they are; later ones quote them once more."""
    arguments = [QUOTED.sub(r"\1", word) if QUOTED.fullmatch(word) else word for word in words]
    for option, value in zip_longest(arguments[::2], arguments[1::2], fillvalue=""):
        if option not in OPTIONS:
            known = suggest(option, OPTIONS)
            raise UsageError(f"overrides.args: {option[:80]!r} is no option of wandb scheduler's; {known}")
        if not HARMLESS.fullmatch(value):
            told = "expected one word, or what is between single quotes, for agents give it to a shell"
            raise UsageError(f"overrides.args: {option} is {value[:80]!r}; {told}")
    return arguments
