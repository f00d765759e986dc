"""Traces from add to run, as OpenTelemetry's own SDK sees them; and that nobody else pays for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from launcher import launch_add, launch_sweep, tracing
from launcher.item import ItemFilter
from launcher.queues import open_store
from launcher.spec import LaunchSpec
from tests.conftest import Project, Result

Cli = Callable[..., Result]
PROGRAM = """\
import launcher, os, sys
launcher.report(traceparent=os.environ.get("TRACEPARENT"))
sys.exit("seed=2" in sys.argv and os.environ["LAUNCHER_ATTEMPT"] == "1")
"""
ADDS = "00-11111111111111111111111111111111-2222222222222222-01"


@pytest.fixture(autouse=True)
def _own_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OTEL_") or name == "TRACEPARENT":
            monkeypatch.delenv(name)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[ReadableSpan]]:
    """The spans that have ended, in that order. The process' own provider stays as it is: it could be set only once."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", lambda: provider.get_tracer("launcher"))
    return lambda: list(exporter.get_finished_spans())


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return {name.removeprefix("launcher."): value for name, value in (span.attributes or {}).items()}


def place(traceparent: str | ReadableSpan) -> str:
    """The trace and the span that it names, without its flags."""
    if isinstance(traceparent, str):
        return traceparent.rpartition("-")[0]
    return f"00-{traceparent.context.trace_id:032x}-{traceparent.context.span_id:016x}"


def add(cli: Cli, project: Project, *more: str) -> list[str]:
    project.write("program.py", PROGRAM)
    done = cli("add", "--sweep", "s", "--json", *more, "--", "python", "program.py")
    assert done.code == 0, done.err
    return json.loads(done.out)["ids"]  # type: ignore[no-any-return]


Spans = Callable[[], list[ReadableSpan]]


def test_a_run_is_traced_from_its_add_to_its_end(cli: Cli, project: Project, spans: Spans) -> None:
    [item] = add(cli, project, "seed=1")
    assert cli("agent", "--drain").code == 0
    added, waiting, preparing, running = spans()
    assert [span.name for span in spans()] == ["launcher add", "waiting", "preparing", "running"]
    for span in (waiting, preparing, running):
        assert span.parent is not None
        assert (span.context.trace_id, span.parent.span_id) == (added.context.trace_id, added.context.span_id)
        told = attributes(span)
        assert (told["item"], told["sweep"], told["queue"], told["attempt"]) == (item, "s", "default", 1)
    assert attributes(added) == {"sweep": "s", "added": 1, "present": 0}
    assert attributes(running)["outcome"] == "finished"
    times = [(span.start_time or 0, span.end_time or 0) for span in (waiting, preparing, running)]
    assert all(start <= end for start, end in times)
    assert times[0][1] == times[1][0]
    assert times[1][1] == times[2][0]
    store = open_store(project.store_url)
    shown = store.item(item)
    store.close()
    assert times[0][0] == int(shown.added_at * 1e9)
    assert place((shown.result or {})["traceparent"]) == place(running)


def test_each_attempt_has_its_spans_and_a_failed_one_says_why(cli: Cli, project: Project, spans: Spans) -> None:
    project.write("conf/launch/again.yaml", "retry: {'on': [failed]}\n")
    add(cli, project, "+launch=again", "seed=2")
    assert cli("agent", "--drain").code == 0
    runs = [span for span in spans() if span.name == "running"]
    assert [(attributes(span)["attempt"], attributes(span)["outcome"]) for span in runs] == [
        (1, "failed"),
        (2, "finished"),
    ]
    assert (runs[0].status.description or "").startswith("run: exit code 1")
    waits = [span for span in spans() if span.name == "waiting"]
    assert (waits[1].start_time or 0) >= (runs[0].start_time or 0), "from when it was put back"


