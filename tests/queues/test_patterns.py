"""Patterns only save work: what is kept of a spec is what it would be alone, whichever specs came before it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from launcher import canonical
from launcher.policy import Retry, timeout
from launcher.queues.packing import Packer, Shape, unpack
from launcher.queues.patterns import PATTERNS, SpecPacker
from launcher.slots import Needs
from launcher.spec import SCHEDULER_URI, LaunchSpec
from tests.queues.test_packing import VALUES, stored, text

LEAVES = st.sampled_from(
    [1, 1.0, True, 0.0, -0.0, 1e16, "1", 'a"%s', None, 2**63, 2**64, [1], {"b": 2}, {"b": {"c": 3}}]
)
MEMORY = st.sampled_from(["1GB", "2GB"])
DOCUMENTS = st.fixed_dictionaries(
    {"overrides": st.fixed_dictionaries({"a": LEAVES}, optional={"%d": LEAVES, "z": VALUES})},
    optional={
        "name": st.sampled_from(["x", "y"]), "author": st.sampled_from(["ann", "bob", 2**70]),
        "resource": st.just("local-process"),
        "uri": st.sampled_from(["/code", "/other", "", SCHEDULER_URI]),
        "git": st.fixed_dictionaries(
            {"version": st.sampled_from(["a", "b"])},
            optional={"repo": st.sampled_from(["r", "s"]), "dirty": st.just(value=True)},
        ),
        "resource_args": st.fixed_dictionaries({"local-process": st.fixed_dictionaries({"memory": MEMORY})}),
        "retry": st.fixed_dictionaries({"max_attempts": st.integers(1, 3)}),
        "timeout": st.fixed_dictionaries({"queue": st.sampled_from(["1m", "2m"])}),
        "fingerprint": st.fixed_dictionaries(
            {"ignore": st.lists(st.sampled_from(["overrides.a", "overrides.a.b", "overrides.z", "name"]), max_size=2)}
        ),
    },
)  # fmt: skip
SPECS = st.builds(LaunchSpec, DOCUMENTS, st.sampled_from(["gpu", "cpu"]))


def over(a: Any, **more: Any) -> LaunchSpec:
    return LaunchSpec({"overrides": {"a": a}, **more})


@given(st.lists(SPECS, max_size=12))
@settings(max_examples=300, deadline=None)
@example([over(a) for a in (0, {"b": 1}, {"b": 2})])
@example([over(a, fingerprint={"ignore": ["overrides.a.b"]}) for a in (0, {"b": 1}, {"b": 2})])
@example([over(a, author=2**70, name=1e16) for a in (0, 2**64, 2**65)])
@example([over(0, uri=uri, git={"version": "a", "repo": "r"}) for uri in ("/code", "/other", SCHEDULER_URI)])
@example([over(0, uri="/code", git=git) for git in ({"version": "a"}, None, {"version": "a", "repo": "r"})])
@example([over(a, retry={"max_attempts": a}) for a in (1, 2, 3)])
def test_what_is_kept_of_a_spec_does_not_depend_on_those_before(specs: list[LaunchSpec]) -> None:
    packer = SpecPacker()
    bases: dict[int, Any] = {}
    shapes: dict[int, Shape] = {}
    for spec in specs:
        packed = packer.pack(spec)
        new_bases, new_shapes = packer.packer.take_new()
        bases |= {number: stored(base) for number, base in new_bases}
        shapes |= dict(new_shapes)
        shape = shapes[packed.shape]
        document = unpack(bases[shape.base], shape.changed, shape.gone, canonical.decode(packed.leaves))
        assert text(document) == text(spec.document)
        assert packed.fingerprint == spec.fingerprint()
        needs = Needs.of(spec.document).row()
        assert packed.needs == (canonical.encode(needs) if needs else None)
        assert packed.max_attempts == Retry.of(spec.document).max_attempts
        assert packed.queue_seconds == timeout(spec.document, "queue")


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The documents that were compared with a base."""
    found: list[Any] = []
    shape = Packer.shape

    def counted(packer: Packer, document: Any) -> tuple[int, Shape]:
        found.append(document)
        return shape(packer, document)

    monkeypatch.setattr(Packer, "shape", counted)
    return found


def test_the_specs_of_a_grid_are_compared_once_a_group_choice(compared: list[Any]) -> None:
    groups = [{f"g{group}_{number}": number for number in range(20)} for group in range(PATTERNS // 2)]
    packer = SpecPacker()
    for seed in range(50):
        for group in groups:
            packer.pack(over({**group, "seed": seed}, name=f"run-{seed}"))
    assert len(compared) == 2 * len(groups)  # the first of each is a base, the second shows where they differ
