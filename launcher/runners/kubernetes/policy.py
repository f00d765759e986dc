"""What manifests may not ask of a cluster: what W&B's agents refuse since 0.28.1, for it reaches beyond the run's own
pod. Pure; the runner for `kubernetes` refuses it unless its agent's owner allows it, and specs for W&B are checked."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

REFUSED = frozenset(
    {
        "securityContext", "hostPath", "serviceAccountToken", "hostPID", "hostIPC", "hostNetwork", "hostUsers",
        "hostPort", "shareProcessNamespace", "serviceAccount", "serviceAccountName",
    }
)  # fmt: skip
"""Keys that are refused wherever they stand, whatever their value."""

PROFILES = ("seccompProfile", "appArmorProfile")
PROFILE_ANNOTATIONS = ("seccomp.security.alpha.kubernetes.io", "container.apparmor.security.beta.kubernetes.io")

FIELDS = frozenset({*REFUSED, "mountPropagation", *PROFILES})
"""What an agent's owner may allow."""


def refused(value: Any, path: str, allowed: Collection[str] = ()) -> Iterator[str]:
    """The paths below `path` of all in a manifest that is refused, but for fields that are `allowed`.

    >>> list(refused({"spec": {"hostPID": True, "volumes": [{"hostPath": {"path": "/"}}]}}, "job"))
    ['job.spec.hostPID', 'job.spec.volumes[0].hostPath']
    """
    if isinstance(value, Mapping):
        for key, below in value.items():
            if key not in allowed and (key in REFUSED or _opens(str(key), below)):
                yield f"{path}.{key}"
            else:
                yield from refused(below, f"{path}.{key}", allowed)
    elif isinstance(value, list | tuple):
        for number, below in enumerate(value):
            yield from refused(below, f"{path}[{number}]", allowed)


def _opens(key: str, value: Any) -> bool:
    """Whether it is the value that reaches too far: a mount that shows on the host, or no profile at all."""
    if key == "mountPropagation":
        return bool(value == "Bidirectional")
    if key in PROFILES:
        return isinstance(value, Mapping) and value.get("type") == "Unconfined"
    return key.startswith(PROFILE_ANNOTATIONS) and value == "unconfined"
