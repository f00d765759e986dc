"""What is behind the API server of the tests: a Job controller, and one node that runs the pods' first containers as
processes of this machine, with their environment, volumes (in a mount namespace of their own), grace time, exit code
and termination message as a kubelet has them; with an init, though, so that SIGTERM ends what does not handle it."""

from __future__ import annotations

import base64
import copy
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from launcher.runners.kubernetes.pod import pod_templates
from tests.kubernetes_api import KubernetesApi, Object

INDEX = "batch.kubernetes.io/job-completion-index"
MOUNT = """
n=$1; shift
while [ "$n" -gt 0 ]; do mount --bind "$1" "$2" || exit 99; shift 2; n=$((n - 1)); done
exec "$@"
"""


class Node:
    """Runs what `api` is given. `held`: pods wait, as where there is no node for them; `images` have an entry point
    each, and cannot be pulled where `pulls` is false."""

    def __init__(self, api: KubernetesApi, folder: Path) -> None:
        self.api = api
        self.folder = folder
        self.held = False
        self.pulls = True
        self.images: dict[str, list[str]] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._stopped: set[str] = set()
        self._controlling = threading.RLock()
        self._count = 0
        api.listen = self._heard
        api.log = self._log

    def close(self) -> None:
        for process in list(self.processes.values()):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    # -- the controller -------------------------------------------------------------------------------------------

    def _heard(self, path: str, made: Object) -> None:
        if path.endswith("/pods"):
            self.stop(made["metadata"]["name"])
        elif not path.endswith("/secrets"):
            self.control(path, made["metadata"]["name"])

    def control(self, path: str, name: str) -> None:
        """Bring an object and its pods together."""
        with self._controlling:
            made = copy.deepcopy(self.api.objects.get(path, {}).get(name))
            if made is None:
                return
            pods = [pod for pod in self.pods() if pod["metadata"]["labels"]["launcher/name"] == name]
            if "deletionTimestamp" in made["metadata"]:
                waits = "finalizers" in made["metadata"]
                for pod in pods:
                    self.stop(pod["metadata"]["name"])
                if not waits or not self._of(name):
                    self.api.remove(path, name)
            elif not made["spec"].get("suspend"):
                self._job(path, made, pods) if made["kind"] == "Job" else self._custom(path, made, pods)

    def _of(self, name: str) -> list[Object]:
        return [pod for pod in self.pods() if pod["metadata"]["labels"]["launcher/name"] == name]

    def _job(self, path: str, made: Object, pods: list[Object]) -> None:
        spec, name = made["spec"], made["metadata"]["name"]
        phases = [(_index(pod), pod["status"]["phase"]) for pod in pods]
        done = {index for index, phase in phases if phase == "Succeeded"}
        failures = [index for index, phase in phases if phase == "Failed"]
        indexed = spec.get("completionMode") == "Indexed"
        failed = {index for index in failures if indexed or len(failures) > spec.get("backoffLimit", 6)}
        active = {index for index, phase in phases if phase in ("Pending", "Running")}
        count = spec.get("completions", 1)
        for index in range(count):
            if index not in done | failed | active and len(active) < spec.get("parallelism", 1):
                active.add(index)
                self._pod(path, made, made["spec"]["template"], index if indexed else None)
        status: Object = {"active": len(active), "succeeded": len(done), "failed": len(failures)}
        if indexed:
            status |= {"completedIndexes": _text(done), "failedIndexes": _text(failed)}
        if not active and len(done | failed) == count:
            reason = "FailedIndexes" if indexed else "BackoffLimitExceeded"
            message = "Job has failed indexes" if indexed else "Job has reached the specified backoff limit"
            ends = ("FailureTarget", "Failed") if failed else ("SuccessCriteriaMet", "Complete")
            status["conditions"] = [_condition(end, *((reason, message) if failed else ())) for end in ends]
        if made.get("status", {}) != status and not made.get("status", {}).get("conditions"):
            self.api.change(path, name, lambda job: job.update(status=status))

    def _custom(self, path: str, made: Object, pods: list[Object]) -> None:
        if not pods:
            for template in pod_templates(made["spec"]):
                self._pod(path, made, template, None)
        elif all(pod["status"]["phase"] in ("Succeeded", "Failed") for pod in pods):
            failed = any(pod["status"]["phase"] == "Failed" for pod in pods)
            status = {"conditions": [_condition("Failed" if failed else "Succeeded", "JobEnded", "")]}
            self.api.change(path, made["metadata"]["name"], lambda job: job.update(status=status))

    def _pod(self, path: str, owner: Object, template: Object, index: int | None) -> None:
        pod = copy.deepcopy({"apiVersion": "v1", "kind": "Pod", **template})
        meta = pod.setdefault("metadata", {})
        self._count += 1
        meta["name"] = f"{owner['metadata']['name']}-{'' if index is None else f'{index}-'}{self._count:05}"
        if index is not None:
            meta.setdefault("annotations", {})[INDEX] = str(index)
            meta["labels"][INDEX] = str(index)
            for container in pod["spec"]["containers"]:
                container["env"].append({"name": "JOB_COMPLETION_INDEX", "value": str(index)})
        pod["status"] = {"phase": "Pending", "conditions": []}
        made = self.api.add(f"/api/v1/namespaces/{path.split('/')[-2]}/pods", pod)
        if self.held:
            said = "0/1 nodes are available: 1 Insufficient cpu."
            self.status(meta["name"], conditions=[_condition("PodScheduled", "Unschedulable", said, "False")])
        else:
            threading.Thread(target=self._start, args=(copy.deepcopy(made),), daemon=True).start()

    # -- the node -------------------------------------------------------------------------------------------------

    def pods(self) -> list[Object]:
        with self.api.lock:
            return copy.deepcopy(self.api.all("pods"))

    def release(self) -> None:
        """There is a node now."""
        self.held = False
        for pod in self.pods():
            if pod["status"]["phase"] == "Pending":
                threading.Thread(target=self._start, args=(pod,), daemon=True).start()

    def status(self, name: str, **changes: Any) -> None:
        """Change what a pod's status says."""
        path = self._path(name)
        if path:
            self.api.change(path, name, lambda pod: pod["status"].update(changes))

    def kill(self, name: str, *, code: int | None = None, **changes: Any) -> None:
        """End a pod for a reason of its node's or of the cluster's: its status says so first."""
        self.status(name, **changes)
        if code is None:
            self.stop(name)
        else:
            os.killpg(self.processes[name].pid, code)

    def stop(self, name: str) -> None:
        """Delete a pod: SIGTERM, SIGKILL after its grace time; gone when it has ended."""
        with self.api.lock:
            path = self._path(name)
            if path is None or name in self._stopped:
                return
            self._stopped.add(name)
            pod = copy.deepcopy(self.api.objects[path][name])
            process = self.processes.get(name)
        self.api.change(path, name, lambda pod: pod["metadata"].setdefault("deletionTimestamp", "2026-01-01T01:00:00Z"))
        if process is None:
            self.api.change(path, name, lambda pod: pod["status"].update(phase=_ended(pod["status"]["phase"])))
            self._gone(pod)
        elif process.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)
            timer = threading.Timer(pod["spec"]["terminationGracePeriodSeconds"], self._end, (process,))
            timer.daemon = True
            timer.start()

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def _path(self, name: str) -> str | None:
        with self.api.lock:
            places = (path for path in self.api.objects if path.endswith("/pods"))
            return next((path for path in places if name in self.api.objects[path]), None)

    def _start(self, pod: Object) -> None:
        name, container = pod["metadata"]["name"], pod["spec"]["containers"][0]
        log = self.folder / "logs" / f"{name}.log"
        log.parent.mkdir(exist_ok=True)
        if not self.pulls:
            told = {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{container["image"]}"'}
            self.status(name, containerStatuses=[self._state(pod, {"waiting": told})])
            return
        env = self._environment(pod)
        words = [*(container.get("command") or self.images.get(container["image"], [])), *(container.get("args") or [])]
        argv = [_expanded(word, env) for word in words]
        mounts, message = self._mounts(pod)
        program = shutil.which(argv[0], path=env.get("PATH", "/usr/bin:/bin"))
        if program is None:
            why = f'failed to create containerd task: exec: "{argv[0]}": executable file not found in $PATH: unknown'
            self._ended(pod, {"exitCode": 128, "reason": "StartError", "message": why})
            return
        wrapped = ["unshare", "--mount", "--propagation", "private", "sh", "-c", MOUNT, "sh", str(len(mounts) // 2)]
        with log.open("wb") as output, self.api.lock:
            gone = self._path(name) is None
            if gone:
                return
            self.processes[name] = process = subprocess.Popen(
                [*wrapped, *mounts, *argv] if mounts else argv, env=env, cwd=container.get("workingDir") or "/",
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        began = {"startedAt": _now()}
        self.status(name, phase="Running", containerStatuses=[self._state(pod, {"running": began})])
        code = process.wait()
        self._end(process)
        ended: Object = {"exitCode": 128 - code if code < 0 else code, "reason": "Error" if code else "Completed"}
        ended |= began | {"finishedAt": _now()}
        if message and message.exists() and message.stat().st_size:
            ended["message"] = message.read_bytes()[-4096:].decode()
        self._ended(pod, ended)

    def _ended(self, pod: Object, terminated: Object) -> None:
        name = pod["metadata"]["name"]
        before = next((each["status"] for each in self.pods() if each["metadata"]["name"] == name), None)
        if before is None:
            return
        terminated = {**terminated, **before.pop("launcher/terminated", {})}
        self.status(
            name, phase="Failed" if terminated["exitCode"] else "Succeeded",
            containerStatuses=[self._state(pod, {"terminated": terminated})],
        )  # fmt: skip
        self.processes.pop(name, None)
        self._gone(pod)

    def _gone(self, pod: Object) -> None:
        """A pod that was deleted is removed once it has ended; who controls it hears of every end."""
        name, labels = pod["metadata"]["name"], pod["metadata"]["labels"]
        owners = [path for path, found in list(self.api.objects.items()) if labels["launcher/name"] in found]
        for path in owners:
            self.control(path, labels["launcher/name"])
        with self.api.lock:
            place = self._path(name)
            deleted = place and "deletionTimestamp" in self.api.objects[place][name]["metadata"]
        if place and deleted:
            self.api.remove(place, name)
            for path in owners:
                self.control(path, labels["launcher/name"])

    def _state(self, pod: Object, state: Object) -> Object:
        container = pod["spec"]["containers"][0]
        told = {"name": container["name"], "image": container["image"], "imageID": "", "restartCount": 0}
        return {**told, "ready": "running" in state, "state": state}

    def _environment(self, pod: Object) -> dict[str, str]:
        env: dict[str, str] = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
        secrets = {made["metadata"]["name"]: made["data"] for made in self.api.all("secrets")}
        for each in pod["spec"]["containers"][0].get("env", []):
            if source := each.get("valueFrom", {}).get("secretKeyRef"):
                env[each["name"]] = base64.b64decode(secrets[source["name"]][source["key"]]).decode()
            else:
                env[each["name"]] = _expanded(each.get("value", ""), env)
        return env

    def _mounts(self, pod: Object) -> tuple[list[str], Path | None]:
        """What is to be bound where, and the file of the termination message."""
        own = self.folder / "pods" / pod["metadata"]["name"]
        volumes: dict[str, Path] = {}
        for volume in pod["spec"].get("volumes", []):
            if "persistentVolumeClaim" in volume:
                continue  # it is what lies at its place on this machine
            volumes[volume["name"]] = folder = own / volume["name"]
            folder.mkdir(parents=True)
            for item in volume.get("downwardAPI", {}).get("items", []):
                key = item["fieldRef"]["fieldPath"].removeprefix("metadata.annotations['").removesuffix("']")
                (folder / item["path"]).write_text(pod["metadata"]["annotations"][key])
        container = pod["spec"]["containers"][0]
        found = [
            (str(volumes[mount["name"]] / mount.get("subPath", "")).rstrip("/"), mount["mountPath"])
            for mount in container.get("volumeMounts", []) if mount["name"] in volumes
        ]  # fmt: skip
        message = None
        if target := container.get("terminationMessagePath"):
            message = own / "message"
            message.touch()
            found.append((str(message), target))
        for source, target in found:
            inside = next((Path(src) for src, dst in found if Path(dst) == Path(target).parent and src != source), None)
            place = (inside or Path(target).parent) / Path(target).name
            place.mkdir(parents=True, exist_ok=True) if Path(source).is_dir() else place.touch()
        return [word for pair in found for word in pair], message

    def _log(self, name: str, follow: bool) -> Iterator[bytes]:
        log = self.folder / "logs" / f"{name}.log"
        place = 0
        while True:
            process = self.processes.get(name)
            with suppress(FileNotFoundError):
                text = log.read_bytes()[place:]
                place += len(text)
                if text:
                    yield text
            if not follow or process is None:
                return
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.02)


def _condition(kind: str, reason: str = "", message: str = "", status: str = "True") -> Object:
    moment = "2026-01-01T00:00:00Z"
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": moment}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _expanded(text: str, env: dict[str, str]) -> str:
    """As Kubernetes expands commands and values: $(NAME), and $$ for $."""
    return re.sub(r"\$\$|\$\((\w+)\)", lambda match: "$" if match[0] == "$$" else env.get(match[1], match[0]), text)


def _index(pod: Object) -> int:
    return int((pod["metadata"].get("annotations") or {}).get(INDEX, 0))


def _text(indexes: set[int]) -> str:
    return ",".join(map(str, sorted(indexes)))


def _ended(phase: str) -> str:
    return phase if phase in ("Succeeded", "Failed") else "Failed"
