"""An API server of Kubernetes for the tests, as far as runners meet one: it creates, lists, watches and deletes over
HTTP what a real one would, checks bodies by Kubernetes's published schemas, and fails as it is told to. No cluster is
behind it but `tests.kubernetes_node`, which runs pods as processes of this machine."""

from __future__ import annotations

import base64
import copy
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate
import yaml

Object = dict[str, Any]
COLLECTION = re.compile(r"(/api/v1|/apis/[^/]+/[^/]+)/namespaces/([^/]+)/([a-z]+)(?:/([^/]+))?(?:/(log))?")
KINDS = {"pods": "Pod", "secrets": "Secret", "jobs": "Job"}
BUILT_IN = {"/api/v1": {"pods", "secrets"}, "/apis/batch/v1": {"jobs"}}


def problems(made: Object) -> str | None:
    """What Kubernetes's published schemas say against an object."""
    try:
        kubernetes_validate.validate(made, kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    return None


@dataclass
class Fault:
    """What happens to the next calls that match, instead of or (`after`) once they are done: a status with a reason, or
    without one the connection ends."""

    method: str
    path: str
    status: int = 0
    reason: str = ""
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    after: bool = False


class KubernetesApi:
    """The server, on loopback. `objects` are by collection and name; `calls` is what was asked, `faults` what shall go
    wrong; `kinds` are those beside Kubernetes's own, by API version and plural."""

    def __init__(self, folder: Path) -> None:
        self.objects: dict[str, dict[str, Object]] = {}
        self.kinds: dict[str, dict[str, str]] = {}
        self.calls: list[tuple[str, str]] = []
        self.faults: list[Fault] = []
        self.lock = threading.Condition(threading.RLock())
        self.listen: Callable[[str, Object], None] = lambda *_: None
        self.log: Callable[[str, bool], Iterator[bytes]] = lambda *_: iter(())
        self._version = 100
        self._history: list[tuple[int, str, str, Object]] = []
        self._oldest = 0
        self.cuts = 0
        self._closed = False
        handler = type("Handler", (_Handler,), {"api": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.config = folder / "kubeconfig"
        named = {"cluster": "tests", "user": "tests", "namespace": "team"}
        self.config.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1", "kind": "Config", "current-context": "tests",
                    "clusters": [{"name": "tests", "cluster": {"server": self.url}}],
                    "users": [{"name": "tests", "user": {"token": "tests"}}],
                    "contexts": [{"name": "tests", "context": named}],
                }
            )
        )  # fmt: skip

    # -- what the cluster's own parts do --------------------------------------------------------------------------

    def all(self, plural: str) -> list[Object]:
        with self.lock:
            paths = [path for path in self.objects if path.endswith(f"/{plural}")]
            return [made for path in paths for made in self.objects[path].values()]

    def change(self, path: str, name: str, by: Callable[[Object], None]) -> None:
        """Change an object that is there, and tell who watches."""
        with self.lock:
            if (made := self.objects.get(path, {}).get(name)) is not None:
                by(made)
                self._tell("MODIFIED", path, made)

    def add(self, path: str, made: Object) -> Object:
        with self.lock:
            meta = made["metadata"]
            meta.setdefault("namespace", path.split("/")[-2])
            meta["uid"] = f"uid-{self._version}"
            meta["creationTimestamp"] = f"2026-01-01T00:00:{self._version % 60:02}.{self._version:09}Z"
            self.objects.setdefault(path, {})[meta["name"]] = made
            self._tell("ADDED", path, made)
            return made

    def remove(self, path: str, name: str) -> None:
        with self.lock:
            if made := self.objects.get(path, {}).pop(name, None):
                self._tell("DELETED", path, made)

    # -- what goes wrong ------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """End all watches."""
        with self.lock:
            self.cuts += 1
            self.lock.notify_all()

    def compact(self) -> None:
        """Forget what has happened: who watches from before must list anew."""
        with self.lock:
            self._version += 1
            self._oldest = self._version
            self.cut()

    def close(self) -> None:
        self._closed = True
        self.cut()
        self._server.shutdown()
        self._server.server_close()

    def fault(self, method: str, path: str, *, after: bool) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.after is after and method == fault.method and re.search(fault.path, path):
                    fault.times -= 1
                    if not fault.times:
                        self.faults.remove(fault)
                    return fault
        return None

    # -- what is asked --------------------------------------------------------------------------------------------

    def create(self, path: str, made: Object, dry: bool) -> tuple[int, Object]:
        with self.lock:
            name, kind = made["metadata"].get("name", ""), made["kind"]
            if refused := self._refused(path, name, made):
                return refused
            if dry:
                return 201, made
            if kind == "Secret":
                texts = made.pop("stringData", {})
                made["data"] = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
            made = copy.deepcopy(self.add(path, made))
        self.listen(path, made)
        return 201, made

    def _refused(self, path: str, name: str, made: Object) -> tuple[int, Object] | None:
        if made["metadata"].get("namespace", path.split("/")[-2]) != path.split("/")[-2]:
            return _status(400, "BadRequest", "the namespace of the object does not match the request")
        if made["kind"] in KINDS.values() and (wrong := problems(made)):
            return _status(422, "Invalid", f'{made["kind"]}.{made["apiVersion"]} "{name}" is invalid: {wrong}')
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name):
            return _status(422, "Invalid", f"metadata.name: Invalid value: {name!r}")
        if sum(map(len, _annotations(made))) > 1 << 18:
            return _status(422, "Invalid", "metadata.annotations: Too long: may not be more than 262144 bytes")
        if name in self.objects.get(path, {}):
            return _status(409, "AlreadyExists", f'{path.rsplit("/", maxsplit=1)[-1]} "{name}" already exists')
        return None

    def delete(self, path: str, name: str, body: Object) -> tuple[int, Object]:
        with self.lock:
            made = self.objects.get(path, {}).get(name)
            if made is None:
                return _status(404, "NotFound", f'{path.rsplit("/", maxsplit=1)[-1]} "{name}" not found')
            made["metadata"].setdefault("deletionTimestamp", "2026-01-01T01:00:00Z")
            if body.get("propagationPolicy") == "Foreground":
                made["metadata"]["finalizers"] = ["foregroundDeletion"]
            self._tell("MODIFIED", path, made)
            made = copy.deepcopy(made)
        self.listen(path, made)
        return 200, made

    def select(self, path: str, query: dict[str, str]) -> Object:
        with self.lock:
            wanted = query.get("labelSelector", "")
            found = [copy.deepcopy(made) for made in self.objects.get(path, {}).values() if _selected(made, wanted)]
            start = int(query.get("continue") or 0)
            end = start + int(query.get("limit") or len(found) or 1)
            meta: Object = {"resourceVersion": str(self._version)}
            if end < len(found):
                meta |= {"continue": str(end), "remainingItemCount": len(found) - end}
            kind = KINDS.get(path.rsplit("/", maxsplit=1)[-1], "Object")
            version = found[0]["apiVersion"] if found else "v1"
            return {"kind": f"{kind}List", "apiVersion": version, "metadata": meta, "items": found[start:end]}

    def events(self, path: str, query: dict[str, str], cuts: int) -> Iterator[Object]:
        """What a watch tells that was asked for after so many cuts; a bookmark where nothing happens."""
        seen, wanted = int(query["resourceVersion"]), query.get("labelSelector", "")
        while True:
            with self.lock:
                if self._closed or self.cuts != cuts:  # nothing of what happens after a cut is told
                    return
                if seen < self._oldest:
                    _, gone = _status(410, "Expired", f"too old resource version: {seen} ({self._oldest})")
                    told = [{"type": "ERROR", "object": gone}]
                else:
                    told = [
                        {"type": kind, "object": made} for version, place, kind, made in self._history
                        if version > seen and place == path and _selected(made, wanted)
                    ]  # fmt: skip
                    seen = self._version
            yield from told
            with self.lock:
                if told and told[0]["type"] == "ERROR":
                    return
                if seen == self._version and self.cuts == cuts and not self.lock.wait(1.0):
                    meta = {"resourceVersion": str(seen), "creationTimestamp": None}
                    yield {"type": "BOOKMARK", "object": {"kind": "Object", "apiVersion": "v1", "metadata": meta}}

    def _tell(self, kind: str, path: str, made: Object) -> None:
        self._version += 1
        made["metadata"]["resourceVersion"] = str(self._version)
        self._history.append((self._version, path, kind, copy.deepcopy(made)))
        self.lock.notify_all()