def test_a_run_that_cannot_be_prepared_ends_its_span(cli: Cli, project: Project, spans: Spans) -> None:
    done = cli("add", "--sweep", "s", "--", "no-such-program")
    assert done.code == 0
    assert cli("agent", "--drain").code == 0
    last = spans()[-1]
    assert (last.name, attributes(last)["outcome"]) == ("running", "failed")
    assert "no-such-program" in (last.status.description or "")


@pytest.mark.usefixtures("spans")
def test_one_context_is_kept_for_a_whole_push(cli: Cli, project: Project) -> None:
    ids = add(cli, project, "-m", "seed=range(20)")
    store = open_store(project.store_url)
    assert len({store.document(item)[tracing.FIELD] for item in ids}) == 1
    with store._session() as db:  # type: ignore[attr-defined]
        assert [row["leaves"].count("00-") for row in db.execute("SELECT leaves FROM items")] == [0] * 20
    store.close()
    assert add(cli, project, "-m", "seed=range(20)") == [], "another trace makes no other spec"


def test_a_fingerprint_does_not_know_the_trace() -> None:
    assert LaunchSpec({"a": 1, tracing.FIELD: ADDS}).fingerprint() == LaunchSpec({"a": 1}).fingerprint()


def test_an_add_belongs_to_the_trace_of_its_surroundings(
    cli: Cli, project: Project, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", ADDS)
    add(cli, project, "seed=1")
    [added] = spans()
    assert added.parent is not None
    assert (f"{added.context.trace_id:x}", f"{added.parent.span_id:x}") == ("1" * 32, "2" * 16)


def test_the_python_api_traces_too(project: Project, spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.folder)
    project.write("train.py", "")
    launch_add(uri=".", entry_point=["python", "train.py"])
    launch_sweep("s", [{"entry_point": ["python", "train.py"]}], uri=".")
    assert [(span.name, attributes(span)) for span in spans()] == [
        ("launch_add", {}),
        ("launch_sweep", {"sweep": "s", "added": 1, "present": 0}),
    ]
    store = open_store(project.store_url)
    found = [store.document(item.id)[tracing.FIELD] for item in store.items(ItemFilter())]
    store.close()
    assert [place(context) for context in found] == [place(span) for span in spans()]


def test_an_agent_that_traces_nothing_hands_the_context_on(
    cli: Cli, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    project.write("program.py", PROGRAM)
    run = launch_add(uri=".", entry_point=["python", "program.py"], config={tracing.FIELD: ADDS})
    assert cli("agent", "--drain").code == 0
    assert run.result == {"traceparent": ADDS}


# -- set up from the environment ----------------------------------------------------------------------------------


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """The address of a server that takes spans, and what it was sent."""
    bodies: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Silent."""

    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    thread.join()
    server.server_close()


def test_commands_send_their_spans_where_the_environment_says(
    project: Project, collector: tuple[str, list[bytes]]
) -> None:
    address, bodies = collector
    environ = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_EXPORTER_OTLP_COMPRESSION": "none"}
    for command in (["add", "--sweep", "s", "--", "true"], ["agent", "--drain"]):
        process = project.start(*command, env=environ)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
    found = [
        (resource.resource, span)
        for body in bodies
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert [span.name for _, span in found] == ["launcher add", "waiting", "preparing", "running"]
    assert len({span.trace_id for _, span in found}) == 1
    names = {
        entry.value.string_value
        for resource, _ in found
        for entry in resource.attributes
        if entry.key == "service.name"
    }
    assert names == {"launcher"}


@pytest.mark.parametrize(
    "environ",
    [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}],
)
def test_nothing_of_it_is_imported_when_it_is_not_configured(project: Project, environ: dict[str, str]) -> None:
    program = (
        "import sys\nfrom launcher.cli import main\n"
        "for command in (['add', '--sweep', 's', '--', 'true'], ['agent', '--drain']):\n"
        "    try: main(command)\n    except SystemExit as end: assert end.code == 0\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=project.folder, env={**os.environ, **environ}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"
    assert tracing.FIELD not in "".join(path.read_text(errors="replace") for path in Path(project.folder).rglob("*.db"))
