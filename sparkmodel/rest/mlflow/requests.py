# SPDX-License-Identifier: Apache-2.0
"""From the body of a request to the rows it asks for, and from predictions to the body of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparkmodel.rest import strict, values
from sparkmodel.rest.asked import Asked, Scored, Served
from sparkmodel.rest.mlflow.columns import table_of
from sparkmodel.rest.mlflow.files import table_of_csv, table_of_parquet
from sparkmodel.rest.mlflow.forms import is_chat, read_form
from sparkmodel.rest.mlflow.media import CSV, PARQUET
from sparkmodel.rest.settings import Settings
from sparkmodel.spec import ModelSpec

_LONG_BYTES = 1 << 16


def is_long(body: bytes) -> bool:
    """Whether to read it would hold up the event loop."""
    return len(body) > _LONG_BYTES


def read(served: Served, kind: str, body: bytes, settings: Settings, version: int | None) -> tuple[Asked, bool]:
    """The rows of a request, and whether its answer has no `predictions` around it.

    Raises:
        SparkModelError: with the condition that says why not.
    """
    spec, params, is_llm = served.spec, None, False
    if kind == CSV:
        table, by_name = table_of_csv(spec, body)
    elif kind == PARQUET:
        table, by_name = table_of_parquet(spec, body, settings)
    else:
        request = read_form(spec, strict.loads(body, settings))
        params, is_llm = _known(spec, request.params), request.is_llm
        table, by_name = table_of(spec, request.columns)
    return Asked(table=table, by_name=by_name, params=params, version=version), is_llm


def reply(served: Served, scored: Scored, is_llm: bool, settings: Settings) -> bytes:
    """The body of an answer: records of a struct, values of all else."""
    spec = served.spec
    rows = values.ready(scored.values, spec.time_zone)
    name = spec.signature.output_name
    if name is not None and spec.method is None and scored.values.type == spec.signature.output:
        rows = [{name: row} for row in rows]  # a data frame of one column, or a series with a name
    if is_llm:
        return values.dumps(rows[0] if is_chat(spec) and rows else rows, settings.nan)
    return values.dumps({"predictions": rows}, settings.nan)


def _known(spec: ModelSpec, params: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Those that the model has; MLflow ignores the others."""
    known = spec.signature.params
    return {key: value for key, value in params.items() if known is None or key in known} or None
