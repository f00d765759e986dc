"""Traces from add to run, for who has OpenTelemetry installed and configured; for everybody else this imports nothing,
and does nothing. The dispatcher puts the context of an add into its specs, the agent hangs a run's spans on it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from launcher.errors import LaunchError
from launcher.item import Event, Lease, RunState
from launcher.outcome import Failed, Outcome

FIELD = "_traceparent"
"""The field of a launch spec that holds the context of the add that made it (W3C's traceparent)."""

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def set_up() -> None:
    """For a command of ours that nobody instrumented: send spans where the OTEL_ variables say, if they name an
    endpoint and the extra `otel` is installed."""
    tracer = _tracer()
    if tracer is None or not any(map(os.environ.get, ENDPOINTS)):
        return
    from opentelemetry import trace

    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        return
    resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME") or "launcher"})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def _tracer() -> Any | None:
    """OpenTelemetry's tracer for us; None where it is not installed, switched off, or nobody said where spans go."""
    wanted = "opentelemetry.trace" in sys.modules or any(map(os.environ.get, ENDPOINTS))
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none"
    if not wanted or off:
        return None
    try:
        from opentelemetry import trace
    except ImportError:
        return None
    return trace.get_tracer("launcher")


def _context(traceparent: object) -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": str(traceparent)}) if traceparent else None


def _traceparent(span: Any) -> str | None:
    context = span.get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


@contextmanager
def adding(name: str, **attributes: str) -> Iterator[Callable[..., None]]:
    """A span around an add, below the span that is current or the environment's TRACEPARENT; what it gives sets more
    attributes of it."""
    tracer = _tracer()
    if tracer is None:
        yield lambda **_: None
        return
    from opentelemetry import trace

    current = trace.get_current_span().get_span_context().is_valid
    context = None if current else _context(os.environ.get("TRACEPARENT"))
    with tracer.start_as_current_span(name, context=context, attributes=_named(attributes)) as span:
        yield lambda **more: span.set_attributes(_named(more))


def traceparent() -> str | None:
    """The context of the current span; None where there is none."""
    if _tracer() is None:
        return None
    from opentelemetry import trace

    return _traceparent(trace.get_current_span())


class RunTraces:
    """The spans of an agent's runs: waiting, preparing, running. `events` tells the transitions of an item."""

    def __init__(self, agent: str, events: Callable[[str], Sequence[Event]]) -> None:
        self._agent = agent
        self._events = events
        self._spans: dict[str, Any] = {}

    def taken(self, lease: Lease) -> None:
        """A lease was taken: the item has waited, and is being prepared."""
        tracer = _tracer()
        if tracer is None:
            return
        taken = lease.item.changed_at
        waited = min(taken, self._waits_since(lease))
        self._start(tracer, "waiting", lease, waited).end(end_time=_nanoseconds(taken))
        self._spans[lease.token] = self._start(tracer, "preparing", lease, taken)

    def running(self, lease: Lease) -> dict[str, str]:
        """It is about to be started: what its environment shall hold of this, so that its own spans belong here."""
        context = lease.document.get(FIELD)
        if (preparing := self._spans.pop(lease.token, None)) and (tracer := _tracer()):
            now = time.time()
            preparing.end(end_time=_nanoseconds(now))
            span = self._spans[lease.token] = self._start(tracer, "running", lease, now)
            context = _traceparent(span) or context
        return {"TRACEPARENT": str(context)} if context else {}

    def ended(self, lease: Lease, outcome: Outcome | None) -> None:
        """It came to its end, or is no longer ours."""
        span = self._spans.pop(lease.token, None)
        if span is None:
            return
        if outcome is not None:
            span.set_attributes(_named({"outcome": type(outcome).__name__.lower()}))
        if isinstance(outcome, Failed):
            from opentelemetry.trace import Status, StatusCode

            span.set_status(Status(StatusCode.ERROR, f"{outcome.stage}: {outcome.reason}"))
        span.end()

    def _start(self, tracer: Any, name: str, lease: Lease, at: float) -> Any:
        item = lease.item
        named = {"item": item.id, "queue": item.queue, "attempt": item.attempt, "agent": self._agent}
        attributes = _named(named | ({"sweep": item.sweep} if item.sweep else {}))
        context = _context(lease.document.get(FIELD))
        return tracer.start_span(name, context=context, start_time=_nanoseconds(at), attributes=attributes)

    def _waits_since(self, lease: Lease) -> float:
        """When it was added, or put back into its queue."""
        if lease.item.attempt > 1:
            with suppress(LaunchError):
                back = [event.at for event in self._events(lease.item.id) if event.after is RunState.PENDING]
                return max(back, default=lease.item.added_at)
        return lease.item.added_at


def _named(attributes: dict[str, Any]) -> dict[str, Any]:
    return {f"launcher.{name}": value for name, value in attributes.items()}


def _nanoseconds(at: float) -> int:
    return int(at * 1e9)
