# SPDX-License-Identifier: Apache-2.0
"""Models that are registered as a gateway starts, by whoever starts it: any source that needs no Spark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparkmodel.options import check_name
from sparkmodel.registration.apart import plan_apart
from sparkmodel.registration.serve import find, serve
from sparkmodel.rest.admin.fields import Fields
from sparkmodel.rest.admin.specs import wanted_of


def register(name: str, source: str, more: Mapping[str, Any]) -> None:
    """Serve a model, unless one of that name is served; shows how far it is on terminals.

    Args:
        name: The model's name.
        source: Where it is.
        more: Other fields of the body of a registration.

    Raises:
        SparkModelError: it cannot be served.
    """
    if find(check_name(name)) is not None:
        return
    asked, make = wanted_of(name, source, Fields("register", more))
    with plan_apart(name, asked, make) as planned:
        serve(planned)
