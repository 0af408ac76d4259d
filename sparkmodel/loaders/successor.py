# SPDX-License-Identifier: Apache-2.0
"""What a pool serves next: the same registration with another source, or with what its source means now."""

from __future__ import annotations

import dataclasses

from sparkmodel.errors import InvalidOptionError, ResultTypeChangedError
from sparkmodel.loaders.environment import requirements_of
from sparkmodel.loaders.resolve import Resolved, resolve
from sparkmodel.loaders.stores import stores
from sparkmodel.schema import declare
from sparkmodel.spec import ModelSpec


def source_again(spec: ModelSpec) -> str:
    """The source of what is served, as it was given, to be resolved once more.

    Raises:
        InvalidOptionError: it was an object or files that were shipped.
    """
    if spec.source.kind in ("object", "directory", "code") or spec.source.shipped:
        raise InvalidOptionError(f"Cannot update model '{spec.name}'", "it was shipped", "pass the new one")
    return spec.source.given


def successor(spec: ModelSpec, resolved: Resolved) -> ModelSpec:
    """The spec with another source.

    Args:
        spec: What is served.
        resolved: The source of what is served next.

    Raises:
        ResultTypeChangedError: its result type is not the registered function's.
        SchemaMismatchError: its inputs are not those that were declared.
    """
    output = resolved.signature.output
    explicit = spec.signature.output != spec.result_type
    if output is not None and output != spec.result_type and not explicit:
        raise ResultTypeChangedError(
            f"Cannot update model '{spec.name}'",
            f"the new version gives {output}, the registered function {spec.result_type}",
            "register it with replace=True, or with an explicit result_type",
        )
    return dataclasses.replace(
        spec,
        source=resolved.source,
        signature=declare(f"Cannot update model '{spec.name}'", resolved.signature, spec.declared),
        requirements=requirements_of(spec.name, resolved, spec.options.env_manager),
    )


def refreshed(spec: ModelSpec) -> tuple[ModelSpec, Resolved]:
    """The successor from what its source means now, as seen from a process that is not the driver's.

    Pools of several stores are followed in one process, and MLflow knows one pair of stores at a time.
    """
    with stores(spec.source.tracking_uri, spec.source.registry_uri):
        resolved = resolve(spec.name, source_again(spec), trust_pickle=spec.options.trust_pickle)
        resolved = dataclasses.replace(resolved, source=dataclasses.replace(resolved.source, path=spec.source.path))
        return successor(spec, resolved), resolved
