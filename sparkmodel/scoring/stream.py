# SPDX-License-Identifier: Apache-2.0
"""One stream of batches on its way through a model: cut, convert, predict, convert back, deal with rows at fault."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
import traceback
from collections.abc import Callable, Hashable
from typing import Any

import pyarrow as pa

from sparkmodel.binding import Binding
from sparkmodel.errors import PredictError, SparkModelError
from sparkmodel.loaders import Calls
from sparkmodel.scoring.faults import ErrorWindow, Fault, isolate
from sparkmodel.scoring.inputs import Form, build_input
from sparkmodel.scoring.nulls import complete_rows, scatter
from sparkmodel.scoring.outputs import result_schema, to_array
from sparkmodel.scoring.tally import Tally
from sparkmodel.spec import ModelSpec, answer_type


class ScoringStream:
    """Scores batches of one schema. It is the wire's `Stream`.

    Args:
        spec: What is served.
        version: Its number.
        schema: Columns of the batches.
        binding: How they become the model's input.
        by_name: Whether the caller's column names mean anything; a model that gets record batches is told.
        calls: The model's functions.
        tally: The worker's counters.
        on_error: What becomes of rows at fault.
        time_zone: Whose wall clock a timestamp without a zone shows.
        key: Equal for streams whose batches may be joined.
        batch_size: Gives the rows that the model is given at most at once, as it is now.
        lease: Entered for as long as a batch is here: its query is active.
    """

    def __init__(
        self,
        spec: ModelSpec,
        version: int,
        *,
        schema: pa.Schema,
        binding: Binding,
        by_name: bool,
        calls: Calls,
        tally: Tally,
        on_error: str,
        time_zone: str,
        key: Hashable,
        batch_size: Callable[[], int | None],
        lease: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self.schema, self.key, self.active = schema, key, lease
        self._batch_size = batch_size
        self.result_schema = result_schema(answer_type(spec.result_type, on_error))
        self._spec, self._version, self._binding, self._tally = spec, version, binding, tally
        self._on_error, self._time_zone = on_error, time_zone
        self._form = Form(
            batch_format=spec.options.batch_format,
            time_zone=time_zone,
            labels=_labels(spec, schema, binding, by_name),
            is_own="torch" in sys.modules,  # it writes into memory that NumPy would not let it write into
        )
        self._what = f"Cannot score with '{spec.name}'"
        # pyfunc's checks know no record batches
        skips_checks = binding.is_plain or spec.options.batch_format == "pyarrow"
        self._call: Callable[[Any], Any] = calls.exact if skips_checks and calls.exact else calls.predict
        self._skips_nulls = spec.options.null_input == "null"
        self._labels = {"binding": "name" if by_name else "position"}
        self._window = ErrorWindow(self._what, spec.options.error_threshold)

    def predict(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The predictions of one batch, with its cost counted."""
        size = self._batch_size() or batch.num_rows
        started = time.monotonic()
        try:
            parts = [self._score(batch.slice(i, size)) for i in range(0, batch.num_rows, size)]
        except BaseException as error:
            self._tally.add(errors=1)
            if isinstance(error, SparkModelError):
                self._tally.note(error)
            raise
        self._tally.add_batch(batch.num_rows, time.monotonic() - started)
        result = parts[0] if len(parts) == 1 else pa.concat_arrays(parts)
        return pa.RecordBatch.from_arrays([result], schema=self.result_schema)

    def _score(self, batch: pa.RecordBatch) -> pa.Array:
        if self._on_error == "fail":
            return self._predict(batch)
        result, faults = isolate(self._predict, batch, self._spec.result_type, self._window.check)
        self._window.add(batch.num_rows, len(faults))
        if faults:
            self._tally.add(rows_failed=len(faults))
            self._tally.note(faults[-1].error)
        return result if self._on_error == "null" else self._with_errors(result, faults)

    def _with_errors(self, result: pa.Array, faults: list[Fault]) -> pa.Array:
        errors: list[str | None] = [None] * len(result)
        for fault in faults:
            errors[fault.row] = fault.error.message
        versions = pa.array([self._version] * len(result), pa.int32())
        fields = list(answer_type(self._spec.result_type, "struct"))
        return pa.StructArray.from_arrays([result, pa.array(errors, pa.string()), versions], fields=fields)

    def _predict(self, batch: pa.RecordBatch) -> pa.Array:
        mask = complete_rows(batch, self._binding) if self._skips_nulls else None
        if mask is None:
            return self._call_model(batch)
        complete = batch.filter(mask)
        if not complete.num_rows:
            return pa.nulls(batch.num_rows, self._spec.result_type)
        return scatter(self._call_model(complete), mask)

    def _call_model(self, batch: pa.RecordBatch) -> pa.Array:
        self._tally.add(calls=1)
        data = build_input(self._what, batch, self._binding, self._form)
        if isinstance(data, pa.RecordBatch):
            data = data.replace_schema_metadata(self._labels)
        try:
            result = self._call(data)
        except SparkModelError:
            raise
        except BaseException as error:  # SystemExit of a model must not end the worker in silence
            if not self._form.is_own and is_read_only(error):
                self._form = dataclasses.replace(self._form, is_own=True)  # as it works in place, from now on
                return self._call_model(batch)
            raise PredictError(
                self._what,
                f"the model raised {type(error).__name__}: {error}",
                details=model_traceback(error),
            ) from error
        return to_array(
            self._what,
            result,
            batch.num_rows,
            self._spec.result_type,
            time_zone=self._time_zone,
            like_mlflow=self._spec.like_mlflow,
        )


def is_read_only(error: BaseException) -> bool:
    """Whether NumPy, or who works on its memory, did not let a model write into an array."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ValueError) and ("read-only" in str(cause) or "readonly" in str(cause)):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _labels(spec: ModelSpec, schema: pa.Schema, binding: Binding, by_name: bool) -> tuple[Hashable, ...] | None:
    """A frame's labels for a signature without names, as MLflow has them: the caller's names, or numbers."""
    inputs = spec.signature.inputs
    if binding.kind not in ("frame", "expand") or not inputs or any(column.name is not None for column in inputs):
        return None
    if by_name and binding.kind == "frame":
        return tuple(schema.names[field.index] for field in binding.fields)
    return tuple(range(len(binding.fields)))


def model_traceback(error: BaseException) -> str:
    """The traceback below our own call of the model."""
    trace = error.__traceback__
    lines = traceback.format_exception(type(error), error, trace.tb_next if trace else None)
    return "The model's own traceback:\n" + "".join(lines)
