# SPDX-License-Identifier: Apache-2.0
"""Spans of requests for OpenTelemetry, where it is installed and told where to send them; else nothing is done.

A worker tells with each answer how long the batch waited and was in the model, so the gateway writes the spans of these
stages too, and nothing has to travel to workers that does not already.
"""

from __future__ import annotations

import importlib
import logging
import os
import time
from typing import Any

from sparkmodel.rest.asked import Context
from sparkmodel.rest.gateway import Gateway

_log = logging.getLogger(__name__)
_STAGES = ("wait", "transfer", "queue", "predict")
_SETTINGS = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def join(gateway: Gateway) -> Spans | None:
    """Have the gateway write spans, if the environment, or a provider that is set already, says where to.

    Returns:
        What writes them; whoever ends the gateway closes it.
    """
    given = _given()
    provider = given or _made()
    if provider is None:
        return None
    spans = Spans(provider, is_own=given is None)
    gateway.tellers.append(spans.write)
    return spans


class Spans:
    """Writes the spans of requests that were answered.

    Args:
        provider: OpenTelemetry's `TracerProvider`.
        is_own: Whether it ends with this.
    """

    def __init__(self, provider: Any, is_own: bool = False) -> None:
        self._provider, self._is_own = provider, is_own
        self._api = importlib.import_module("opentelemetry.trace")
        propagation = importlib.import_module("opentelemetry.trace.propagation.tracecontext")
        self._parents = propagation.TraceContextTextMapPropagator()
        self._tracer = provider.get_tracer("sparkmodel")

    def write(self, context: Context) -> None:
        """The spans of one request, if it was for a model; in the trace of its `traceparent`, if that is one."""
        if not context.model:
            return
        end = time.time_ns()
        start = end - int((time.monotonic() - context.started) * 1e9)
        span = self._tracer.start_span(
            f"sparkmodel {context.path}",
            context=self._parents.extract({"traceparent": context.trace}),
            kind=self._api.SpanKind.SERVER,
            start_time=start,
            attributes={
                "http.route": context.path,
                "http.response.status_code": context.status,
                "sparkmodel.model": context.model,
                "sparkmodel.version": context.version,
                "sparkmodel.rows": context.rows,
                "sparkmodel.request_id": context.request_id,
            },
        )
        if context.condition:
            span.set_attribute("error.type", context.condition)
            span.set_status(self._api.Status(self._api.StatusCode.ERROR, context.condition))
        if context.scored is not None:
            scored, at = context.scored, end
            took = [scored.wait_s, scored.transfer_s, scored.queue_s, scored.predict_s]
            at -= min(end - start, int(sum(took) * 1e9))  # one after the other, before the answer
            for stage, seconds in zip(_STAGES, took, strict=True):
                inside = self._tracer.start_span(stage, context=self._api.set_span_in_context(span), start_time=at)
                at = min(end, at + int(seconds * 1e9))
                inside.end(at)
        span.end(end)

    def close(self) -> None:
        """Send what was not sent yet, which may last: not for the event loop."""
        if self._is_own:
            self._provider.shutdown()


def _given() -> Any:
    """What whoever serves, such as a notebook, writes spans with; None if there is none."""
    try:
        api = importlib.import_module("opentelemetry.trace")
    except ImportError:
        return None
    provider = api.get_tracer_provider()
    return None if isinstance(provider, api.ProxyTracerProvider) else provider


def _made() -> Any:
    """What the environment says that spans are written with; None where it says nothing, or nothing is installed."""
    asked = os.environ.get("OTEL_TRACES_EXPORTER", "")
    if asked == "none" or not any(os.environ.get(name) for name in _SETTINGS):
        return None
    try:
        sdk = importlib.import_module("opentelemetry.sdk.trace")
        export = importlib.import_module("opentelemetry.sdk.trace.export")
        if asked == "console":
            exporter = export.ConsoleSpanExporter()
        else:
            exporter = importlib.import_module(
                "opentelemetry.exporter.otlp.proto.http.trace_exporter"
            ).OTLPSpanExporter()
    except ImportError as error:
        _log.warning("no traces: %s. Hint: install 'sparkmodel[tracing]'.", error)
        return None
    provider = sdk.TracerProvider(
        resource=importlib.import_module("opentelemetry.sdk.resources").Resource.create(
            {"service.name": "sparkmodel-gateway"}
        )
    )
    provider.add_span_processor(export.BatchSpanProcessor(exporter))
    return provider
