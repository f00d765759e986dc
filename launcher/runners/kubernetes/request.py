"""What Kubernetes is asked, from leases alone: the manifest of a run (a Job, or what its queue's owner gives), and the
Indexed Job of the runs that share one, as values that can be printed. `runner` calls it, and creates what comes of
it. No file system is presumed: config, command and environment travel in the manifest, secrets by reference."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher.canonical import encode
from launcher.errors import RunnerError
from launcher.item import Lease
from launcher.paths import RunPaths
from launcher.runners.engines import EngineRequest
from launcher.runners.environment import macros
from launcher.runners.kubernetes.pod import JOB, PodRun, lay_run, pod_templates
from launcher.runners.kubernetes.policy import refused
from launcher.template import MACRO, fill

MANAGED = "app.kubernetes.io/managed-by"
RUNS = "launcher/runs"
"""The annotation that says whose runs an object holds."""

PULL_SECONDS = 300
"""How long an image may fail to be pulled before its run fails, unless `pull_seconds` says otherwise."""

ANNOTATED_BYTES = 200_000
"""What is sent with one Job at most: Kubernetes takes 256 KiB of annotations."""

LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class KubernetesRequest(EngineRequest):
    """A run as an object of Kubernetes. `manifest` is all of it but its name and labels, equal for runs that may share
    a Job; `files` are sent with it (of runs that share one: its own script and config), `labels` say whose it is.
    `secrets` are what its references name: they go into the Secret `secret`, never into a manifest."""

    item: str
    manifest: Mapping[str, Any]
    files: Mapping[str, str]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    secret: str
    secrets: Mapping[str, str] = field(repr=False)
    namespace: str | None
    context: str | None
    pack: int
    shared: bool
    pull_seconds: float
    schedule_seconds: float | None

    @property
    def kind(self) -> tuple[Any, ...]:
        """Equal for the runs that may share a Job."""
        patience = self.pull_seconds, self.schedule_seconds
        return encode(dict(self.manifest)), self.namespace, self.context, self.pack, patience

    def secret_manifest(self) -> dict[str, Any]:
        """The Secret with what its references name. It is never printed."""
        labels = {name: self.labels[name] for name in (MANAGED, "launcher/root")}
        return {
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": True,
            "metadata": {"name": self.secret, "labels": labels}, "stringData": dict(self.secrets),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class KubernetesBatch:
    """One object of Kubernetes: the runs in it, several only where they share an Indexed Job, in which each is the
    index of its place."""

    requests: Sequence[KubernetesRequest]

    @property
    def packed(self) -> bool:
        """Whether it is an Indexed Job."""
        return self.requests[0].pack > 1

    @property
    def name(self) -> str:
        """Made of the leases, so that whoever submits it again meets what is there already.

        >>> KubernetesBatch([request]).name  # doctest: +SKIP
        'launcher-k3x9a1b2-1-9f86d081'
        """
        first = self.requests[0]
        item, attempt = first.labels["launcher/item"], first.labels["launcher/attempt"]
        tokens = first.token if len(self.requests) == 1 else _digest(*(request.token for request in self.requests))
        plain = re.sub(r"[^a-z0-9]+", "-", f"{item}-{attempt}-{tokens[:8]}".lower()).strip("-")
        return f"launcher-{plain[-40:].strip('-')}"

    def told(self) -> dict[str, Any]:
        """What the object says of its runs, for whoever finds it and not its agent."""
        first = self.requests[0]
        runs = [[request.item, str(request.folder), request.token] for request in self.requests]
        return {
            "runs": runs, "packed": self.packed, "shared": first.shared, "pull_seconds": first.pull_seconds,
            **({} if first.schedule_seconds is None else {"schedule_seconds": first.schedule_seconds}),
        }  # fmt: skip

    def manifest(self) -> dict[str, Any]:
        """What is created."""
        first = self.requests[0]
        made: dict[str, Any] = json.loads(encode(dict(first.manifest)))
        labels = {key: value for key, value in first.labels.items()
                  if all(request.labels.get(key) == value for request in self.requests)}  # fmt: skip
        meta = made.setdefault("metadata", {})
        meta["name"] = self.name
        if first.namespace:
            meta["namespace"] = first.namespace
        meta["labels"] = {**(meta.get("labels") or {}), **labels}
        told = first.annotations if len(self.requests) == 1 else {}
        meta["annotations"] = {**(meta.get("annotations") or {}), **told, RUNS: json.dumps(self.told())}
        if self.packed:
            self._index(made["spec"])
        for template in pod_templates(made.get("spec")):
            own = template.setdefault("metadata", {})
            own["labels"] = {**(own.get("labels") or {}), **labels, "launcher/name": self.name}
            self._send(template["spec"], own)
        return made

    def _index(self, spec: dict[str, Any]) -> None:
        count = len(self.requests)
        spec["completionMode"] = "Indexed"
        spec["completions"] = count
        spec.setdefault("parallelism", count)
        spec.setdefault("backoffLimitPerIndex", 0)  # one that fails ends no other

    def _send(self, pod: dict[str, Any], meta: dict[str, Any]) -> None:
        """Files in annotations of the pod, of which Kubernetes makes a volume: one object, so nothing is left over."""
        files = {
            f"{number}{name}" if self.packed else name: text
            for number, request in enumerate(self.requests)
            for name, text in request.files.items()
        }
        if not files:
            return
        meta["annotations"] = {**(meta.get("annotations") or {}), **{f"launcher/{name}": files[name] for name in files}}
        items = [
            {"path": name, "fieldRef": {"fieldPath": f"metadata.annotations['launcher/{name}']"}} for name in files
        ]
        pod.setdefault("volumes", []).append({"name": "launcher-start", "downwardAPI": {"items": items}})


def batches(requests: Sequence[KubernetesRequest]) -> Iterator[KubernetesBatch]:
    """The requests in objects of Kubernetes: one each, or up to `pack` of one kind, as far as one object holds them."""
    kinds: dict[tuple[Any, ...], list[KubernetesRequest]] = {}
    for request in requests:
        if request.pack == 1:
            yield KubernetesBatch([request])
        else:
            kinds.setdefault(request.kind, []).append(request)
    for alike in kinds.values():
        some: list[KubernetesRequest] = []
        size = 0
        for request in alike:
            own = sum(map(len, request.files.values())) + len(request.log)
            if some and (len(some) == request.pack or size + own > ANNOTATED_BYTES):
                yield KubernetesBatch(some)
                some, size = [], 0
            some.append(request)
            size += own
        yield KubernetesBatch(some)


def kubernetes_request(
    lease: Lease, paths: RunPaths, code: str, environ: Mapping[str, str], allowed: Collection[str] = ()
) -> KubernetesRequest:
    """See `Runner.request`; `allowed` are fields of manifests that the agent's owner lets every run have."""
    given = (lease.document.get("resource_args") or {}).get("kubernetes") or {}
    pack = int(given.get("pack", 1))
    _refuse(given, lease, allowed, code, paths.root)
    run = PodRun(lease, paths, code, environ, given, pack > 1)
    own = {key: given[key] for key in ("apiVersion", "kind", "metadata", "spec") if key in given}
    made: dict[str, Any] = {"apiVersion": JOB[0], "kind": JOB[1], **fill(own, macros(lease), environ)}
    lay_run(made, lease, given, run)
    first = next(pod_templates(made["spec"]), None)
    if first is None or not first["spec"]["containers"][0].get("image"):
        raise RunnerError(
            "the run has no image: give docker_image, or build=true, or an image in resource_args.kubernetes.spec",
            "prepare",
        )
    if sum(map(len, run.files.values())) > ANNOTATED_BYTES:
        raise RunnerError(
            f"its config and command are longer than the {ANNOTATED_BYTES} bytes that a manifest carries; give the "
            "runs a shared volume (resource_args.kubernetes.shared)",
            "prepare",
        )
    labels, annotations = _labels(lease, paths)
    return KubernetesRequest(
        tuple(run.argv), run.env, code or str(run.paths.folder), str(paths.log), lease.token, item=lease.item.id,
        manifest=made, files=run.files, labels=labels, annotations=annotations, secret=run.secret, secrets=run.secrets,
        namespace=given.get("namespace"), context=given.get("context"), pack=pack, shared=run.shared,
        pull_seconds=float(given.get("pull_seconds", PULL_SECONDS)), schedule_seconds=given.get("schedule_seconds"),
    )  # fmt: skip


