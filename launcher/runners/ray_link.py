"""A process that talks to one Ray cluster for an agent, a JSON object a line: Ray ends the process of a client whose
cluster is gone for a minute, which must not be the agent. `ray` starts it: `python -m launcher.runners.ray_link`."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from contextlib import suppress
from typing import Any

from launcher.runners import ray_driver

NAMESPACE = "launcher"
ANSWER_SECONDS = 30.0


class Link:
    """The connection to the cluster at `address`, which is made when it is needed, and again when it was lost."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._drivers: dict[str, Any] = {}

    def call(self, root: str, verb: str, arguments: list[Any]) -> Any:
        """Ask the driver of this folder of runs."""
        import ray

        try:
            if not ray.is_initialized():
                ray.init(
                    self._address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False,
                    logging_level=logging.ERROR,
                )  # fmt: skip
            if root not in self._drivers:
                self._drivers[root] = _driver(ray, root)
            return ray.get(getattr(self._drivers[root], verb).remote(*arguments), timeout=ANSWER_SECONDS)
        except Exception:
            self._drivers.clear()
            with suppress(Exception):
                ray.shutdown()  # another cluster may answer at this address by now
            raise


def driver_name(root: str) -> str:
    """The name of the actor for a folder of runs."""
    return f"driver-{hashlib.sha256(root.encode()).hexdigest()[:16]}"


def _driver(ray: Any, root: str) -> Any:
    """The driver for this folder of runs, that was there before or is started now."""
    ray.cloudpickle.register_pickle_by_value(ray_driver)
    options = {"name": driver_name(root), "lifetime": "detached", "get_if_exists": True, "num_cpus": 0}
    return ray.remote(ray_driver.Driver).options(**options, max_restarts=-1, max_task_retries=2).remote()


def main() -> None:
    """Answer what is asked on stdin, until it ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else is printed here is no answer
    link = Link(sys.argv[1])
    for line in sys.stdin:
        root, verb, arguments = json.loads(line)
        try:
            told = {"answer": link.call(root, verb, arguments)}
        except Exception as error:
            told = {"error": (str(error) or type(error).__name__).splitlines()[0]}
        answers.write(f"{json.dumps(told)}\n")
        answers.flush()


if __name__ == "__main__":
    main()
