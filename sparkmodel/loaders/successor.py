# SPDX-License-Identifier: Apache-2.0
"""What a pool serves next: the same registration with another source, or with what its source means now."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pyarrow as pa

from sparkmodel.errors import InputsChangedError, InvalidOptionError, ResultTypeChangedError
from sparkmodel.loaders.environment import requirements_of
from sparkmodel.loaders.resolve import Resolved, resolve
from sparkmodel.loaders.stores import stores
from sparkmodel.schema import changes_for_plans, declare, is_list
from sparkmodel.spec import ModelSpec


def source_again(spec: ModelSpec) -> str:
    """The source of what is served, as it was given, to be resolved once more.

    Raises:
        InvalidOptionError: it was an object or files that were shipped.
    """
    if spec.source.kind in ("object", "directory", "code") or spec.source.shipped:
        raise InvalidOptionError(f"Cannot update model '{spec.name}'", "it was shipped", "pass the new one")
    return spec.source.given


def successor(spec: ModelSpec, resolved: Resolved, allow_new_inputs: bool = False) -> ModelSpec:
    """The spec with another source.

    Args:
        spec: What is served.
        resolved: The source of what is served next.
        allow_new_inputs: Whether its inputs and its result may differ in a way that plans of before get wrong.

    Raises:
        ResultTypeChangedError: its result type is not the registered function's.
        InputsChangedError: plans of before would get its inputs wrong.
        SchemaMismatchError: its inputs are not those that were declared.
    """
    what, output = f"Cannot update model '{spec.name}'", resolved.signature.output
    own = spec.signature.output
    is_own = own is not None and as_spark_has_it(own) == spec.result_type  # nobody else said what the function returns
    result_type = spec.result_type if output is None or not is_own else as_spark_has_it(output)
    if result_type != spec.result_type and not allow_new_inputs:
        raise ResultTypeChangedError(
            what,
            f"the new version gives {output}, the registered function {spec.result_type}",
            "register it with replace=True, or with an explicit result_type; or pass allow_new_inputs=True: plans that "
            "are there stay with a version that suits them",
        )
    is_free = allow_new_inputs and resolved.signature.inputs is not None
    declared = None if is_free else spec.declared
    signature = declare(what, resolved.signature, declared)
    differences = changes_for_plans(spec.signature.inputs, signature.inputs, spec.result_type, spec.result_type)
    if differences and not allow_new_inputs:
        raise InputsChangedError(
            what,
            f"plans of before would get the new version wrong: {'; '.join(differences)}",
            "pass allow_new_inputs=True: new plans get it, those that are there stay with a version that suits them",
        )
    return dataclasses.replace(
        spec,
        source=resolved.source,
        signature=signature,
        result_type=result_type,
        declared=declared,
        requirements=_requirements(spec, resolved),
        example=resolved.example,
    )


def _requirements(spec: ModelSpec, resolved: Resolved) -> tuple[str, ...]:
    known = resolved.requirements.get(spec.options.env_manager)
    return requirements_of(spec.name, resolved, spec.options.env_manager) if known is None else known


_IN_SPARK: tuple[tuple[Callable[[pa.DataType], bool], pa.DataType], ...] = (
    (pa.types.is_uint8, pa.int16()),
    (pa.types.is_uint16, pa.int32()),
    (pa.types.is_uint32, pa.int64()),
    (pa.types.is_float16, pa.float32()),
    (pa.types.is_large_string, pa.string()),
    (pa.types.is_large_binary, pa.binary()),
    (pa.types.is_date64, pa.date32()),
    (pa.types.is_duration, pa.duration("us")),
)


def as_spark_has_it(type_: pa.DataType) -> pa.DataType:
    """The type of a result in Spark, which has no unsigned integers or 16-bit floats; at any depth."""
    if pa.types.is_struct(type_):
        return pa.struct([pa.field(f.name, as_spark_has_it(f.type), f.nullable) for f in type_])
    if pa.types.is_map(type_):
        return pa.map_(as_spark_has_it(type_.key_type), as_spark_has_it(type_.item_type))
    if is_list(type_):
        return pa.list_(as_spark_has_it(type_.value_type))
    if pa.types.is_timestamp(type_):
        return pa.timestamp("us", "UTC" if type_.tz else None)
    return next((spark for holds, spark in _IN_SPARK if holds(type_)), type_)


def refreshed(spec: ModelSpec) -> tuple[ModelSpec, Resolved]:
    """The successor from what its source means now, as seen from a process that is not the driver's.

    Pools of several stores are followed in one process, and MLflow knows one pair of stores at a time.
    """
    with stores(spec.source.tracking_uri, spec.source.registry_uri):
        resolved = resolve(spec.name, source_again(spec), trust_pickle=spec.options.trust_pickle)
        resolved = dataclasses.replace(resolved, source=dataclasses.replace(resolved.source, path=spec.source.path))
        return successor(spec, resolved), resolved