class _Handler(BaseHTTPRequestHandler):
    api: KubernetesApi
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._handle("GET")

    def do_POST(self) -> None:
        self._handle("POST")

    def do_DELETE(self) -> None:
        self._handle("DELETE")

    def _handle(self, method: str) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        self.api.calls.append((method, self.path))
        cuts = self.api.cuts  # before faults are looked for: who makes one and then cuts ends all that it spared
        if self._failed(self.api.fault(method, self.path, after=False)):
            return
        if self.headers.get("Authorization") != "Bearer tests":
            self._answer(*_status(401, "Unauthorized", "Unauthorized"))
            return
        match = COLLECTION.fullmatch(url.path)
        if match is None:
            self._discover(url.path)
            return
        head, namespace, plural, name, log = match.groups()
        path = f"{head}/namespaces/{namespace}/{plural}"
        if plural not in BUILT_IN.get(head, self.api.kinds.get(head.removeprefix("/apis/"), {})):
            self._answer(*_status(404, "NotFound", "the server could not find the requested resource"))
        elif log:
            self._log(path, str(name), query)
        elif query.get("watch"):
            self._stream(json.dumps(event).encode() + b"\n" for event in self.api.events(path, query, cuts))
        else:
            done = self._do(method, path, name, query, body)
            if not self._failed(self.api.fault(method, self.path, after=True)):
                self._answer(*done)

    def _do(self, method: str, path: str, name: str | None, query: dict[str, str], body: Object) -> tuple[int, Object]:
        if method == "POST":
            return self.api.create(path, body, query.get("dryRun") == "All")
        if method == "DELETE":
            return self.api.delete(path, str(name), body)
        return 200, self.api.select(path, query)

    def _discover(self, path: str) -> None:
        group = path.removeprefix("/apis/")
        if group in self.api.kinds:
            same = {"namespaced": True, "verbs": ["create", "delete", "list", "watch"]}
            kinds = self.api.kinds[group].items()
            found = [{"name": plural, "singularName": kind.lower(), "kind": kind, **same} for plural, kind in kinds]
            answer = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": found}
            self._answer(200, answer)
        else:
            self._answer(*_status(404, "NotFound", "the server could not find the requested resource"))

    def _log(self, path: str, pod: str, query: dict[str, str]) -> None:
        if pod not in self.api.objects.get(path, {}):
            self._answer(*_status(404, "NotFound", f'pods "{pod}" not found'))
        else:
            self._stream(self.api.log(pod, query.get("follow") == "true"))

    def _failed(self, fault: Fault | None) -> bool:
        if fault and fault.status:
            status, told = _status(fault.status, fault.reason, fault.message)
            self._answer(status, told, fault.headers)
        elif fault:
            self.close_connection = True
        return fault is not None

    def _answer(self, status: int, told: Object, headers: dict[str, str] | None = None) -> None:
        text = json.dumps(told).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(text), **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(text)

    def _stream(self, pieces: Iterator[bytes]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for piece in pieces:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        except OSError:  # who listened is gone
            self.close_connection = True


def _status(code: int, reason: str, message: str) -> tuple[int, Object]:
    told = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return code, {**told, "message": message, "reason": reason, "code": code}


def _selected(made: Object, wanted: str) -> bool:
    labels = made["metadata"].get("labels") or {}
    pairs = (part.partition("=") for part in wanted.split(",") if part)
    return all(labels.get(name) == value for name, _, value in pairs)


def _annotations(made: Object) -> Iterator[str]:
    for meta in (made["metadata"], made.get("spec", {}).get("template", {}).get("metadata", {})):
        for name, value in (meta.get("annotations") or {}).items():
            yield name + value
