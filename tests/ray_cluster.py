"""A real Ray cluster for the tests: a head and two nodes on loopback, each with two CPUs as far as Ray knows."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

from tests.services import free_port

LOOPBACK = "127.0.0.2"
"""Ray takes 127.0.0.1 for another name of the host."""


def ray_missing() -> str | None:
    """Why no Ray can be started here; None when it can."""
    return None if find_spec("ray") else "the extra ray is not installed"


class RayCluster:
    def __init__(self, nodes: int = 2) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self._port = free_port()
        self.address = f"{LOOPBACK}:{self._port}"
        self.start_head()
        for _ in range(nodes):
            self.add()
        self._cluster.wait_for_nodes()

    def start_head(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 2, "node_ip_address": LOOPBACK, "include_dashboard": False, "gcs_server_port": self._port}
        self._cluster: Any = Cluster(initialize_head=True, head_node_args=head)

    def kill_head(self) -> None:
        """The head at once, and all that it knew."""
        self._cluster.remove_node(self._cluster.head_node, allow_graceful=False)

    def kill_actor(self, name: str, namespace: str) -> None:
        import ray

        ray.init(self.address, namespace=namespace, log_to_driver=False, configure_logging=False)
        try:
            ray.kill(ray.get_actor(name), no_restart=False)
        finally:
            ray.shutdown()

    def add(self) -> Any:
        """A node more, with a resource `spot` for what shall run there and not on the head."""
        return self._cluster.add_node(num_cpus=2, node_ip_address=LOOPBACK, resources={"spot": 2})

    def kill(self, node: Any) -> None:
        """A node, at once, with all its workers."""
        self._cluster.remove_node(node, allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()
