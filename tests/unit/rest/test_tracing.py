# SPDX-License-Identifier: Apache-2.0
"""Spans of requests, by OpenTelemetry's own SDK, and on their way to a collector."""

from __future__ import annotations

import http.server
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pyarrow as pa
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sparkmodel.rest import tracing
from sparkmodel.rest.app import make_app
from sparkmodel.rest.asked import Context, Scored
from sparkmodel.rest.gateway import Gateway
from sparkmodel.rest.server import Server
from sparkmodel.rest.settings import Settings
from tests.unit.rest.toys import ToyPools

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(http.server.BaseHTTPRequestHandler):
    """Keeps the spans that it is sent."""

    server: Any

    def do_POST(self) -> None:
        assert (self.path, self.headers["Content-Type"]) == ("/v1/traces", "application/x-protobuf")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.server.resources.append({one.key: one.value.string_value for one in resource.resource.attributes})
            self.server.spans += [span for scope in resource.scope_spans for span in scope.spans]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Where the environment says that spans go: `spans` and `resources` are what came."""
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    server.spans, server.resources = [], []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    for name in tracing._SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def written(context: Context) -> list[object]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.Spans(provider).write(context)
    return list(exporter.get_finished_spans())


def context_of(**rest: object) -> Context:
    return Context(request_id="r1", path="/invocations", started=time.monotonic() - 1.0, model="m", version=2, **rest)  # type: ignore[arg-type]


def test_a_request_has_its_span_in_the_trace_of_its_caller_and_its_stages_below_it() -> None:
    scored = Scored(
        values=pa.chunked_array([[1.0]]), version=2, queue_s=0.25, predict_s=0.5, transfer_s=0.125, wait_s=0.0625
    )
    *stages, request = written(context_of(scored=scored, trace=f"00-{TRACE}-{PARENT}-01", rows=1))
    assert f"{request.context.trace_id:032x}" == TRACE  # type: ignore[attr-defined]
    assert f"{request.parent.span_id:016x}" == PARENT  # type: ignore[attr-defined]
    assert request.attributes["sparkmodel.model"] == "m"  # type: ignore[attr-defined]
    seconds = {span.name: (span.end_time - span.start_time) / 1e9 for span in stages}  # type: ignore[attr-defined]
    assert seconds == pytest.approx({"wait": 0.0625, "transfer": 0.125, "queue": 0.25, "predict": 0.5}, abs=1e-6)
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
    spans = tracing.join(gateway)
    assert len(gateway.tellers) == before + 1
    assert spans is not None
    spans.close()
    gateway.close()


def test_a_request_to_a_gateway_reaches_the_collector(pools: ToyPools, collector: Any) -> None:
    pools.add("m", lambda data: data["x"] * 2)
    settings = Settings(port=0)
    with Server(make_app(Gateway(settings)), settings) as server:
        server.start()
        answer = httpx.post(
            f"{server.url}/models/m/invocations",
            json={"dataframe_split": {"columns": ["x"], "data": [[2.0]]}},
            headers={"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-Id": "r7"},
            timeout=60,
        )
        assert (answer.status_code, answer.json()) == (200, {"predictions": [4.0]})
        assert httpx.get(f"{server.url}/health", timeout=60).status_code == 200, "which is no request for a model"
    spans = {span.name: span for span in collector.spans}  # all of them: it is closed
    request = spans.pop("sparkmodel /models/{name}/invocations")
    assert sorted(spans) == ["predict", "queue", "transfer", "wait"]
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    assert (request.parent_span_id.hex(), request.kind) == (PARENT, 2), "a server's"
    assert {span.parent_span_id for span in spans.values()} == {request.span_id}
    assert {one.key: one.value.string_value for one in request.attributes}["sparkmodel.request_id"] == "r7"
    assert {one["service.name"] for one in collector.resources} == {"sparkmodel-gateway"}
    assert not [thread for thread in threading.enumerate() if "BatchSpan" in thread.name]


def test_without_the_package_of_the_exporter_there_are_no_traces_and_it_is_said(
    collector: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)  # type: ignore[arg-type]
    assert tracing.join(Gateway(Settings())) is None
    assert "install 'sparkmodel[tracing]'" in caplog.text
