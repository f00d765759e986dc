"""A real Ray cluster for the tests: a head and two nodes on loopback, each with two CPUs as far as Ray knows."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

LOOPBACK = "127.0.0.2"
"""Ray takes 127.0.0.1 for another name of the host."""


def ray_missing() -> str | None:
    """Why no Ray can be started here; None when it can."""
    return None if find_spec("ray") else "the extra ray is not installed"


class RayCluster:
    def __init__(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 2, "node_ip_address": LOOPBACK, "include_dashboard": False}
        self._cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        self.nodes = [self.add() for _ in range(2)]
        self._cluster.wait_for_nodes()
        self.address = str(self._cluster.address)

    def add(self) -> Any:
        """A node more, with a resource `spot` for what shall run there and not on the head."""
        return self._cluster.add_node(num_cpus=2, node_ip_address=LOOPBACK, resources={"spot": 2})

    def kill(self, node: Any) -> None:
        """A node, at once, with all its workers."""
        self._cluster.remove_node(node, allow_graceful=False)

    def close(self) -> None:
        import ray

        ray.shutdown()
        self._cluster.shutdown()
