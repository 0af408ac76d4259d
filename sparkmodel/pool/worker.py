# SPDX-License-Identifier: Apache-2.0
"""The worker as a plain class: holds one loaded model and serves it on the wire."""

from __future__ import annotations

import json
import os
import pathlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from sparkmodel import loaders
from sparkmodel.binding import Rules, bind
from sparkmodel.errors import (
    InvalidOptionError,
    ModelProbeError,
    PoolGoneError,
    SparkModelError,
    WrongVersionError,
)
from sparkmodel.loaders.names import names_around
from sparkmodel.options import ON_ERROR
from sparkmodel.params import from_json
from sparkmodel.pool.heart import Heart
from sparkmodel.pool.pulse import Pulse
from sparkmodel.pool.worker_leases import Leases
from sparkmodel.records import BatchRecorder, Counts
from sparkmodel.scoring.later import finished
from sparkmodel.scoring.observed import Observer
from sparkmodel.scoring.outputs import to_array
from sparkmodel.scoring.stream import ScoringStream, model_traceback
from sparkmodel.scoring.tally import Tally, WorkerStats
from sparkmodel.scoring.telling import Telling
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.directory import Directory, Endpoint
from sparkmodel.wire.server import Server
from sparkmodel.wire.tls import Identity
from sparkmodel.wire.verdicts import Fate, Verdict


