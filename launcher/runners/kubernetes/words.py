"""What Kubernetes says of a run, read from its object (a Job, or what its queue's owner gives) and its pods: one table
of native states, and how the run's own container ended. Pure; `runner` calls it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from launcher.outcome import Ran
from launcher.runners.engines import Said, Word

WORDS: Mapping[str, Word] = {
    # a Job, the index of one, or an object of another kind (Kubeflow's, Ray's, Volcano's) as a whole
    "Complete": Word.ENDED, "Completed": Word.ENDED, "Succeeded": Word.ENDED, "SUCCEEDED": Word.ENDED,
    "Failed": Word.FAILED, "FAILED": Word.FAILED, "Aborted": Word.CANCELLED, "Terminated": Word.CANCELLED,
    "STOPPED": Word.CANCELLED, "deleted": Word.CANCELLED,
    # why a Job failed
    "BackoffLimitExceeded": Word.FAILED, "PodFailurePolicy": Word.FAILED, "FailedIndexes": Word.FAILED,
    "MaxFailedIndexesExceeded": Word.FAILED, "DeadlineExceeded": Word.TIMED_OUT,
    # why a pod ended (its own DeadlineExceeded is spelt as the Job's)
    "Evicted": Word.PREEMPTED, "Preempting": Word.PREEMPTED, "NodeShutdown": Word.PREEMPTED,
    "PreemptionByScheduler": Word.PREEMPTED, "EvictionByEvictionAPI": Word.PREEMPTED,
    "TerminationByKubelet": Word.PREEMPTED, "DeletionByTaintManager": Word.BROKEN, "DeletionByPodGC": Word.BROKEN,
    "NodeLost": Word.BROKEN, "UnexpectedAdmissionError": Word.BROKEN, "NodeAffinity": Word.BROKEN,
    "OutOfcpu": Word.BROKEN, "OutOfmemory": Word.BROKEN, "OutOfpods": Word.BROKEN,
    # why its container ended
    "OOMKilled": Word.OUT_OF_MEMORY,
}  # fmt: skip
"""Kubernetes's conditions, phases and reasons; one that is not here goes on, or says nothing."""

CONDITIONS = {
    "Complete": "Complete", "SuccessCriteriaMet": "Complete", "Succeeded": "Succeeded",
    "Failed": "Failed", "FailureTarget": "Failed",
}  # fmt: skip
"""The conditions that say that an object is over, or will be when its pods have ended."""

OWN_LIMIT = re.compile(r"exceed(s|ed)\b.*\blimit|exceeds the total limit", re.IGNORECASE)
"""Evicted for what it took itself; it would be so again."""

NOT_STARTED = ("StartError", "ContainerCannotRun")
NOT_THERE = re.compile(r'exec: "([^"]+)": (?:executable file not found|stat )')

PULLING = ("ErrImagePull", "ImagePullBackOff", "CreateContainerConfigError", "CreateContainerError")
"""What a pod that waits may get over: an image that is there later, a Secret that comes."""

NO_PLACE = "Unschedulable"
HOPELESS = ("InvalidImageName", "ErrImageNeverPull")
INDEX = "batch.kubernetes.io/job-completion-index"
SIGNAL_CODES = range(129, 129 + 64)


def said(made: Mapping[str, Any] | None, pods: Sequence[Mapping[str, Any]], index: int | None) -> Said:
    """What is said of a run: `made` is its object (None: gone), `pods` are its own, `index` its place in a Job that it
    shares. Pods say why; whether all is over, only the object says."""
    if made is None:
        return Said(Word.GONE)
    native, message = _end(made, index)
    word = WORDS.get(native, Word.GOES_ON)
    if word in (Word.GOES_ON, Word.ENDED):
        return Said(word, native)
    for pod in reversed(pods):
        for reason, why in _reasons(pod):
            if reason in WORDS and not (reason == "Evicted" and OWN_LIMIT.search(why)):
                return Said(WORDS[reason], reason, why)
            if reason == "Evicted":
                return Said(Word.FAILED, reason, why)
    return Said(word, native, message)


def _end(made: Mapping[str, Any], index: int | None) -> tuple[str, str]:
    """How an object says that it is over, and its message; ("", "") while it is not."""
    status = made.get("status") or {}
    if index is not None:
        if index in _indexes(status.get("completedIndexes")):
            return "Complete", ""
        if index in _indexes(status.get("failedIndexes")):
            return "Failed", f"index {index}"
    for condition in status.get("conditions") or ():
        if condition.get("status") == "True" and (kind := CONDITIONS.get(condition.get("type"))):
            reason = str(condition.get("reason") or "")
            failed = kind == "Failed" and reason in WORDS
            return (reason if failed else kind), str(condition.get("message") or "")
    state = status.get("state")
    phases = (state.get("phase") if isinstance(state, Mapping) else state, status.get("phase"), status.get("jobStatus"))
    return next(((str(phase), str(status.get("message") or "")) for phase in phases if phase in WORDS), ("", ""))


