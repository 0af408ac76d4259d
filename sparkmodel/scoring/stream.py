# SPDX-License-Identifier: Apache-2.0
"""One stream of batches on its way through a model: cut, convert, predict, convert back, deal with rows at fault."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import _base as futures
from typing import Any

import pyarrow as pa

from sparkmodel.binding import Binding
from sparkmodel.errors import PredictError, SparkModelError
from sparkmodel.loaders import Calls
from sparkmodel.scoring import later as later_module
from sparkmodel.scoring.faults import Budget, ErrorWindow, Fault, isolate
from sparkmodel.scoring.inputs import Form, build_input
from sparkmodel.scoring.later import Later, finished, is_later
from sparkmodel.scoring.nulls import complete_rows, scatter
from sparkmodel.scoring.outputs import result_schema, to_array
from sparkmodel.scoring.tally import Tally
from sparkmodel.scoring.telling import Telling
from sparkmodel.spec import ModelSpec, answer_type
from sparkmodel.wire.turns import FreeTurn, Turn

Turns = Callable[[], Turn | FreeTurn]


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
        source: Who calls.
        query: What the batches belong to.
        telling: Tells of each batch.
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
        source: str = "",
        query: str = "",
        telling: Telling | None = None,
    ) -> None:
        self.schema, self.key, self.active = schema, key, lease
        self._telling = telling or Telling(spec.name, version, tally, ())
        self._whose = {"source": source, "query": query}
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

    def predict(self, batch: pa.RecordBatch, turns: Turns = FreeTurn) -> pa.RecordBatch:
        """The predictions of one batch, with its cost counted.

        Args:
            batch: The rows.
            turns: Makes a turn for each call of the model.
        """
        started = time.monotonic()
        try:
            parts = self._in_chunks(batch, self._batch_size() or batch.num_rows, turns)
        except BaseException as error:
            self._tally.add(errors=1)
            if isinstance(error, SparkModelError):
                self._tally.note(error)
            raise
        self._tally.add_batch(batch.num_rows, time.monotonic() - started)
        result = parts[0] if len(parts) == 1 else pa.concat_arrays(parts)
        return pa.RecordBatch.from_arrays([result], schema=self.result_schema)

    def told(
        self, batch: pa.RecordBatch, result: pa.RecordBatch | None, condition: str, queue_s: float, predict_s: float
    ) -> None:
        """A batch has its answer."""
        self._telling.tell(batch, result, condition=condition, queue_s=queue_s, predict_s=predict_s, **self._whose)

    def _in_chunks(self, batch: pa.RecordBatch, size: int, turns: Turns) -> list[pa.Array]:
        """The predictions chunk by chunk; of a model that waits, as many at the same time as have a turn."""
        options = self._spec.options
        budget = Budget(self._what, batch.num_rows, options.bisect_calls, options.bisect_s)
        parts: list[pa.Array] = []
        waiting: deque[tuple[pa.RecordBatch, Asked]] = deque()
        try:
            for start in range(0, batch.num_rows, size):
                chunk = batch.slice(start, size)
                waiting.append((chunk, self._ask(chunk, turns, budget)))
                while waiting and waiting[0][1].is_there:
                    parts.append(self._score(*waiting.popleft(), turns, budget))
            while waiting:
                parts.append(self._score(*waiting.popleft(), turns, budget))
        finally:
            for _, asked in waiting:
                asked.cancel()
        return parts

    def _score(self, batch: pa.RecordBatch, asked: Asked, turns: Turns, budget: Budget) -> pa.Array:
        if self._on_error == "fail":
            return asked.result()
        attempts = [asked]

        def score(part: pa.RecordBatch) -> pa.Array:
            return (attempts.pop() if attempts else self._ask(part, turns, budget)).result()

        result, faults = isolate(score, batch, self._spec.result_type, self._window.check, budget)
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

    def _ask(self, batch: pa.RecordBatch, turns: Turns, budget: Budget) -> Asked:
        """Call the model for rows that it may see."""
        mask = complete_rows(batch, self._binding) if self._skips_nulls else None
        if mask is None:
            return Asked(self._models_answer(batch, turns, budget))
        complete = batch.filter(mask)
        if not complete.num_rows:
            return Asked(iter([pa.nulls(batch.num_rows, self._spec.result_type)]))
        return Asked(self._models_answer(complete, turns, budget), lambda array: scatter(array, mask))

    def _models_answer(self, batch: pa.RecordBatch, turns: Turns, budget: Budget) -> Iterator[Later | pa.Array]:
        """One call of the model: the answer, after what it has to be waited for, if it comes later."""
        try:
            yield from self._call_model(batch, turns, budget)
        except PredictError as error:
            if self._form.is_own or not is_read_only(error):
                raise
            self._form = dataclasses.replace(self._form, is_own=True)  # as it works in place, from now on
            yield from self._call_model(batch, turns, budget)

    def _call_model(self, batch: pa.RecordBatch, turns: Turns, budget: Budget) -> Iterator[Later | pa.Array]:
        # the values are made into the model's input within its turn, so what waits takes no more memory for it
        with turns() as turn:
            self._tally.add(calls=1)
            started = time.monotonic()
            try:
                data = build_input(self._what, batch, self._binding, self._form)
                if isinstance(data, pa.RecordBatch):
                    data = data.replace_schema_metadata(self._labels)
                try:
                    result = self._call(data)
                    result = result if is_later(result) else finished(result)
                except SparkModelError:
                    raise
                except BaseException as error:
                    raise self._of_model(error) from error
                if not is_later(result):
                    answer = self._to_array(result, batch.num_rows)
            finally:
                budget.spent_s += time.monotonic() - started
            if is_later(result):
                later = Later(result)
                try:
                    turn.detach(later.cancel)
                except BaseException:
                    later.close()
                    raise
                later.start(turn.end)
        if is_later(result):
            yield later
            try:
                result = later.result()
            except BaseException as error:
                if turn.error is not None or isinstance(error, SparkModelError):
                    raise turn.error or error from None
                raise self._of_model(error) from error
            finally:
                budget.spent_s += later.seconds
            if turn.error is not None:  # it was to end, and gave something nevertheless
                raise turn.error
            answer = self._to_array(result, batch.num_rows)
        yield answer

    def _to_array(self, result: Any, rows: int) -> pa.Array:
        return to_array(
            self._what,
            result,
            rows,
            self._spec.result_type,
            time_zone=self._time_zone,
            like_mlflow=self._spec.like_mlflow,
        )

    def _of_model(self, error: BaseException) -> PredictError:
        """What the model raised, as an error of ours; SystemExit of a model must not end the worker in silence."""
        return PredictError(
            self._what, f"the model raised {type(error).__name__}: {error}", details=model_traceback(error)
        )


class Asked:
    """A call of the model that was made: its answer is there, or comes later.

    Args:
        steps: Gives the answer, after what it has to be waited for.
        then: What is done with it.
    """

    def __init__(self, steps: Iterator[Later | pa.Array], then: Callable[[pa.Array], pa.Array] | None = None) -> None:
        self._steps, self._then = steps, then
        self._later: Later | None = None
        self._answer: pa.Array | None = None
        self._error: BaseException | None = None
        self._go_on()

    @property
    def is_there(self) -> bool:
        """Whether nothing has to be waited for."""
        return self._later is None or self._later.is_there

    def result(self) -> pa.Array:
        """The answer, waited for."""
        while self._later is not None:
            self._go_on()
        if self._error is not None:
            raise self._error
        return self._answer if self._then is None else self._then(self._answer)

    def cancel(self) -> None:
        """Nobody wants the answer."""
        if self._later is not None:
            self._later.cancel()

    def _go_on(self) -> None:
        self._later = None
        try:
            found = next(self._steps)
        except BaseException as error:
            self._error = error
        else:
            if isinstance(found, Later):
                self._later = found
            else:
                self._answer = found


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
    while trace and trace.tb_frame.f_code.co_filename in _OURS:
        trace = trace.tb_next
    lines = traceback.format_exception(type(error), error, trace)
    return "The model's own traceback:\n" + "".join(lines)


_OURS = (__file__, later_module.__file__, futures.__file__)
