"""The pods of a run on Kubernetes: its command, environment and folder laid into what its queue's owner gave, whose own
keys win. Pure; `request` calls it."""

from __future__ import annotations

import hashlib
import json
import math
import shlex
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from launcher.item import Lease
from launcher.paths import RunPaths
from launcher.resources import Resources
from launcher.runners import engines
from launcher.runners.environment import filled_command, references, run_environment
from launcher.spec import PRIORITY_NAMES, composed
from launcher.template import MACRO
from launcher.yaml_text import yaml_text

JOB = ("batch/v1", "Job")
KUEUE_QUEUE = "kueue.x-k8s.io/queue-name"
KUEUE_CLASS = "kueue.x-k8s.io/priority-class"
GPU = "nvidia.com/gpu"
GPU_LABEL = "nvidia.com/gpu.product"
"""The label of nodes that names the model of their GPUs, which NVIDIA's feature discovery sets."""

KEPT_SECONDS = 3 * 86400
"""How long Kubernetes keeps what has ended (`ttlSecondsAfterFinished`): an agent that comes later finds it lost."""

FOLDER = Path("/launcher/run")
"""The run's folder in a pod without a shared volume."""

START = "/launcher/start"
"""Where a pod finds what was sent with it."""

PER_INDEX = ["/bin/sh", "-c", f'exec /bin/sh "{START}/$JOB_COMPLETION_INDEX"']
FORWARDED = (*engines.FORWARDED, "WANDB_BASE_URL")
MEBIBYTE = 2**20


class PodRun:
    """What differs from run to run: command, environment and files, as its pod sees them."""

    def __init__(  # noqa: PLR0913 - what a request is made of
        self, lease: Lease, paths: RunPaths, code: str, environ: Mapping[str, str], given: Mapping[str, Any],
        packed: bool,
    ) -> None:  # fmt: skip
        self.shared = "shared" in given
        self.packed = packed
        self.folder = str(paths.root.parent)
        self.paths = paths if self.shared else RunPaths(FOLDER)
        self.cwd = f"{code}/{lease.document.get('overrides', {}).get('working_dir') or ''}".rstrip("/") if code else ""
        self.entry_point, self.args = filled_command(lease, self.paths)
        self.argv = [*self.entry_point, *self.args]
        self.env = {name: environ[name] for name in FORWARDED if name in environ} | run_environment(lease, self.paths)
        self.references, self.secrets = self._references(lease, environ, given)
        self.secret = _secret_name(str(paths.root), tuple(sorted(self.secrets.items()))) if self.secrets else ""
        self.files = self._files(yaml_text(composed(lease.document)))

    def _references(
        self, lease: Lease, environ: Mapping[str, str], given: Mapping[str, Any]
    ) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """Variables by reference to Secrets: the owner's own, or ours, which holds what the agent's environment has."""
        named = given.get("secrets") or {}
        known = {**dict.fromkeys(named, ""), **environ}
        own, needed = references(lease, known, given.get("env") or {})
        if environ.get("WANDB_API_KEY") and not {"WANDB_API_KEY"} & (own.keys() | named.keys()):
            own["WANDB_API_KEY"] = "${WANDB_API_KEY}"
            needed = (*needed, "WANDB_API_KEY")
        found: list[dict[str, Any]] = []
        held: dict[str, str] = {}
        for name in dict.fromkeys((*named, *needed)):
            source = named.get(name)
            if source is None:
                held[name] = environ[name]
            found.append({"name": name, "valueFrom": {"secretKeyRef": source or {"name": "", "key": name}}})
        for name, text in own.items():
            if name in self.env or text == f"${{{name}}}":
                continue
            if not set(MACRO.findall(text)) & set(needed):
                self.env[name] = text
                continue
            filled = MACRO.sub(lambda macro: f"$({macro[1]})" if macro[1] in needed else macro[0], literal(text))
            found.append({"name": name, "value": filled})
        return found, held

    def _files(self, config: str) -> dict[str, str]:
        if not self.packed:
            return {} if self.shared else {"config.yaml": config}
        lines = [f"export {name}={shlex.quote(value)}" for name, value in self.env.items()]
        if not self.shared:
            lines.append(f'cp "{START}/$JOB_COMPLETION_INDEX.yaml" {self.paths.config}')
        lines += [f"cd {shlex.quote(self.cwd)} || exit 1"] if self.cwd else []
        script = "\n".join([*lines, f"exec {shlex.join(self.argv)}"]) + "\n"
        return {"": script} | ({} if self.shared else {".yaml": config})

    def variables(self) -> list[dict[str, Any]]:
        """The `env` of its containers."""
        secret = [
            {**each, "valueFrom": {"secretKeyRef": {**each["valueFrom"]["secretKeyRef"], "name": self.secret}}}
            if each.get("valueFrom", {}).get("secretKeyRef", {}).get("name") == "" else each
            for each in self.references
        ]  # fmt: skip
        plain = {} if self.packed else self.env
        return secret + [{"name": name, "value": literal(value)} for name, value in plain.items()]


