# SPDX-License-Identifier: Apache-2.0
"""Models that are registered as a gateway starts, by whoever starts it: any source that needs no Spark."""

from __future__ import annotations

import functools

from sparkmodel.options import PoolOptions, check_name
from sparkmodel.registration.apart import plan_apart
from sparkmodel.registration.serve import find, serve
from sparkmodel.registration.settle import Asked
from sparkmodel.rest.admin.specs import spec_of


def register(name: str, source: str) -> None:
    """Serve a model with the default options, unless one of that name is served; shows how far it is on terminals.

    Raises:
        SparkModelError: it cannot be served.
    """
    if find(check_name(name)) is not None:
        return
    make = functools.partial(spec_of, name, options=PoolOptions(), result_type=None)
    with plan_apart(name, Asked(source=source), make) as planned:
        serve(planned)
