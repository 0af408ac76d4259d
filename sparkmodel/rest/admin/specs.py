# SPDX-License-Identifier: Apache-2.0
"""The spec of what is registered over HTTP, made in a process apart: SQL's words for types need Spark's Python."""

from __future__ import annotations

import functools
from typing import Any

from sparkmodel.control.sql_options import Settings
from sparkmodel.errors import InvalidOptionError
from sparkmodel.loaders import Resolved
from sparkmodel.options import PoolOptions
from sparkmodel.registration.plan import Make, make_spec
from sparkmodel.registration.settle import Asked
from sparkmodel.rest.admin.fields import Fields
from sparkmodel.spec import ModelSpec


def spec_of(name: str, resolved: Resolved, options: PoolOptions, *, result_type: str | None, **more: Any) -> ModelSpec:
    """As `make_spec`, with the result type as DDL, which is read without a JVM."""
    from sparkmodel.control.columns import parse_output

    return make_spec(name, resolved, options, result_type=parse_output(result_type), **more)


def wanted_of(name: str, source: str, fields: Fields) -> tuple[Asked, Make]:
    """What is to be registered, as `plan` takes it.

    Raises:
        InvalidOptionError: an option is unknown or wrong, or given twice.
    """
    options = fields.mapping("options")
    given = fields.given("params", "result_type", "method", "model_config")
    if twice := sorted(options.keys() & given.keys()):
        raise InvalidOptionError(f"Cannot use option '{twice[0]}'", "it is given twice", "give it once")
    settings = Settings().with_options({**options, **given})
    make = functools.partial(
        spec_of,
        name,
        options=settings.pool,
        result_type=settings.result_type,
        params=settings.params,
        model_config=settings.model_config,
        method=settings.method,
    )
    return Asked(source=source, trust_pickle=settings.pool.trust_pickle), make
