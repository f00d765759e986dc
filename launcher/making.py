"""What becomes of a pinned source before its spec is queued: it is kept, built into an image, or made a job of. Each
function is for one store; a dispatcher is handed it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from launcher.errors import SourceError
from launcher.item import JobVersion
from launcher.jobs import new_name
from launcher.queues import Store
from launcher.sources import Checkouts, Images, Patch, export, plan_build, preserve, short_name
from launcher.spec import Source

GIT_JOBS = re.compile(r"https://|ssh://|[\w.+-]+@[\w.-]+:")
"""The git remotes that W&B makes jobs of, since 0.31."""


def keeping(store: Store) -> Callable[[Source, Patch | None], None]:
    """A dispatcher's `keep` for what is added to this store: the patch lies there, the commit stays where it is."""

    def keep(source: Source, patch: Patch | None) -> None:
        if patch:
            store.keep_patch(patch.digest, patch.content)
        preserve(source)

    return keep


def building(
    store: Store, folder: Path, base_image: str | None = None, tell: Callable[[str], None] = lambda _: None
) -> Callable[[Source, Mapping[str, Any]], JobVersion]:
    """A dispatcher's `build` for this store: images are made on this machine, with checkouts and logs in `folder`, and
    are versions of a job that is named after the source. `tell` hears how it goes."""

    def build(source: Source, document: Mapping[str, Any]) -> JobVersion:
        if not store.renders:
            from launcher.queues.wandb.jobs import wandb_program

            wandb_program()  # it makes the job, when the image is there
        overrides, builder = document["overrides"], document.get("builder") or {}
        entry_point = overrides.get("entry_point") or ()
        with closing(Checkouts(folder / "sources", store.patch)) as checkouts:
            code = checkouts.of(source)
            wanted = plan_build(
                source, code, entry_point=entry_point, dockerfile=overrides.get("dockerfile"), builder=builder,
                base_image=base_image, python_version=document.get("python_version"),
                repository=(document.get("registry") or {}).get("url"),
            )  # fmt: skip
            Images(folder / "builds", tell).provide(wanted, code, builder.get("type"))
        name = new_name(f"{short_name(source)}-image", document["entity"], document["project"])
        made = {"docker": {"docker_image": wanted.image}, "built_from": source.fields()}
        return store.keep_job(JobVersion(name, "image", made, tuple(entry_point), author=document["author"]))

    return build


def unbuilt(source: Source, document: Mapping[str, Any]) -> JobVersion:  # noqa: ARG001 - as all builds are called
    """A dispatcher's `build` for a look at what would run: the image is called IMAGE, for it is not there yet."""
    return JobVersion("JOB", "image", {"docker": {"docker_image": "IMAGE"}})


def registering(store: Store, folder: Path) -> Callable[[Source, Mapping[str, Any]], JobVersion] | None:
    """A dispatcher's `register` for this store: a job of the commit of a git remote, else of the code itself, brought
    together in `folder`; None for a store that takes code as it is."""
    if store.renders:
        return None

    def register(source: Source, document: Mapping[str, Any]) -> JobVersion:
        if not source.commit:
            raise SourceError(f"{source.folder} is in no git commit, so no job can be made of its code; commit it")
        entry_point = tuple(document["overrides"].get("entry_point") or ())
        name = new_name(short_name(source), document["entity"], document["project"])
        if GIT_JOBS.match(source.repo or "") and not (source.folder or source.patch or source.subdir):
            return store.keep_job(JobVersion(name, "git", source.fields(), entry_point))
        with closing(Checkouts(folder / "sources", store.patch)) as checkouts, TemporaryDirectory() as made:
            export(checkouts.of(source), Path(made, "code"))
            return store.keep_job(JobVersion(name, "code", {"uri": str(Path(made, "code"))}, entry_point))

    return register
