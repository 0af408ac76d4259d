# SPDX-License-Identifier: Apache-2.0
"""Spans of requests, by OpenTelemetry's own SDK."""

from __future__ import annotations

import time

import pyarrow as pa
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sparkmodel.rest import tracing
from sparkmodel.rest.asked import Context, Scored
from sparkmodel.rest.gateway import Gateway
from sparkmodel.rest.settings import Settings

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def written(context: Context) -> list[object]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.Spans(provider).write(context)
    return list(exporter.get_finished_spans())


def context_of(**rest: object) -> Context:
    return Context(request_id="r1", path="/invocations", started=time.monotonic() - 1.0, model="m", version=2, **rest)  # type: ignore[arg-type]


def test_a_request_has_its_span_in_the_trace_of_its_caller_and_its_stages_below_it() -> None:
    scored = Scored(values=pa.chunked_array([[1.0]]), version=2, queue_s=0.25, predict_s=0.5, transfer_s=0.125)
    *stages, request = written(context_of(scored=scored, trace=f"00-{TRACE}-{PARENT}-01", rows=1))
    assert f"{request.context.trace_id:032x}" == TRACE  # type: ignore[attr-defined]
    assert f"{request.parent.span_id:016x}" == PARENT  # type: ignore[attr-defined]
    assert request.attributes["sparkmodel.model"] == "m"  # type: ignore[attr-defined]
    seconds = {span.name: (span.end_time - span.start_time) / 1e9 for span in stages}  # type: ignore[attr-defined]
    assert seconds == pytest.approx({"transfer": 0.125, "queue": 0.25, "predict": 0.5}, abs=1e-6)
    for span in stages:
        assert span.parent.span_id == request.context.span_id  # type: ignore[attr-defined]
        assert request.start_time <= span.start_time <= span.end_time <= request.end_time  # type: ignore[attr-defined]


@pytest.mark.parametrize("trace", ["", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_without_a_trace_that_can_be_read_one_begins(trace: str) -> None:
    (request,) = written(context_of(trace=trace, condition="PREDICT_FAILED", status=500))
    assert request.parent is None  # type: ignore[attr-defined]
    assert not request.status.is_ok  # type: ignore[attr-defined]


def test_nothing_is_done_where_nobody_said_where_spans_go(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in tracing._SETTINGS:
        monkeypatch.delenv(name, raising=False)
    gateway = Gateway(Settings())
    before = len(gateway.tellers)
    tracing.join(gateway)
    assert len(gateway.tellers) == before
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    tracing.join(gateway)
    assert len(gateway.tellers) == before
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    tracing.join(gateway)
    assert len(gateway.tellers) == before + 1
    gateway.close()
