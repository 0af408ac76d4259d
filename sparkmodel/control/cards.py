# SPDX-License-Identifier: Apache-2.0
"""What is told about a pool: enough to call it, and to describe it."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from sparkmodel.control.sql_options import settings_of
from sparkmodel.errors import UnsupportedTypeError
from sparkmodel.keeper.pools import Pool
from sparkmodel.options import workers_text
from sparkmodel.registration.calls import for_call
from sparkmodel.schema import Column
from sparkmodel.spark.ddl import to_ddl
from sparkmodel.spark.functions import pickled
from sparkmodel.spark.types import to_spark


def card_of(
    pool: Pool,
    *,
    params: Mapping[str, Any] | None = None,
    on_error: str | None = None,
    timeout_s: float | None = None,
) -> dict[str, Any]:
    """A pool in JSON-ready parts.

    Args:
        pool: The pool.
        params: Inference parameters that its function is called with.
        on_error: `fail`, `null` or `struct`, where the function has its own.
        timeout_s: Deadline of each batch.

    Raises:
        InvalidOptionError: the model has no such param.
    """
    spec, version = pool.spec()
    workers = spec.options.workers
    inputs = spec.signature.inputs
    handle = for_call(pool.handle(), spec, params, on_error, timeout_s).calling(source="sql")
    return {
        "name": spec.name,
        "handle": handle.to_text(),
        # the function as a Python session would have it, for queries that do not go over the bridge
        "command": base64.b64encode(pickled(handle)).decode("ascii"),
        "python": os.environ.get("PYSPARK_PYTHON", sys.executable),
        "python_version": "%d.%d" % sys.version_info[:2],
        "version": version,
        "kind": spec.source.kind,
        "source": spec.source.given,
        "resolved": spec.source.uri or spec.source.given,
        "comment": spec.comment,
        "statement": spec.statement,
        "signature": str(spec.signature),
        "inputs": None if inputs is None else [_input(column) for column in inputs],
        "result_type": _ddl(handle.contract.result_type),
        "options": settings_of(spec).non_default(),
        "workers": workers if isinstance(workers, int) else workers_text(workers),
    }


def _input(column: Column) -> dict[str, Any]:
    type_ = column.row_type
    return {
        "name": column.name,
        "type": None if type_ is None else _ddl(type_),
        "required": column.required,
    }


def _ddl(type_: pa.DataType) -> str | None:
    try:
        return to_ddl(to_spark(type_))
    except UnsupportedTypeError:  # of an input that only Python callers can give
        return None
