"""A server of which others want something: a team's queue with items, a run, a file, a sweep, a job."""

from __future__ import annotations

import pytest

from launcher.item import JobVersion
from tests.server.conftest import Served
from tests.server.test_protocol import ACK, BUCKET, QUEUE, popped, push, stream
from tests.server.test_sweeps import AGENT as SWEEP_AGENT
from tests.server.test_sweeps import GRID, upsert

VIEWER = {"query": "{ viewer { id } }"}
PATHS = ["/graphql", "/files/team/p/r1/file_stream"]

LINKS = """mutation U($resource: JSONString!, $links: JSONString) { upsertRunQueue(input: {entityName: "team",
projectName: "p", queueName: "gpu", resourceType: "local-container", resourceConfig: $resource, externalLinks: $links})
{ success } }"""


@pytest.fixture
def filled(served: Served) -> Served:
    """A team with a queue, an item of which its run is going on, a file, and a sweep with an agent."""
    served.data(QUEUE, name="gpu")
    item_id = popped(served)
    served.data(ACK, id=item_id, run="secretrun")
    served.data(BUCKET, name="secretrun")
    stream(served, "secretrun", files={"output.log": {"offset": 0, "content": ["secret line"]}})
    push(served, name="secret")
    served.data(SWEEP_AGENT, sweep=upsert(served, config=GRID)["name"])
    image = {"docker": {"docker_image": "secret:1"}}
    served.store.keep_job(JobVersion("team/p/train", "image", image, (), {}, "ann"))
    return served


def queue_id(served: Served) -> str:
    query = '{ project(entityName: "team", name: "p") { runQueue(name: "gpu") { id } } }'
    return str(served.data(query)["project"]["runQueue"]["id"])
