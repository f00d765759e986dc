"""What keeps an agent's leases: it is heard of while it works, also while a run is being prepared for long."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from launcher.agent.troubles import Troubles
from launcher.errors import StoreError
from launcher.item import AgentInfo
from launcher.queues import Store


@contextmanager
def heard(store: Store, info: AgentInfo, seconds: float, troubles: Troubles) -> Iterator[None]:
    """Register this agent, and beat every so many `seconds`, in a thread."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(seconds):
            try:
                store.heartbeat(info.id)
            except StoreError as error:
                troubles.store_fails(error)
            else:
                troubles.store_works()

    store.register(info)
    beating = threading.Thread(target=beat, daemon=True, name="heartbeat")
    beating.start()
    try:
        yield
    finally:
        done.set()
        beating.join()
