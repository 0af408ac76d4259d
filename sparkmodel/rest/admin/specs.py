# SPDX-License-Identifier: Apache-2.0
"""The spec of what is registered over HTTP, made in a process apart: SQL's words for types need Spark's Python."""

from __future__ import annotations

from typing import Any

from sparkmodel.loaders import Resolved
from sparkmodel.options import PoolOptions
from sparkmodel.registration.plan import make_spec
from sparkmodel.spec import ModelSpec


def spec_of(name: str, resolved: Resolved, options: PoolOptions, *, result_type: str | None, **more: Any) -> ModelSpec:
    """As `make_spec`, with the result type as DDL, which is read without a JVM."""
    from sparkmodel.control.columns import parse_output

    return make_spec(name, resolved, options, result_type=parse_output(result_type), **more)
