# SPDX-License-Identifier: Apache-2.0
"""A registered model in the user's hands."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession

from sparkmodel.keeper.pools import Pool
from sparkmodel.options import Workers, check_name, check_timeout, check_workers, workers_text
from sparkmodel.pool.intents import UNTIL_DONE, Intent
from sparkmodel.registration import follow
from sparkmodel.registration.calls import as_functions, check_version, for_call
from sparkmodel.registration.rollout import Rollout
from sparkmodel.registration.serve import again, move
from sparkmodel.registration.settle import Asked, asked_again
from sparkmodel.remote import RemoteModel
from sparkmodel.schema import Signature
from sparkmodel.spark import arguments, functions
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.addresses import spelled
from sparkmodel.wire.handle import Handle

_YEAR_S = 31_536_000.0
_CENTURY_S = 100 * _YEAR_S


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
        canary = self._canary()
        beside = "" if canary is None else f", canary {canary['version']} with {canary['traffic']:.3g} of the queries"
        return (
            f"Model({self.name!r}, version {self._version}{beside}, {self._spec.source.given!r}, "
            f"{self._spec.signature}, {workers_text(self._spec.options.workers)} workers)"
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

    def save_handle(self, path: str | os.PathLike[str], *, valid_s: float = _YEAR_S) -> None:
        """Write the pool's address and a key to it into a file, for Spark programs without Python (docs/bridge.md).

        The file lets whoever reads it call the model; only its owner can.

        Args:
            path: Of the file; a directory of such files is searched for names that end in `.handle`.
            valid_s: Seconds for which it lets in: no driver attends to such programs, so nothing renews it.

        Raises:
            InvalidOptionError: `valid_s` is no number of seconds above 0.
        """
        text = self._pool.handle(check_timeout(valid_s, _CENTURY_S, "valid_s")).to_text()
        with open(path, "w", encoding="ascii", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            os.fchmod(file.fileno(), 0o600)  # where the file was there before
            file.write(text + "\n")

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
            timeout_s: Deadline for each batch of 10,000 rows, in seconds; the pool's `timeout_s` by default.
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
        traffic: float | None = None,
        max_error_rate: float | None = None,
        keep_old: float | str = UNTIL_DONE,
        allow_new_inputs: bool = False,
        stop_first: bool = False,
        load: Callable[[str], Any] | None = None,
        predict: Callable[..., Any] | None = None,
        progress: bool | None = None,
    ) -> Model:
        """Move the pool to a new version without a failed call.

        The new version is loaded and probed beside the old one; then new queries get it, and the old one ends when the
        queries that began with it have ended. If it cannot be loaded, the old one goes on and the error says why.

        Args:
            source: As in `sparkmodel.register`; None resolves the present one again, which follows an alias.
            traffic: Share of the queries, 0 to 1, that the new version gets as a canary beside the old one, until
                `promote` or `rollback`; None is all.
            max_error_rate: Share of a canary's batches that may fail, before it is rolled back by itself.
            keep_old: How long queries that have begun may keep the old version: seconds, or `until_done`.
            allow_new_inputs: Take a version whose inputs or result plans of before would get wrong: what is made from
                now on has its signature, what was made before stays with a version that suits it.
            stop_first: End the old version's workers before the new one's start, where memory does not hold both:
                calls wait meanwhile, and queries that have begun fail.
            load, predict: As in `sparkmodel.register`, for a directory or table that is no MLflow model.
            progress: None shows it on terminals only.

        Returns:
            This model, at the new version; with `traffic`, at the old one.

        Raises:
            ResultTypeChangedError: the new version's result type is not the registered function's.
            InputsChangedError: plans of before would get the new version's inputs wrong.
            InvalidOptionError: an option is out of range, or two do not go together.
        """
        rollout = Rollout(
            traffic=traffic,
            max_error_rate=max_error_rate,
            keep_old=keep_old,
            allow_new_inputs=allow_new_inputs,
            stop_first=stop_first,
        )
        made = as_functions(self.name, load, predict)

        def asked(spec: ModelSpec) -> Asked:
            if source is None:
                return asked_again(spec)
            trusted = spec.options.trust_pickle
            return Asked(source=source, functions=made, spark=self._spark, trust_pickle=trusted)

        if source is None:  # rests on what is served, which somebody else may change meanwhile
            again(self._pool, lambda seen: move(self._pool, asked, rollout=rollout, expect=seen, progress=progress))
        else:
            move(self._pool, asked, rollout=rollout, progress=progress)
        return self._changed()

    def scale(self, workers: Workers) -> Model:
        """Have another number of workers: what is missing starts, what is too many ends when its batches are done.

        Args:
            workers: A number, or the least and the most, as `(min, max)`; see the option `workers`.

        Raises:
            InvalidOptionError: a pool cannot have so many.
            PoolNotPlacedError: the cluster has no room for them; the pool is as it was.
        """
        wanted = check_workers(f"Cannot scale model '{self.name}'", workers)
        self._pool.change(Intent(kind="size", workers=wanted))
        return self._changed()

    def promote(self) -> Model:
        """Give all new queries to the canary: it is what the pool serves from now on.

        Raises:
            InvalidOptionError: there is no canary.
        """
        self._pool.change(Intent(kind="promote"))
        return self._changed()

    def rollback(self, to: int | None = None) -> Model:
        """Move the pool back to the version before; twice goes forth again. With a canary, end that one.

        Args:
            to: The version to go back to, of those that `versions` tells and the pool still knows.

        Raises:
            NoPreviousVersionError: the pool has served one version only.
            VersionRetiredError: there is no such version, or it cannot be started again.
            InvalidOptionError: `to` is no version's number.
        """
        self._pool.change(Intent(kind="rollback", to=check_version(self.name, to)))
        return self._changed()

    def versions(self) -> list[dict[str, Any]]:
        """What served when, oldest first, and whose wish it was.

        Returns:
            For each version: `version`, `state` (`serving`, `canary`, `old`, `rolled back`, `failed`), `source` and
            what it `resolved` to, `by` whom and since when (ISO 8601, UTC) until when, `weight` among new queries,
            `workers`, `rows`, `batches`, `errors`, `error_rate`, `latency` in seconds.
        """
        return self._pool.versions()

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
            "canary": self._canary(),
            "source": spec.source.given,
            "resolved": spec.source.uri or spec.source.given,
            "kind": spec.source.kind,
            "inputs": None if spec.signature.inputs is None else [str(c) for c in spec.signature.inputs],
            "result_type": str(spec.result_type),
            "endpoints": [spelled(*endpoint) for endpoint in self._handle.pool.directory.endpoints],
            "options": dataclasses.asdict(spec.options),
            "spares": self._pool.spares(),
        }

    def drop(self) -> None:
        """End the pool and take the function out of the session. Calling it twice does nothing."""
        self._pool.drop()
        if self._spark is not None:
            functions.drop_function(self._spark, self.name, self._handle.pool.pool_id)

    def _changed(self) -> Model:
        follow.follow(self._pool)
        return self

    def _canary(self) -> dict[str, Any] | None:
        """The version that gets a share of the queries, as this object last saw it."""
        directory = self._handle.pool.directory
        beside = (served for served in directory.served if served.version != directory.version and served.weight > 0)
        return next(({"version": served.version, "traffic": served.weight} for served in beside), None)

    def _handle_for(self, params: Mapping[str, Any] | None, on_error: str | None) -> Handle:
        return for_call(self._handle, self._spec, params, on_error)

    def _udf(self, handle: Handle, given: arguments.Arguments) -> Column:
        function = functions.make_function(functions.in_session(self._spark, given.of(handle)))
        column: Column = function(*given.columns)
        return column

    def follow(self, spec: ModelSpec, version: int, handle: Handle) -> None:
        """Take what the pool serves now; whoever moves a pool in this process tells it."""
        self._spec, self._version, self._handle = spec, version, handle
