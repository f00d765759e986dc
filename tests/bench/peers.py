"""Workers that drain a queue of no-op jobs, ours and those of other queues, each used as its documentation says one
runs it fast. `drain` times some of them over one queue, from when all are ready to the last state written."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable
from multiprocessing.synchronize import Barrier
from typing import Any

from launcher.item import AgentInfo, Sweep
from launcher.outcome import Finished
from launcher.queues import open_store
from launcher.spec import LaunchSpec

WORKERS = 2
"""Processes that drain one queue."""

AT_ONCE = 50
"""Jobs that each of them may have in hand."""

PATIENCE_SECONDS = 300.0

Worker = Callable[[str, Barrier], None]


def drain(worker: Worker, url: str, workers: int = WORKERS) -> float:
    """Seconds that processes of this worker take together to empty the queue at `url`."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(workers + 1, timeout=PATIENCE_SECONDS)
    processes = [context.Process(target=_work, args=(worker, url, barrier), daemon=True) for _ in range(workers)]
    for process in processes:
        process.start()
    barrier.wait()
    began = time.perf_counter()
    barrier.wait()
    taken = time.perf_counter() - began
    for process in processes:
        process.join()
    return taken


def _work(worker: Worker, url: str, barrier: Barrier) -> None:
    """A worker that fails lets nobody wait for it."""
    try:
        worker(url, barrier)
    except BaseException:
        barrier.abort()
        raise


# -- ours ---------------------------------------------------------------------------------------------------------


def no_op_specs(count: int) -> Iterable[LaunchSpec]:
    for number in range(count):
        run_config = {"number": number}
        document = {"resource": "local-process", "overrides": {"entry_point": ["true"], "run_config": run_config}}
        yield LaunchSpec(document, point=(f"number={number}",))


def fill_ours(url: str, count: int) -> None:
    store = open_store(url)
    store.push(Sweep("s"), no_op_specs(count))
    store.close()


def ours(url: str, barrier: Barrier) -> None:
    store = open_store(url)
    agent = f"agent-{os.getpid()}"
    now = time.time()
    store.register(AgentInfo(agent, "host", os.getpid(), now, ("default",), AT_ONCE, now, now))
    barrier.wait()
    _, done, leases = store.exchange(agent, (), (), ["default"], AT_ONCE)
    while leases:
        _, done, leases = store.exchange(agent, (), [(lease, Finished()) for lease in leases], ["default"], AT_ONCE)
        assert all(done)
    barrier.wait()
    store.close()


# -- PgQueuer -----------------------------------------------------------------------------------------------------


def fill_pgqueuer(url: str, count: int) -> None:
    import asyncio

    async def fill() -> None:
        queries = await _pgqueuer_queries(url)
        await queries.install()
        await queries.enqueue(["nothing"] * count, [str(number).encode() for number in range(count)], [0] * count)

    asyncio.run(fill())


async def _pgqueuer_queries(url: str) -> Any:
    import asyncpg
    from pgqueuer.db import AsyncpgDriver
    from pgqueuer.queries import Queries

    return Queries(AsyncpgDriver(await asyncpg.connect(url)))


def pgqueuer(url: str, barrier: Barrier) -> None:
    """asyncpg, uvloop, and a large batch, as in PgQueuer's own benchmark."""
    import uvloop
    from pgqueuer import PgQueuer
    from pgqueuer.types import QueueExecutionMode

    async def work() -> None:
        queuer = PgQueuer((await _pgqueuer_queries(url)).driver)

        @queuer.entrypoint("nothing")
        async def nothing(job: object) -> None:
            pass

        barrier.wait()
        await queuer.run(batch_size=AT_ONCE, mode=QueueExecutionMode.drain)
        barrier.wait()

    uvloop.run(work())


# -- Procrastinate ------------------------------------------------------------------------------------------------


def _procrastinate(url: str) -> tuple[Any, Any]:
    import procrastinate

    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, min_size=4, max_size=10))

    @app.task(name="nothing")
    async def nothing(number: int) -> None:
        pass

    return app, nothing


def fill_procrastinate(url: str, count: int) -> None:
    import asyncio

    async def fill() -> None:
        app, nothing = _procrastinate(url)
        async with app.open_async():
            await app.schema_manager.apply_schema_async()
            await nothing.batch_defer_async(*({"number": number} for number in range(count)))

    asyncio.run(fill())


def procrastinate(url: str, barrier: Barrier) -> None:
    import uvloop

    async def work() -> None:
        app, _ = _procrastinate(url)
        async with app.open_async():
            barrier.wait()
            await app.run_worker_async(concurrency=AT_ONCE, wait=False, install_signal_handlers=False)
            barrier.wait()

    uvloop.run(work())


# -- Huey ---------------------------------------------------------------------------------------------------------


def _huey(path: str) -> tuple[Any, Any]:
    from huey import SqliteHuey

    huey = SqliteHuey(filename=path, fsync=True, timeout=60, results=False)

    @huey.task(name="nothing")
    def nothing(number: int) -> None:
        pass

    return huey, nothing


def fill_huey(path: str, count: int) -> None:
    """In one transaction: only draining is measured."""
    huey, nothing = _huey(path)
    with huey.storage.db() as cursor:
        cursor.execute("BEGIN")
        for number in range(count):
            data = huey.serialize_task(nothing.s(number))
            cursor.execute("INSERT INTO task (queue, data) VALUES (?, ?)", (huey.storage.name, data))
        cursor.execute("COMMIT")


def huey(path: str, barrier: Barrier) -> None:
    """What its consumer's workers do, without their sleep when nothing waits."""
    queue, _ = _huey(path)
    barrier.wait()
    while (task := queue.dequeue()) is not None:
        queue.execute(task)
    barrier.wait()
