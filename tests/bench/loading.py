"""The clients of the server's benchmarks, as programs: `wandb N` adds N runs with W&B's launch_add in a loop, `ours N`
with our store, `crowd N SECONDS` has N clients push at once; each prints what it measured as JSON. `delay PORT
SECONDS` is a proxy that takes its time."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import os
import sys
import time
from urllib.parse import urlsplit

PUSH = """mutation P($spec: JSONString!) { pushToRunQueueByName(input: {entityName: "team", projectName: "p",
queueName: "gpu", runSpec: $spec}) { runQueueItemId } }"""
SPEC = {
    "entity": "team", "project": "demo", "docker": {"docker_image": "a:1"}, "git": {}, "resource": "local-container",
    "overrides": {"run_config": {"model": "svm", "lr": 0.1, "seed": 1, "layers": [64, 64]}},
}  # fmt: skip


def wandb(number: int) -> float:
    """Seconds a call."""
    from wandb.sdk.launch import launch_add

    def add(seed: int) -> None:
        config = {"overrides": {"run_config": {**SPEC["overrides"]["run_config"], "seed": seed}}}  # type: ignore[dict-item]
        with contextlib.redirect_stderr(io.StringIO()):
            launch_add(docker_image="a:1", config=config, project="demo", entity="team", queue_name="gpu")

    add(-1)
    began = time.perf_counter()
    for seed in range(number):
        add(seed)
    return (time.perf_counter() - began) / number


def ours(number: int) -> float:
    """Seconds an item: checks, the outbox and the login among them."""
    import launcher

    def points() -> object:
        for seed in range(number):
            yield {"config": {"overrides": {"run_config": {**SPEC["overrides"]["run_config"], "seed": seed}}}}  # type: ignore[dict-item]

    began = time.perf_counter()
    name = f"sweep-{time.time_ns()}"
    launcher.launch_sweep(name, points(), docker_image="a:1", project="demo", entity="team", queue_name="gpu")  # type: ignore[arg-type]
    return (time.perf_counter() - began) / number


async def crowd(clients: int, seconds: float) -> dict[str, float]:
    """What `clients` that each wait for their answer before they push again do in this time."""
    where = urlsplit(os.environ["WANDB_BASE_URL"])
    key = base64.b64encode(f"api:{os.environ['WANDB_API_KEY']}".encode()).decode()
    body = json.dumps({"query": PUSH, "variables": {"spec": json.dumps(SPEC)}}).encode()
    head = f"POST /graphql HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    request = head.encode() + body
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def client() -> None:
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        while time.perf_counter() < end:
            began = time.perf_counter()
            writer.write(request)
            told = await reader.readuntil(b"\r\n\r\n")
            length = int(told.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            answer = await reader.readexactly(length)
            assert b'"runQueueItemId"' in answer, (told, answer)
            took.append(time.perf_counter() - began)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*[client() for _ in range(clients)])
    elapsed = time.perf_counter() - began
    took.sort()
    return {
        "pushed": len(took),
        "rate": len(took) / elapsed,
        "p50": took[len(took) // 2],
        "p99": took[-len(took) // 100],
    }


def delay(port: int, seconds: float) -> None:
    """A proxy, until its input ends; prints its port first."""
    from tests.server.proxy import Proxy

    print(Proxy(port, seconds=seconds).port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    match what:
        case "wandb":
            print(wandb(int(arguments[0])))
        case "ours":
            print(ours(int(arguments[0])))
        case "crowd":
            print(json.dumps(asyncio.run(crowd(int(arguments[0]), float(arguments[1])))))
        case "delay":
            delay(int(arguments[0]), float(arguments[1]))