def root_label(root: Path) -> str:
    """The label of what was submitted for runs below this folder."""
    return _digest(str(root))[:16]


def selector(root: str) -> str:
    """Selects what was submitted with the `root_label`."""
    return f"{MANAGED}=launcher,launcher/root={root}"


def _labels(lease: Lease, paths: RunPaths) -> tuple[dict[str, str], dict[str, str]]:
    """What says whose an object is; what no label can hold is an annotation too."""
    item = lease.item
    told = {"item": item.id, "attempt": str(item.attempt), "queue": item.queue, "sweep": item.sweep or ""}
    labels = {MANAGED: "launcher", "launcher/root": root_label(paths.root)}
    labels |= {f"launcher/{name}": label_value(text) for name, text in told.items() if text}
    annotations = {f"launcher/{name}": text for name, text in told.items() if text and not LABEL.fullmatch(text)}
    if item.name:
        annotations["launcher/run-name"] = item.name
    return labels, annotations


def label_value(text: str) -> str:
    """A text as a label can hold it: itself, or what is left of it with a digest.

    >>> label_value("lr sweep"), label_value("k3x9")
    ('lr-sweep-2f9e6f09', 'k3x9')
    """
    if LABEL.fullmatch(text):
        return text
    plain = re.sub(r"[^A-Za-z0-9_.]+", "-", text)[:50].strip("-_.")
    return f"{plain}-{_digest(text)[:8]}".lstrip("-")


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _refuse(given: Mapping[str, Any], lease: Lease, allowed: Collection[str], code: str, root: Path) -> None:
    """RunnerError with everything that this runner cannot or may not do."""
    pack = int(given.get("pack", 1))
    secrets = set(lease.document.get("secrets") or ()) | {"WANDB_API_KEY"}
    found = [
        f"{path} is not allowed by this agent; remove it, or start the agent with --allow-manifest-field "
        f"{path.rpartition('.')[2]} if every run of its queues may have it"
        for name in ("metadata", "spec", "shared")
        for path in refused({name: given.get(name)}, "resource_args.kubernetes", allowed)
    ]
    for name in ("metadata", "spec", "namespace"):
        shown = sorted(secrets & set(MACRO.findall(encode(given.get(name)))))
        found += [f"resource_args.kubernetes.{name} would show the secret {each}; give it as env" for each in shown]
    custom = (given.get("apiVersion", JOB[0]), given.get("kind", JOB[1])) != JOB
    if custom and pack > 1:
        found.append(f"resource_args.kubernetes.pack is for Jobs, and the kind is {given.get('kind')}")
    if pack > 1 and not lease.document.get("overrides", {}).get("entry_point"):
        found.append("runs that share a Job (pack) need an entry_point")
    if code and "shared" in given and not Path(code).is_relative_to(root.parent):
        found.append(f"its code lies in {code}, and pods see only {root.parent}; give no in_place")
    if code and "shared" not in given:
        found.append(
            "its code lies on the agent's disk, which pods do not see; build an image of it (build=true), or give the "
            "runs a volume with it (resource_args.kubernetes.shared)"
        )
    if found:
        raise RunnerError("\n".join(found), "prepare")
