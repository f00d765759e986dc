"""Run IDs that differ, in groups that lie together."""

from __future__ import annotations

from itertools import islice

from launcher.queues.ids import ALIKE, TOGETHER, new_ids


def test_the_ids_of_a_push_differ_and_lie_together() -> None:
    drawn = list(islice(new_ids(), 3 * TOGETHER))
    assert len(set(drawn)) == len(drawn)
    assert len({item_id[:ALIKE] for item_id in drawn}) in (3, 4)
