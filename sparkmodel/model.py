# SPDX-License-Identifier: Apache-2.0
"""A registered model in the user's hands."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession

from sparkmodel.keeper.pools import Pool
from sparkmodel.loaders.successor import successor
from sparkmodel.options import check_name
from sparkmodel.registration import follow
from sparkmodel.registration.calls import as_functions, for_call
from sparkmodel.registration.plan import plan
from sparkmodel.registration.serve import serve
from sparkmodel.registration.settle import Asked, asked_again
from sparkmodel.remote import RemoteModel
from sparkmodel.schema import Signature
from sparkmodel.spark import arguments, functions
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.handle import Handle


class Model:
    """A model that a pool serves: callable on columns, on data frames and on local data.

    Made by `sparkmodel.register` and `sparkmodel.get`. It pickles as a `RemoteModel`, which has `predict`, so functions
    that Spark runs on its executors can use it.
    """

    def __init__(self, pool: Pool, spark: SparkSession | None = None) -> None:
        self._pool, self._spark = pool, spark
        self._spec, self._version = pool.spec()
        self._handle = pool.handle()
        follow.join(self)

    def __repr__(self) -> str:
        return (
            f"Model({self.name!r}, version {self._version}, {self._spec.source.given!r}, "
            f"{self._spec.signature}, {self._spec.options.workers} workers)"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteModel, (self._handle, self._version, self._spec.signature, self._spec.result_type)

    @property
    def name(self) -> str:
        """Name of the pool and of the SQL function."""
        return self._pool.name

    @property
    def version(self) -> int:
        """Number of what the pool serves, counted from 1 by this object's last change."""
        return self._version

    @property
    def signature(self) -> Signature:
        """What the model takes and gives."""
        return self._spec.signature

    @property
    def handle(self) -> Handle:
        """The picklable client of the pool, with which any process that reaches it can score."""
        return self._handle

    def save_handle(self, path: str | os.PathLike[str]) -> None:
        """Write the pool's address and token into a file, for Spark programs without Python (docs/bridge.md).

        The file lets whoever reads it call the model; only its owner can.

        Args:
            path: Of the file; a directory of such files is searched for names that end in `.handle`.
        """
        with open(path, "w", encoding="ascii", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            os.fchmod(file.fileno(), 0o600)  # where the file was there before
            file.write(self._handle.to_text() + "\n")

    def __call__(
        self, *columns: Column | str, params: Mapping[str, Any] | None = None, on_error: str | None = None
    ) -> Column:
        """The prediction as a column, for `select`, `withColumn`, `filter`.

        Args:
            *columns: Columns or names. Names that are the model's bind, in any order, and so do columns of such
                names; others go by position. A struct column is bound by its field names; one array or vector column
                is taken as the feature vector. None at all are the signature's.
            params: Inference parameters for this call, over those of the registration.
            on_error: `fail`, `null` or `struct` for this call; as registered by default.

        Raises:
            SchemaMismatchError: too many or too few columns, or names that are the model's in part and stand in
                another's place.
            InvalidOptionError: the model has no such parameter.
        """
        given = arguments.of_call(
            self.name,
            columns,
            self._spec.signature,
            case_sensitive=lambda: arguments.is_case_sensitive(functions.living(self._spark)),
        )
        return self._udf(self._handle_for(params, on_error), given)

    def transform(self, df: DataFrame, output_col: str = "prediction") -> DataFrame:
        """The frame with the prediction as one more column; its columns are bound by name.

        Raises:
            SchemaMismatchError: a column is missing or of a wrong type; at once, before Spark runs anything.
        """
        return df.withColumn(output_col, self._udf(self._handle, arguments.of_frame(self._spec, df)))

    def register_as(
        self,
        spark: SparkSession,
        name: str,
        *,
        params: Mapping[str, Any] | None = None,
        on_error: str | None = None,
    ) -> None:
        """Make one more SQL function of this pool, with parameters of its own; nothing is loaded for it.

        Args:
            spark: The session that gets the function.
            name: Name of the function.
            params: Inference parameters of its calls, over those of the registration.
            on_error: `fail`, `null` or `struct`; as registered by default.

        Raises:
            NameTakenError: the session has a function of that name.
            InvalidOptionError: the model has no such parameter.
        """
        functions.check_free(spark, check_name(name))
        functions.register_function(spark, self._handle_for(params, on_error), name)

    def predict(
        self,
        data: Any,
        timeout_s: float | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        on_error: str | None = None,
    ) -> Any:
        """Score local data through the same pool, without Spark.

        Args:
            data: A pandas DataFrame, a pyarrow Table or RecordBatch, a list of dicts, or a dict of columns, by name; a
                Series, an ndarray, or a list of tuples, by position.
            timeout_s: Deadline for each batch of 10,000 rows; the pool's `timeout_s` by default.
            params: Inference parameters for this call, over those of the registration.
            on_error: `fail`, `null` or `struct` for this call; as registered by default.

        Returns:
            One prediction for each row: a Series for pandas (a DataFrame if the prediction is a struct), a
            ChunkedArray for Arrow, an ndarray for an ndarray, a list for a list or dict.

        Raises:
            SparkModelError: with the condition that says why.
        """
        remote = RemoteModel(self._handle, self._version, self._spec.signature, self._spec.result_type)
        return remote.predict(data, timeout_s, params=params, on_error=on_error)

    def update(
        self,
        source: Any = None,
        *,
        load: Callable[[str], Any] | None = None,
        predict: Callable[..., Any] | None = None,
        progress: bool | None = None,
    ) -> Model:
        """Move the pool to a new version without a failed call.

        The new version is loaded and probed beside the old one; then callers are sent to it and the old one ends. If
        it cannot be loaded, the old one goes on and the error says why.

        Args:
            source: As in `sparkmodel.register`; None resolves the present one again, which follows an alias.
            load, predict: As in `sparkmodel.register`, for a directory or table that is no MLflow model.
            progress: None shows it on terminals only.

        Returns:
            This model, at the new version.

        Raises:
            ResultTypeChangedError: the new version's result type is not the registered function's.
        """
        if source is None:
            asked = asked_again(self._spec)
        else:
            asked = Asked(
                source=source,
                functions=as_functions(self.name, load, predict),
                spark=self._spark,
                trust_pickle=self._spec.options.trust_pickle,
            )
        with plan(self.name, asked, functools.partial(successor, self._spec)) as planned:
            serve(planned, moving=self._pool, progress=progress)
        follow.follow(self._pool)
        return self

    def rollback(self) -> Model:
        """Move the pool back to the version before. Twice goes forth again."""
        self._pool.rollback()
        follow.follow(self._pool)
        return self

    def stats(self) -> dict[str, Any]:
        """Counters since the workers' start: rows, batches, loads, seconds in the model, by pool and by worker."""
        return self._pool.stats()

    def describe(self) -> dict[str, Any]:
        """What is served, from where, with which columns and limits, and what the pool's nodes keep ready."""
        self.follow(*self._pool.spec(), self._pool.handle())
        spec = self._spec
        return {
            "name": self.name,
            "version": self._version,
            "source": spec.source.given,
            "resolved": spec.source.uri or spec.source.given,
            "kind": spec.source.kind,
            "inputs": None if spec.signature.inputs is None else [str(c) for c in spec.signature.inputs],
            "result_type": str(spec.result_type),
            "endpoints": [f"{host}:{port}" for host, port in self._handle.pool.directory.endpoints],
            "options": dataclasses.asdict(spec.options),
            "spares": self._pool.spares(),
        }

    def drop(self) -> None:
        """End the pool and take the function out of the session. Calling it twice does nothing."""
        self._pool.drop()
        if self._spark is not None:
            functions.drop_function(self._spark, self.name, self._handle.pool.pool_id)

    def _handle_for(self, params: Mapping[str, Any] | None, on_error: str | None) -> Handle:
        return for_call(self._handle, self._spec, params, on_error)

    def _udf(self, handle: Handle, given: arguments.Arguments) -> Column:
        function = functions.make_function(functions.in_session(self._spark, given.of(handle)))
        column: Column = function(*given.columns)
        return column

    def follow(self, spec: ModelSpec, version: int, handle: Handle) -> None:
        """Take what the pool serves now; whoever moves a pool in this process tells it."""
        self._spec, self._version, self._handle = spec, version, handle
