"""What runs stream: written once however often it is told, read as it was printed, and harmless whatever it holds."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from threading import Thread
from typing import Any

import pytest
import requests

from launcher.item import RunState
from launcher.server import run_fields, streams
from tests.conftest import until
from tests.server.conftest import Served
from tests.server.test_protocol import ACK, BUCKET, QUEUE, RUN, popped, state, stream

DEEP = "[" * 50_000
STRANGE = [
    DEEP,
    '{"_step": 1, "a": NaN, "b": 100000000000000000000}',
    '{"_step": 1e999, "a": 1}',
    '{"_step": NaN}',
    "{",
]


@pytest.fixture
def gpu(served: Served) -> Served:
    served.data(QUEUE, name="gpu")
    return served


def content(served: Served, run: str, name: str = "output.log") -> str:
    return (served.folder / "server/runs/team/p" / run / name).read_text()


@pytest.mark.parametrize("line", STRANGE)
def test_a_run_ends_whatever_its_history_holds(line: str, gpu: Served) -> None:
    item_id = popped(gpu)
    gpu.data(ACK, id=item_id, run=item_id)
    files: dict[str, Any] = {"wandb-history.jsonl": {"offset": 0, "content": [line]}}
    assert stream(gpu, item_id, files=files, complete=True, exitcode=0).status_code == 200
    assert state(gpu, item_id) is RunState.FINISHED


def test_what_is_told_again_stays_one_line_where_it_holds_carriage_returns(served: Served) -> None:
    served.data(BUCKET, name="r1")
    for offset, lines in ((0, [" 1%\r 2%\r 3%", "two", "three"]), (1, ["two", "three"]), (0, ["100%"])):
        assert stream(served, "r1", files={"output.log": {"offset": offset, "content": lines}}).status_code == 200
    assert content(served, "r1") == "100%\ntwo\nthree\n"
    assert served.data(RUN, name="r1")["project"]["run"]["logLineCount"] == 3


def test_lines_are_replaced_where_they_are_in_a_file_of_any_length(served: Served, monkeypatch: Any) -> None:
    monkeypatch.setattr(streams, "BLOCK", 7)
    served.data(BUCKET, name="r1")
    lines = [str(number) * (number % 5) for number in range(40)]
    stream(served, "r1", files={"output.log": {"offset": 0, "content": lines}})
    for offset, new in ((11, ["a", "b"]), (39, ["c", "d"]), (0, ["e"]), (41, [])):
        stream(served, "r1", files={"output.log": {"offset": offset, "content": new}})
        lines[offset : offset + len(new)] = new
        assert content(served, "r1").split("\n")[:-1] == lines


def test_what_a_client_says_again_while_it_is_being_written_is_written_once(served: Served) -> None:
    served.data(BUCKET, name="r1")
    stream(served, "r1", files={"output.log": {"offset": 0, "content": ["zero"]}})
    body = {"output.log": {"offset": 1, "content": ["one", "two"]}}
    asked = [Thread(target=stream, args=(served, "r1"), kwargs={"files": body}) for _ in range(3)]
    with ExitStack() as locks:
        for lock in streams.LOCKS:
            locks.enter_context(lock)
        for each in asked:
            each.start()
        until(lambda: innermost().count("receive") == len(asked), "requests that wait for the run's files")
    for each in asked:
        each.join()
    assert content(served, "r1") == "zero\none\ntwo\n"


def innermost() -> list[str]:
    """The function that each thread is in."""
    return [frame.f_code.co_name for frame in sys._current_frames().values()]


def test_a_nul_that_a_program_prints_or_logs_is_shown_as_what_cannot_be_shown(served: Served) -> None:
    served.data(BUCKET, name="r1")
    files = {
        "output.log": {"offset": 0, "content": ["a\0b"]},
        "wandb-summary.json": {"offset": 0, "content": [json.dumps({"s": "c\0"})]},
    }
    assert stream(served, "r1", files=files, complete=True, exitcode=0).status_code == 200
    run = served.data(RUN, name="r1")["project"]["run"]
    assert [edge["node"]["line"] for edge in run["logLines"]["edges"]] == ["a\ufffdb"]
    assert (run["state"], json.loads(run["summaryMetrics"])) == ("finished", {"s": "c\ufffd"})


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a")])
def test_a_file_that_would_be_a_folder_too_is_refused(names: tuple[str, str], served: Served) -> None:
    served.data(BUCKET, name="r1")
    first, second = ({name: {"offset": 0, "content": ["x"]}} for name in names)
    assert stream(served, "r1", files=first).status_code == 200
    assert stream(served, "r1", files=second).status_code == 400
    query = """mutation F($name: String!) { createRunFiles(input: {entityName: "team", projectName: "p",
    runName: "r1", files: [$name]}) { files { uploadUrl } } }"""
    for name, status in zip(names, (200, 400), strict=True):
        address = served.data(query, name=name)["createRunFiles"]["files"][0]["uploadUrl"]
        assert requests.put(address, b"x", timeout=9).status_code == status


def test_only_rows_of_the_keys_that_are_named_are_sampled(served: Served) -> None:
    served.data(BUCKET, name="r1")
    rows = [json.dumps({"_step": step, "loss": step / 2, "other": 1}) for step in range(4)]
    stream(served, "r1", files={"wandb-history.jsonl": {"offset": 0, "content": rows}})
    query = """query H($specs: [JSONString!]!) { project(entityName: "team", name: "p") { run(name: "r1") {
    sampledHistory(specs: $specs) } } }"""
    specs = ["{}", '{"keys": ["_step", "loss"], "samples": 2}', '{"keys": [["a"]]}', '{"keys": 3}']
    found = served.data(query, specs=specs)["project"]["run"]["sampledHistory"]
    assert found == [[], [{"_step": 0, "loss": 0.0}, {"_step": 2, "loss": 1.0}], [], []]


def test_the_last_row_of_a_history_is_read_from_its_end(served: Served, monkeypatch: Any) -> None:
    query = '{ project(entityName: "team", name: "p") { run(name: "r1") { historyTail eventsTail } } }'
    served.data(BUCKET, name="r1")
    rows = [json.dumps({"_step": step}) for step in range(9)]
    stream(served, "r1", files={"wandb-history.jsonl": {"offset": 0, "content": rows}})
    monkeypatch.setattr(run_fields, "lines_of", None)  # nobody reads all of it
    run = served.data(query)["project"]["run"]
    assert (json.loads(run["historyTail"]), json.loads(run["eventsTail"])) == ([rows[-1]], [])