class Worker:
    """Loads a model, probes it, and answers batches until it is closed. It is the wire's `Service`.

    Args:
        spec: The model and its limits.
        version: Number of what it serves.
        token: Secret that callers must show.
        host: Address to serve on.
        accepts: Digests of the plans that it answers right, beside its own; the directory may name more.
        identity: What to serve TLS with, if at all.
        on_hang: Ends the process when the model hangs.
        pulse: Where it notes what it does, if this is a process of its own.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        version: int,
        token: str,
        host: str,
        accepts: Sequence[str] = (),
        identity: Identity | None = None,
        on_hang: Callable[[], None] = lambda: None,
        pulse: Pulse | None = None,
    ) -> None:
        self.spec, self.name, self.token, self.version = spec, spec.name, token, version
        self.directory = Directory(version=version)
        self._host, self._identity, self._on_hang = host, identity, on_hang
        self._accepts, self._leases = frozenset(accepts), Leases()
        shown = {} if pulse is None else {"shown": pulse.count}
        self._tally = Tally(**shown, pid=os.getpid(), version=version)
        self._observers: list[Observer] = []
        self._telling = Telling(spec.name, version, self._tally, self._observers)
        self._heart = None if pulse is None else Heart(pulse, spec.options.timeout_s)
        self._what = f"Cannot score with '{spec.name}'"
        self._model: loaders.LoadedModel | None = None
        self._server: Server | None = None
        self._recorder: BatchRecorder | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Worker({self.name!r} version {self.version}, {self._server!r})"

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """The columns that the loaded model demands of itself, None where it demands none or is not loaded."""
        names = self._model.feature_names if self._model and self._model.names_are_all else None
        return None if names is None else tuple(names)

    def start(self, payload: Any = None, directory: pathlib.Path | None = None) -> tuple[str, int]:
        """Load the model, probe it, and serve; returns the endpoint.

        Args:
            payload: The pickle of a shipped object.
            directory: Where the files of a shipped model are.

        Raises:
            ModelLoadError: loading failed.
            ModelProbeError: the model cannot predict its own input example.
        """
        started = time.monotonic()
        self._model = loaders.load(self.spec, payload, directory)
        self._probe(self._model, self._calls({}))
        self._tally.add(loads=1, load_s=time.monotonic() - started)
        self._server = Server(
            self,
            self._host,
            on_hang=self._on_hang,
            **_limits(self.spec),
            identity=self._identity,
            inside=None if self._heart is None else self._heart.inside,
            receiving=None if self._heart is None else self._heart.receiving,
        )
        self._recorder = BatchRecorder(self._server.endpoint)
        self._recorder.configure(self.spec.options.record, self.spec.options.record_sample)
        self._observers.append(self._recorder)
        return self._server.endpoint

    def publish(self, directory: Directory) -> None:
        """Take the newest list of the pool's endpoints, to be handed to callers; an older one is not taken.

        A worker that was replaced by a newer version gets the new version's endpoints, and so sends its callers
        there; it keeps its own version number for what it still answers.
        """
        with self._lock:
            if directory.revision > self.directory.revision:
                self.directory = directory

    def configure(self, spec: ModelSpec) -> None:
        """Take the limits of a spec that differs in nothing that would have to be loaded anew.

        What is open goes on as it was opened, but for the size of what the model is given.
        """
        self.spec = spec
        if self._heart is not None:
            self._heart.limit(spec.options.timeout_s)
        if self._server is not None:
            self._server.configure(**_limits(spec))
        if self._recorder is not None:
            self._recorder.configure(spec.options.record, spec.options.record_sample)

    def hold(self, query: str) -> bool:
        """Know that a query is held to this version."""
        self._leases.touch(query)
        return True

    def leases(self) -> dict[str, float]:
        """Queries that are held to this version, with the seconds since each was last active."""
        return self._leases.read()

    def pin(self, query: str, digest: str, deadline: float) -> int:
        """Nothing that a worker does.

        Raises:
            PoolGoneError: always.
        """
        raise PoolGoneError(self._what, "a worker does not settle versions", "ask the pool's master")

    def fate(self, endpoint: Endpoint, session: int, seq: int) -> Fate:
        """Nothing that a worker knows.

        Raises:
            PoolGoneError: always.
        """
        raise PoolGoneError(self._what, "a worker does not know of others", "ask the pool's master")

    def condemn(self, verdict: Verdict) -> None:
        """Nothing that a worker does.

        Raises:
            PoolGoneError: always.
        """
        raise PoolGoneError(self._what, "a worker condemns nothing", "ask the pool's master")

    def stats(self) -> WorkerStats:
        """The counters now."""
        gate = self._server.gate if self._server else None
        directory = self.directory
        revision = directory.revision
        record = self._recorder.counts() if self._recorder else Counts()
        return self._tally.read(
            recorded=record.written,
            record_dropped=record.dropped,
            queued=gate.load if gate else 0,
            inside=len(gate.running()) if gate else 0,
            refused=dict(gate.refused) if gate else {},
            wait_s=gate.waited_s if gate else 0.0,
            oldest_wait_s=gate.oldest_wait_s if gate else 0.0,
            incarnation=revision.incarnation,
            number=revision.number,
            listed=self._server is not None and self._server.endpoint in directory.endpoints,
        )

    def close(self, drain_s: float = 0.0) -> None:
        """Send callers elsewhere, let batches in the model finish for `drain_s`, and stop serving."""
        if self._server is not None:
            self._server.close(drain_s)
        if self._recorder is not None:
            self._recorder.close()
        if self._heart is not None:
            self._heart.close()

    def open(self, schema: pa.Schema, options: dict[str, Any]) -> tuple[ScoringStream, pa.Schema]:
        """Settle how batches of `schema` become the model's input, with what a call asks for beyond the spec.

        Raises:
            WrongVersionError: another version is meant, or the plan is none that this one answers right.
            SchemaMismatchError: the columns do not fit.
            InvalidOptionError: the model does not take the params.
        """
        assert self._model is not None
        spec = self.spec
        options = dict(options)
        pin, digest, query = options.pop("pin", None), options.pop("digest", None), options.pop("query", None)
        source = str(options.pop("source", None) or "")
        self._check_version(pin, digest or "")
        if query:
            self._leases.touch(query)
        by_name = options.get("binding") == "name"
        binding = bind(
            self._what,
            schema,
            by_name,
            spec.signature.inputs,
            self._names_for(schema, by_name),
            Rules(
                drop_extra=spec.like_mlflow,
                as_table=spec.options.batch_format == "pyarrow" or (spec.like_mlflow and spec.signature.inputs is None),
                case_sensitive=bool(options.get("case_sensitive")),
            ),
        )
        stream = ScoringStream(
            spec,
            self.version,
            schema=schema,
            binding=binding,
            by_name=by_name,
            calls=self._calls(options.get("params") or {}),
            tally=self._tally,
            on_error=_known(self._what, options.get("on_error") or spec.options.on_error),
            time_zone=_zone_of(schema) or options.get("time_zone") or spec.time_zone,
            key=(schema.serialize().to_pybytes(), json.dumps(options, sort_keys=True)),  # whatever the query
            batch_size=lambda: self.spec.options.batch_size,
            lease=lambda: self._leases.active(query),
            source=source,
            query=query or "",
            telling=self._telling,
        )
        return stream, stream.result_schema

    def _check_version(self, pin: int | None, digest: str) -> None:
        if pin is not None and pin != self.version:
            raise WrongVersionError(self._what, f"version {pin} was asked, this worker serves {self.version}")
        served = self.directory.of(self.version)
        if digest and digest not in {self.spec.digest, *self._accepts, *(served.accepts if served else ())}:
            raise WrongVersionError(
                self._what,
                f"the query was planned for other inputs or another output than version {self.version} has",
                "run the query anew",
            )

    def _names_for(self, schema: pa.Schema, by_name: bool) -> Sequence[str] | None:
        assert self._model is not None
        known = self._model.feature_names
        return known if known is None or self._model.names_are_all else names_around(known, schema.names, by_name)

    def _calls(self, params: dict[str, Any]) -> loaders.Calls:
        assert self._model is not None
        try:
            return self._model.calls({**(self.spec.params or {}), **from_json(params)})
        except Exception as error:  # each loader has its own
            raise InvalidOptionError(self._what, f"the model does not take the params {params}: {error}") from error

    def _probe(self, model: loaders.LoadedModel, calls: loaders.Calls) -> None:
        """Predict the model's own input example, so that a broken model never takes a caller's batch."""
        if model.example is None:
            return
        what = f"Cannot make model '{self.name}' ready"
        try:
            result = finished(calls.predict(model.example))
            to_array(what, result, None, self.spec.result_type, like_mlflow=self.spec.like_mlflow)
        except SparkModelError as error:
            raise ModelProbeError(what, f"its own input example: {error.fact}", error.hint, error.details) from error
        except BaseException as error:
            raise ModelProbeError(
                what,
                f"it raised {type(error).__name__} for its own input example: {error}",
                details=model_traceback(error),
            ) from error


def _limits(spec: ModelSpec) -> dict[str, Any]:
    """What a server is told at its start, and again where it changes."""
    options = spec.options
    return {
        "max_concurrency": options.max_concurrency,
        "max_queued": options.max_queued,
        "max_queued_bytes": options.max_queued_bytes,
        "timeout_s": options.timeout_s,
        "join_rows": options.batch_size,
        "join_wait_s": options.batch_wait_s,
    }


def _known(what: str, on_error: str) -> str:
    if on_error not in ON_ERROR:
        raise InvalidOptionError(what, f"on_error='{on_error}' is none of {list(ON_ERROR)}")
    return on_error


def _zone_of(schema: pa.Schema) -> str | None:
    """Spark marks timestamps with the session's time zone."""
    return next((field.type.tz for field in schema if pa.types.is_timestamp(field.type) and field.type.tz), None)
