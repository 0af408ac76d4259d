# SPDX-License-Identifier: Apache-2.0
"""What a pool serves next: the same registration with another source, or with what its source means now."""

from __future__ import annotations

import dataclasses
from typing import Any

from sparkmodel.errors import InvalidOptionError, ResultTypeChangedError
from sparkmodel.loaders.environment import requirements_of
from sparkmodel.loaders.resolve import Resolved, resolve
from sparkmodel.schema import declare
from sparkmodel.spec import ModelSpec


def successor(spec: ModelSpec, source: Any = None) -> tuple[ModelSpec, Resolved]:
    """The spec with a newly resolved source, and what is to be shipped for it.

    Args:
        spec: What is served.
        source: As in `sparkmodel.register`, or resolved already; None resolves the present one again, which follows
            an alias.

    Raises:
        InvalidOptionError: the present source was an object or files that were shipped.
        ResultTypeChangedError: its result type is not the registered function's.
        SchemaMismatchError: its inputs are not those that were declared.
    """
    if source is None:
        if spec.source.kind in ("object", "directory", "code") or spec.source.shipped:
            raise InvalidOptionError(f"Cannot update model '{spec.name}'", "it was shipped", "pass the new one")
        source = spec.source.given
    resolved = source
    if not isinstance(resolved, Resolved):
        resolved = resolve(spec.name, source, trust_pickle=spec.options.trust_pickle)
    output = resolved.signature.output
    explicit = spec.signature.output != spec.result_type
    if output is not None and output != spec.result_type and not explicit:
        raise ResultTypeChangedError(
            f"Cannot update model '{spec.name}'",
            f"the new version gives {output}, the registered function {spec.result_type}",
            "register it with replace=True, or with an explicit result_type",
        )
    following = dataclasses.replace(
        spec,
        source=resolved.source,
        signature=declare(f"Cannot update model '{spec.name}'", resolved.signature, spec.declared),
        requirements=requirements_of(spec.name, resolved, spec.options.env_manager),
    )
    return following, resolved


def refreshed(spec: ModelSpec) -> tuple[ModelSpec, Resolved]:
    """The successor from what its source means now, as seen from a process that is not the driver's."""
    if spec.source.kind == "mlflow":
        from sparkmodel.loaders.mlflow_model import use_stores

        use_stores(spec.source)
    return successor(spec)