def _indexes(text: str | None) -> Iterator[int]:
    """As a Job writes them.

    >>> list(_indexes("1,3-5"))
    [1, 3, 4, 5]
    """
    for part in filter(None, (text or "").split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _reasons(pod: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Why a pod ended, the most telling first, with its message."""
    status = pod.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            if status.get("reason") == "Evicted":
                break  # its message says by what
            yield str(condition.get("reason") or ""), str(condition.get("message") or "")
    if status.get("reason"):
        yield str(status["reason"]), str(status.get("message") or "")
    if ended := terminated(pod):
        yield str(ended.get("reason") or ""), str(ended.get("message") or "")


def _container(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """The state of the container that runs the command: the first."""
    name = main(pod)
    states = (pod.get("status") or {}).get("containerStatuses") or ()
    return next((one.get("state") or {} for one in states if one.get("name") == name), {})


def main(pod: Mapping[str, Any]) -> str:
    """The name of the container that runs the command."""
    return str(pod["spec"]["containers"][0]["name"])


def terminated(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """How its container ended; None if it has not."""
    return _container(pod).get("terminated")


def has_started(pod: Mapping[str, Any]) -> bool:
    """Whether its container runs, or ran."""
    state = _container(pod)
    ended = state.get("terminated")
    return "running" in state or (ended is not None and ended.get("reason") not in NOT_STARTED)


def lives(pod: Mapping[str, Any]) -> bool:
    """Whether it may print more, or end otherwise; nobody knows that of one whose node is lost."""
    if terminated(pod) is not None or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return False
    return not any(WORDS.get(reason) is Word.BROKEN for reason, _ in _reasons(pod))


def own_word(pod: Mapping[str, Any], token: str) -> dict[str, Any] | None:
    """How the run itself ended, as `launcher.runners.node` would write it down; None where nobody knows."""
    ended = terminated(pod)
    if ended is None:
        return None
    told = {"token": token, "stopped": _ended_from_outside(pod), "timed_out": False}
    if ended.get("reason") in NOT_STARTED:
        image = pod["spec"]["containers"][0]["image"]
        message = str(ended.get("message") or "")
        missing = NOT_THERE.search(message)
        why = (
            f"the program {missing[1]!r} is not in the image {image!r}; correct the entry point" if missing
            else f"the container cannot be started: {message}"
        )  # fmt: skip
        return {**told, "exit_code": None, "why": why}
    code = int(ended["exitCode"])
    ran = Ran.told(ended.get("startedAt"), ended.get("finishedAt"))
    return {**told, "exit_code": 128 - code if code in SIGNAL_CODES else code, "ran": ran}


def _ended_from_outside(pod: Mapping[str, Any]) -> bool:
    """Whether somebody else ended it: its exit code is then no word of the program's own."""
    outside = any(reason in WORDS and WORDS[reason] is not Word.OUT_OF_MEMORY for reason, _ in _reasons(pod))
    return outside or "deletionTimestamp" in pod["metadata"]


def waiting(pod: Mapping[str, Any]) -> tuple[str, str]:
    """Why a pod has not started, in one word of Kubernetes and its message; ("", "") where it does not say."""
    state = _container(pod).get("waiting") or {}
    if state.get("reason") and state["reason"] not in ("ContainerCreating", "PodInitializing"):
        return str(state["reason"]), str(state.get("message") or "")
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("reason") or ""), str(condition.get("message") or "")
    return "", ""


def patience(handle: Mapping[str, Any], pod: Mapping[str, Any], reason: str) -> tuple[str, float | None]:
    """What Kubernetes fails to do for a pod that waits, and for how many seconds it may; None: as long as it takes."""
    if reason == NO_PLACE:
        return "place this run", handle.get("schedule_seconds")
    seconds = 0.0 if reason in HOPELESS else handle["pull_seconds"] if reason in PULLING else None
    return f"start the image {pod['spec']['containers'][0].get('image')!r}", seconds


def of_run(pods: Iterable[Mapping[str, Any]], index: int | None) -> list[Mapping[str, Any]]:
    """The pods of a run among those of its object, the newest last."""
    own = [pod for pod in pods if index is None or _index(pod) == index]
    return sorted(own, key=lambda pod: pod["metadata"].get("creationTimestamp") or "")


def speaker(pods: Sequence[Mapping[str, Any]], word: Word) -> Mapping[str, Any] | None:
    """The pod that speaks for a run: the newest; where an object has several, one that ended as it did."""
    alike = [pod for pod in pods if _failed(pod) is (word is not Word.ENDED)]
    return next(reversed(alike or list(pods)), None)


def _index(pod: Mapping[str, Any]) -> int:
    meta = pod["metadata"]
    told = (meta.get("annotations") or {}).get(INDEX) or (meta.get("labels") or {}).get(INDEX)
    return -1 if told is None else int(told)


def _failed(pod: Mapping[str, Any]) -> bool:
    ended = terminated(pod)
    return bool(ended and ended.get("exitCode"))