def lay_run(made: dict[str, Any], lease: Lease, given: Mapping[str, Any], run: PodRun) -> None:
    """Lay what a run needs into what its queue's owner gave, whose own keys win."""
    asked = Resources.of(lease.document)
    spec = made.setdefault("spec", {})
    if (made["apiVersion"], made["kind"]) == JOB:
        pod = spec.setdefault("template", {}).setdefault("spec", {})
        pod.setdefault("containers", [{}])
        pod.setdefault("restartPolicy", "Never")
        if not run.packed:
            spec.setdefault("backoffLimit", 0)  # attempts are counted in one place
        spec.setdefault("ttlSecondsAfterFinished", KEPT_SECONDS)
    chosen = (given.get("priority_classes") or {}).get(PRIORITY_NAMES[lease.item.priority])
    for template in pod_templates(spec):
        pod = template["spec"]
        pod.setdefault("terminationGracePeriodSeconds", math.ceil(engines.grace_seconds()))
        pod.setdefault("automountServiceAccountToken", False)
        if asked.time:
            pod.setdefault("activeDeadlineSeconds", math.ceil(asked.time))
        if asked.gpu_type:
            pod["nodeSelector"] = {given.get("gpu_label", GPU_LABEL): asked.gpu_type, **(pod.get("nodeSelector") or {})}
        if chosen and "kueue_queue" not in given:
            pod.setdefault("priorityClassName", chosen)
        _dress(pod, lease, given, run, asked)
    if "kueue_queue" in given:
        labels = {KUEUE_QUEUE: given["kueue_queue"], **({KUEUE_CLASS: chosen} if chosen else {})}
        made["metadata"] = {**made.get("metadata", {})}
        made["metadata"]["labels"] = {**labels, **(made["metadata"].get("labels") or {})}


def _dress(pod: dict[str, Any], lease: Lease, given: Mapping[str, Any], run: PodRun, asked: Resources) -> None:
    """The first container of a pod runs the command; all have the environment and the run's folder."""
    mounts: list[dict[str, Any]] = []
    if run.shared:
        pod.setdefault("volumes", []).append({"name": "launcher-shared", **given["shared"]})
        mounts.append({"name": "launcher-shared", "mountPath": run.folder})
    else:
        pod.setdefault("volumes", []).append({"name": "launcher-run", "emptyDir": {}})
        mounts.append({"name": "launcher-run", "mountPath": str(FOLDER)})
    if run.packed:
        mounts.append({"name": "launcher-start", "mountPath": START, "readOnly": True})
    elif not run.shared:
        config = {"mountPath": str(run.paths.config), "subPath": run.paths.config.name, "readOnly": True}
        mounts.append({"name": "launcher-start", **config})
    for number, container in enumerate(pod["containers"]):
        container.setdefault("name", "run" if number == 0 else f"beside-{number}")
        named = {each.get("name") for each in container.get("env") or ()}
        env = [each for each in run.variables() if each["name"] not in named]
        container["env"] = [*env, *(container.get("env") or ())]
        container["volumeMounts"] = [*(container.get("volumeMounts") or ()), *mounts]
    main = pod["containers"][0]
    image = (lease.document.get("docker") or {}).get("docker_image") or lease.document.get("image_uri")
    if image:
        main.setdefault("image", image)
    _command(main, run)
    main["resources"] = _resources(main.get("resources") or {}, asked)
    if not run.shared:
        main.setdefault("terminationMessagePath", str(run.paths.result))


def _command(container: dict[str, Any], run: PodRun) -> None:
    """As Docker does it: without an entry point the image's own takes the arguments."""
    if run.packed:
        container["command"] = list(PER_INDEX)
        container.pop("args", None)
        return
    if run.entry_point:
        container["command"] = [literal(word) for word in run.entry_point]
        container["args"] = [literal(word) for word in run.args]
    elif run.args:
        container["args"] = [literal(word) for word in run.args]
    if run.cwd:
        container.setdefault("workingDir", run.cwd)


def _resources(own: Mapping[str, Any], asked: Resources) -> dict[str, Any]:
    """What it asks for is what it gets: requests equal limits, unless the manifest says otherwise."""
    told: dict[str, str] = {}
    if asked.cpus:
        told["cpu"] = f"{asked.cpus:g}" if float(asked.cpus).is_integer() else f"{math.ceil(asked.cpus * 1000)}m"
    if asked.memory:
        whole = math.ceil(asked.memory)
        told["memory"] = f"{whole // MEBIBYTE}Mi" if whole % MEBIBYTE == 0 else str(whole)
    limits = told | ({GPU: str(math.ceil(asked.gpus))} if asked.gpus else {})
    made = {
        "requests": {name: value for name, value in told.items() if name not in (own.get("limits") or {})}
        | dict(own.get("requests") or {}),
        "limits": {name: value for name, value in limits.items() if name not in (own.get("requests") or {})}
        | dict(own.get("limits") or {}),
    }
    return {**own, **{name: value for name, value in made.items() if value}}


def pod_templates(value: Any) -> Iterator[dict[str, Any]]:
    """Every template of pods in a `spec`, of whatever kind: an object whose `spec` has containers."""
    if isinstance(value, dict):
        below = value.get("spec")
        if isinstance(below, dict) and isinstance(below.get("containers"), list) and below["containers"]:
            yield value
            return
        for each in value.values():
            yield from pod_templates(each)
    elif isinstance(value, list):
        for each in value:
            yield from pod_templates(each)


def literal(text: str) -> str:
    """A text as it must stand in a command or a value, where Kubernetes reads `$(NAME)` as a reference and `$$` as $.

    >>> literal("$HOME"), literal("kill $$"), literal("$(date)")
    ('$HOME', 'kill $$$$', '$$(date)')
    """
    return text.replace("$", "$$") if "$$" in text or "$(" in text else text


@lru_cache(maxsize=64)
def _secret_name(root: str, values: tuple[tuple[str, str], ...]) -> str:
    """A name for a Secret with these values, from which nobody finds them by trying."""
    told = hashlib.pbkdf2_hmac("sha256", json.dumps(values).encode(), root.encode(), 100_000).hex()
    return f"launcher-{told[:16]}"
