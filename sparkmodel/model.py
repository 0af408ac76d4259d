# SPDX-License-Identifier: Apache-2.0
"""A registered model in the user's hands."""

from __future__ import annotations

import dataclasses
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession

from sparkmodel import frames
from sparkmodel.errors import InvalidOptionError, ResultTypeChangedError
from sparkmodel.loaders import resolve
from sparkmodel.pool.control import Pool
from sparkmodel.progress import DeployProgress
from sparkmodel.spark import functions
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.client import client_of


class Model:
    """A model that a pool serves: callable on columns, on data frames and on local data.

    Made by `sparkmodel.register` and `sparkmodel.get`.
    """

    def __init__(self, pool: Pool, spark: SparkSession | None = None) -> None:
        self._pool, self._spark = pool, spark
        self._spec, self._version = pool.spec()
        self._handle = pool.handle()
        self._function: Any = None
        self._what = f"Cannot score with '{pool.name}'"

    def __repr__(self) -> str:
        return (
            f"Model({self.name!r}, version {self._version}, {self._spec.source.given!r}, "
            f"{self._spec.signature}, {self._spec.options.workers} workers)"
        )

    @property
    def name(self) -> str:
        """Name of the pool and of the SQL function."""
        return self._pool.name

    @property
    def version(self) -> int:
        """Number of what the pool serves, counted from 1 by this object's last change."""
        return self._version

    def __call__(self, *columns: Column | str) -> Column:
        """The prediction as a column, for `select`, `withColumn`, `filter`.

        Args:
            *columns: Columns or names. Names that are the signature's are bound by name, others by position; a
                struct column is bound by its field names; one array column is taken as the feature vector.
        """
        if not columns:
            raise InvalidOptionError(
                f"Cannot call model '{self.name}'",
                "no columns were given",
                f"it takes {self._spec.signature}; Model.transform takes a whole frame",
            )
        return self._udf(*functions.as_arguments(columns, self._spec.signature))

    def transform(self, df: DataFrame, output_col: str = "prediction") -> DataFrame:
        """The frame with the prediction as one more column; its columns are bound by name."""
        return df.withColumn(output_col, self._udf(*functions.whole_row(df.columns, self._spec.signature)))

    def predict(self, data: Any, timeout_s: float | None = None) -> Any:
        """Score local data through the same pool, without Spark.

        Args:
            data: A pandas DataFrame, a pyarrow Table or RecordBatch, or a list of dicts.
            timeout_s: Deadline for each batch of 10,000 rows; the pool's `timeout_s` by default.

        Returns:
            One prediction for each row: a Series for pandas (a DataFrame if the prediction is a struct), a
            ChunkedArray for Arrow, a list for a list.

        Raises:
            SparkModelError: with the condition that says why.
        """
        table, by_name = frames.to_table(self._what, data)
        limit_s = self._handle.timeout_s if timeout_s is None else timeout_s
        chunks = client_of(self._handle).predict(frames.to_batches(table), by_name, limit_s)
        result = pa.chunked_array(list(chunks), self._handle.result_type)
        return frames.like_input(result, data)

    def update(self, source: Any = None, *, progress: bool | None = None) -> Model:
        """Move the pool to a new version without a failed call.

        The new version is loaded and probed beside the old one; then callers are sent to it and the old one ends. If
        it cannot be loaded, the old one goes on and the error says why.

        Args:
            source: As in `sparkmodel.register`; None resolves the present one again, which follows an alias.
            progress: None shows it on terminals only.

        Returns:
            This model, at the new version.

        Raises:
            ResultTypeChangedError: the new version's result type is not the registered function's.
        """
        if source is None:
            if self._spec.source.kind == "object":
                raise InvalidOptionError(
                    f"Cannot update model '{self.name}'", "it was shipped as an object", "pass the new one"
                )
            source = self._spec.source.given
        resolved = resolve(self.name, source, trust_pickle=self._spec.options.trust_pickle)
        output = resolved.signature.output
        explicit = self._spec.signature.output != self._spec.result_type
        if output is not None and output != self._spec.result_type and not explicit:
            raise ResultTypeChangedError(
                f"Cannot update model '{self.name}'",
                f"the new version gives {output}, the registered function {self._spec.result_type}",
                "register it with replace=True, or with an explicit result_type",
            )
        spec = dataclasses.replace(self._spec, source=resolved.source, signature=resolved.signature)
        return self._deploy(spec, resolved.payload, progress)

    def rollback(self) -> Model:
        """Move the pool back to the version before. Twice goes forth again."""
        self._pool.rollback()
        return self._refresh()

    def stats(self) -> dict[str, Any]:
        """Counters since the workers' start: rows, batches, loads, seconds in the model, by pool and by worker."""
        return self._pool.stats()

    def describe(self) -> dict[str, Any]:
        """What is served, from where, with which columns and limits."""
        self._refresh()
        spec = self._spec
        return {
            "name": self.name,
            "version": self._version,
            "source": spec.source.given,
            "resolved": spec.source.uri or spec.source.given,
            "kind": spec.source.kind,
            "inputs": None if spec.signature.inputs is None else [str(c) for c in spec.signature.inputs],
            "result_type": str(spec.result_type),
            "endpoints": [f"{host}:{port}" for host, port in self._handle.directory.endpoints],
            "options": dataclasses.asdict(spec.options),
        }

    def drop(self) -> None:
        """End the pool and take the function out of the session. Calling it twice does nothing."""
        self._pool.drop()
        if self._spark is not None:
            functions.drop_function(self._spark, self.name)

    def _udf(self, *arguments: Column) -> Column:
        if self._function is None:
            self._function = functions.make_function(self._handle)
        column: Column = self._function(*arguments)
        return column

    def _deploy(self, spec: ModelSpec, payload: bytes | None, progress: bool | None) -> Model:
        with DeployProgress(self.name, progress) as shown:
            self._pool.deploy(spec, payload, shown)
        return self._refresh()

    def _refresh(self) -> Model:
        self._spec, self._version = self._pool.spec()
        self._handle, self._function = self._pool.handle(), None
        return self
