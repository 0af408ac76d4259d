# SPDX-License-Identifier: Apache-2.0
"""The worker as a plain class: holds one loaded model and serves it on the wire."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from sparkmodel import loaders
from sparkmodel.errors import ModelProbeError, PredictError, SchemaMismatchError, SparkModelError
from sparkmodel.pool.inputs import build_input
from sparkmodel.pool.outputs import result_schema, to_array
from sparkmodel.schema import Binding, bind
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.server import Server
from sparkmodel.wire.service import Directory


@dataclasses.dataclass
class WorkerStats:
    """Counters of one worker since its start.

    Attributes:
        pid: Process id.
        version: Model version that it holds.
        loads: Times that it loaded the model.
        load_s: Seconds that loading took.
        batches, rows, errors: Batches scored, their rows, batches that failed.
        predict_s: Seconds in the model.
        queued: Batches waiting or in the model now.
    """

    pid: int = 0
    version: int = 0
    loads: int = 0
    load_s: float = 0.0
    batches: int = 0
    rows: int = 0
    errors: int = 0
    predict_s: float = 0.0
    queued: int = 0


class Worker:
    """Loads a model, probes it, and answers batches until it is closed. It is the wire's `Service`.

    Args:
        spec: The model and its limits.
        version: Number of what it serves.
        token: Secret that callers must show.
        host: Address to serve on.
        on_hang: Ends the process when the model hangs.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        version: int,
        token: str,
        host: str,
        on_hang: Callable[[], None] = lambda: None,
    ) -> None:
        self.spec, self.name, self.token, self.version = spec, spec.name, token, version
        self.directory = Directory(version=version)
        self._host, self._on_hang = host, on_hang
        self._stats = WorkerStats(pid=os.getpid(), version=version)
        self._lock = threading.Lock()
        self._what = f"Cannot score with '{spec.name}'"
        self._model: loaders.LoadedModel | None = None
        self._server: Server | None = None

    def __repr__(self) -> str:
        return f"Worker({self.name!r} version {self.version}, {self._server!r})"

    def start(self, payload: Any = None) -> tuple[str, int]:
        """Load the model, probe it, and serve; returns the endpoint.

        Raises:
            ModelLoadError: loading failed.
            ModelProbeError: the model cannot predict its own input example.
        """
        started = time.monotonic()
        self._model = loaders.load(self.spec, payload)
        self._probe(self._model)
        self._stats.loads += 1
        self._stats.load_s = time.monotonic() - started
        options = self.spec.options
        self._server = Server(
            self,
            self._host,
            max_concurrency=options.max_concurrency,
            max_queued=options.max_queued,
            timeout_s=options.timeout_s,
            on_hang=self._on_hang,
        )
        return self._server.endpoint

    def publish(self, directory: Directory) -> None:
        """Take the newest list of the pool's endpoints, to be handed to callers.

        A worker that was replaced by a newer version gets the new version's endpoints, and so sends its callers
        there; it keeps its own version number for what it still answers.
        """
        self.directory = directory

    def stats(self) -> WorkerStats:
        """The counters now."""
        with self._lock:
            return dataclasses.replace(self._stats, queued=self._server.gate.load if self._server else 0)

    def close(self, drain_s: float = 0.0) -> None:
        """Send callers elsewhere, let batches in the model finish for `drain_s`, and stop serving."""
        if self._server is not None:
            self._server.close(drain_s)

    def open(self, schema: pa.Schema, options: dict[str, Any]) -> tuple[ScoringStream, pa.Schema]:
        """Settle how batches of `schema` become the model's input.

        Raises:
            SchemaMismatchError: the columns do not fit.
        """
        assert self._model is not None
        if options.get("pin") not in (None, self.version):
            raise SchemaMismatchError(
                self._what, f"version {options['pin']} was asked, this worker serves {self.version}"
            )
        binding = bind(
            self._what,
            schema,
            options.get("binding") == "name",
            self.spec.signature.inputs,
            self._model.feature_names,
        )
        return ScoringStream(self, schema, binding), result_schema(self.spec.result_type)

    def score(self, batch: pa.RecordBatch, binding: Binding) -> pa.Array:
        """The predictions of one batch, with its cost counted."""
        started = time.monotonic()
        try:
            result = self._predict(batch, binding)
        except BaseException:
            with self._lock:
                self._stats.errors += 1
            raise
        with self._lock:
            self._stats.batches += 1
            self._stats.rows += batch.num_rows
            self._stats.predict_s += time.monotonic() - started
        return result

    def _predict(self, batch: pa.RecordBatch, binding: Binding) -> pa.Array:
        assert self._model is not None
        model_input = build_input(self._what, batch, binding)
        predict = self._model.predict
        if model_input.is_exact and self._model.predict_exact is not None:
            predict = self._model.predict_exact
        try:
            result = predict(model_input.data)
        except SparkModelError:
            raise
        except BaseException as error:  # SystemExit of a model must not end the worker in silence
            raise PredictError(
                self._what,
                f"the model raised {type(error).__name__}: {error}",
                details=_model_traceback(error),
            ) from error
        return to_array(self._what, result, batch.num_rows, self.spec.result_type)

    def _probe(self, model: loaders.LoadedModel) -> None:
        """Predict the model's own input example, so that a broken model never takes a caller's batch."""
        if model.example is None:
            return
        what = f"Cannot make model '{self.name}' ready"
        try:
            to_array(what, model.predict(model.example), None, self.spec.result_type)
        except SparkModelError as error:
            raise ModelProbeError(what, f"its own input example: {error.fact}", error.hint, error.details) from error
        except BaseException as error:
            raise ModelProbeError(
                what,
                f"it raised {type(error).__name__} for its own input example: {error}",
                details=_model_traceback(error),
            ) from error


class ScoringStream:
    """Batches of one schema on their way through a worker's model."""

    def __init__(self, worker: Worker, schema: pa.Schema, binding: Binding) -> None:
        self.schema, self._worker, self._binding = schema, worker, binding
        self._result_schema = result_schema(worker.spec.result_type)

    def predict(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The predictions of one batch."""
        array = self._worker.score(batch, self._binding)
        return pa.RecordBatch.from_arrays([array], schema=self._result_schema)


def _model_traceback(error: BaseException) -> str:
    """The traceback below our own call of the model."""
    trace = error.__traceback__
    lines = traceback.format_exception(type(error), error, trace.tb_next if trace else None)
    return "The model's own traceback:\n" + "".join(lines)
