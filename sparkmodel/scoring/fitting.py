# SPDX-License-Identifier: Apache-2.0
"""A caller's column in the type that the signature has for it."""

from __future__ import annotations

import functools

import pyarrow as pa

from sparkmodel.binding import Field
from sparkmodel.errors import SchemaMismatchError
from sparkmodel.schema import is_list
from sparkmodel.scoring.casts import cast


def fit(what: str, array: pa.Array, field: Field, time_zone: str = "UTC") -> pa.Array:
    """The column as its field wants it; as it is where the field takes any type.

    Args:
        what: The action for an error.
        array: The column.
        field: The model's input.
        time_zone: The session's, in which instants are seen.

    Raises:
        SchemaMismatchError: a value does not fit without loss.
    """
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    wanted = _in_objects(array.type if field.type is None else _for_given(array.type, field.type, time_zone))
    if array.type == wanted:
        return array
    try:
        return _cast(array, wanted, _zone_in(array.type) or time_zone)
    except (pa.ArrowException, ValueError, TypeError) as error:
        type_ = field.type or wanted
        raise SchemaMismatchError(what, f"column '{field.name}' does not fit {type_}: {error}") from error


def _zone_in(type_: pa.DataType) -> str | None:
    """The zone of instants in a type: Spark marks them with the session's."""
    if pa.types.is_timestamp(type_):
        return str(type_.tz) if type_.tz else None
    inside = [type_.field(i).type for i in range(type_.num_fields)]
    return next((zone for zone in map(_zone_in, inside) if zone), None)


def _cast(array: pa.Array, wanted: pa.DataType, time_zone: str) -> pa.Array:
    try:
        return cast(array, wanted, time_zone)
    except (pa.ArrowException, ValueError, TypeError):
        wider = _in_microseconds(wanted)
        if wider == wanted:
            raise
    # an MLflow datetime is pandas' with nanoseconds, which has no year 9999
    return cast(array, wider, time_zone)


@functools.lru_cache(maxsize=256)
def _for_given(given: pa.DataType, wanted: pa.DataType, time_zone: str) -> pa.DataType:
    """What to make of `given`: `wanted` without what may be left out and is, and instants in the caller's zone."""
    if pa.types.is_dictionary(given):
        given = given.value_type
    if pa.types.is_timestamp(wanted) and wanted.tz:
        zone = given.tz if pa.types.is_timestamp(given) and given.tz else time_zone
        return pa.timestamp(wanted.unit, zone)
    if pa.types.is_struct(wanted) and pa.types.is_struct(given):
        there = [field for field in wanted if given.get_field_index(field.name) >= 0 or not field.nullable]
        return pa.struct([(f.name, _for_given(_type_of(given, f.name), f.type, time_zone)) for f in there])
    if is_list(wanted) and is_list(given):
        return pa.list_(_for_given(given.value_type, wanted.value_type, time_zone))
    if pa.types.is_map(wanted) and pa.types.is_map(given):
        return pa.map_(wanted.key_type, _for_given(given.item_type, wanted.item_type, time_zone))
    return wanted


def _in_objects(type_: pa.DataType, within: bool = False) -> pa.DataType:
    """The type without nanoseconds in structs and maps, where Arrow makes whole numbers of them for pandas."""
    if pa.types.is_timestamp(type_) and within:
        return _in_microseconds(type_)
    if is_list(type_):
        inner = _in_objects(type_.value_type, within)
        return type_ if inner == type_.value_type else pa.list_(inner)
    if pa.types.is_struct(type_):
        fields = [field.with_type(_in_objects(field.type, True)) for field in type_]
        return type_ if fields == list(type_) else pa.struct(fields)
    if pa.types.is_map(type_):
        key, item = _in_objects(type_.key_type, True), _in_objects(type_.item_type, True)
        return type_ if (key, item) == (type_.key_type, type_.item_type) else pa.map_(key, item)
    return type_


def _type_of(struct: pa.StructType, name: str) -> pa.DataType:
    return struct.field(name).type if struct.get_field_index(name) >= 0 else pa.null()


def _in_microseconds(type_: pa.DataType) -> pa.DataType:
    """The type with microseconds in place of nanoseconds."""
    if pa.types.is_timestamp(type_) and type_.unit == "ns":
        return pa.timestamp("us", type_.tz)
    if pa.types.is_struct(type_):
        return pa.struct([(field.name, _in_microseconds(field.type)) for field in type_])
    if is_list(type_):
        return pa.list_(_in_microseconds(type_.value_type))
    if pa.types.is_map(type_):
        return pa.map_(type_.key_type, _in_microseconds(type_.item_type))
    return type_
