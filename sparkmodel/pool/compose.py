# SPDX-License-Identifier: Apache-2.0
"""The next spec, from what is wanted and what is served. Only the master does this, of what it serves itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sparkmodel.errors import InvalidOptionError
from sparkmodel.loaders.successor import successor
from sparkmodel.options import FOR_LIFE, LIVE, PoolOptions
from sparkmodel.pool.intents import Intent
from sparkmodel.spec import ModelSpec

_WORDS = frozenset({"comment", "statement"})  # fields of a spec that change nothing that is served


@dataclasses.dataclass(frozen=True)
class Next:
    """What is to be served.

    Attributes:
        spec: The whole of it.
        reloads: Whether workers have to load a model for it.
        is_new: Whether its source is another: what was shipped for the one before is not for this one.
        is_whole: Whether it is a spec that its user wrote whole.
    """

    spec: ModelSpec
    reloads: bool
    is_new: bool = False
    is_whole: bool = False


def compose(intent: Intent, current: ModelSpec | None) -> Next:
    """The next spec.

    Args:
        intent: `replace`, `source`, `follow`, `options` or `size`.
        current: What is served; None before the first version.

    Raises:
        InvalidOptionError: an option or field is unknown or out of range, or cannot change.
        ResultTypeChangedError, SchemaMismatchError: the source does not fit the registration.
    """
    if intent.kind == "replace":
        assert intent.spec is not None
        _check_fixed(intent.spec.options, current)
        return Next(intent.spec, reloads=True, is_new=True, is_whole=True)
    assert current is not None
    if intent.kind in ("source", "follow"):
        assert intent.source is not None
        return Next(successor(current, intent.source, intent.allow_new_inputs), reloads=True, is_new=True)
    options = dict(intent.options) if intent.kind == "options" else {"workers": intent.workers}
    fields = dict(intent.fields) if intent.kind == "options" else {}
    spec = _with(current, options, fields)
    changed = {key for key, value in options.items() if getattr(current.options, key) != value}
    others = {key for key, value in fields.items() if getattr(current, key) != value}
    return Next(spec, reloads=bool(changed - LIVE or others - _WORDS))


def with_limits(spec: ModelSpec, options: PoolOptions) -> ModelSpec:
    """A spec with the limits, and the size, of others' options."""
    return dataclasses.replace(spec, options=dataclasses.replace(spec.options, **limits_of(options)))


def limits_of(options: PoolOptions) -> dict[str, Any]:
    """The options that belong to the pool, whichever version it serves."""
    return {field.name: getattr(options, field.name) for field in dataclasses.fields(options) if field.name in LIVE}


def _with(current: ModelSpec, options: Mapping[str, Any], fields: Mapping[str, Any]) -> ModelSpec:
    known = {field.name for field in dataclasses.fields(ModelSpec)} - {"name", "options", "source"}
    for key in fields:
        if key not in known:
            raise InvalidOptionError(f"Cannot change model '{current.name}'", f"'{key}' is no part of it that changes")
    had = {field.name: getattr(current.options, field.name) for field in dataclasses.fields(PoolOptions)}
    merged = PoolOptions.of({**had, **options})
    _check_fixed(merged, current)
    return dataclasses.replace(current, options=merged, **fields)


def _check_fixed(options: PoolOptions, current: ModelSpec | None) -> None:
    if current is None:
        return
    for key in sorted(FOR_LIFE):
        was, would_be = getattr(current.options, key), getattr(options, key)
        if was != would_be:
            raise InvalidOptionError(
                f"Cannot change option '{key}'",
                f"the pool of model '{current.name}' has {was} for life, {would_be} was asked",
                "call sm.unregister first",
            )
