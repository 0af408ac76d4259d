# SPDX-License-Identifier: Apache-2.0
"""`ALTER MODEL`: a pool moves to the next generation while its callers go on."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from sparkmodel.control.cards import settings_of
from sparkmodel.control.sources import asked_of, using_of
from sparkmodel.control.sql_options import Settings
from sparkmodel.errors import InvalidOptionError, ResultTypeChangedError
from sparkmodel.keeper.pools import Pool
from sparkmodel.loaders import Resolved
from sparkmodel.loaders.environment import requirements_of
from sparkmodel.loaders.stores import stores
from sparkmodel.loaders.successor import successor
from sparkmodel.registration.calls import check_params
from sparkmodel.registration.plan import check_follows, plan
from sparkmodel.registration.serve import serve
from sparkmodel.registration.settle import Asked, asked_again
from sparkmodel.spec import ModelSpec, answer_type

_CREATE = "CREATE OR REPLACE MODEL changes it"
_FOR_LIFE = ("tls", "detached")


def move(pool: Pool, location: str, pieces: str | None) -> None:
    """Serve what is at another location, of the kind that is served."""
    spec, _ = pool.spec()
    using, trusted = using_of(spec.source), spec.options.trust_pickle
    asked = asked_of(spec.name, using, location, pieces=pieces, trust_pickle=trusted)

    def make(resolved: Resolved) -> ModelSpec:
        following = successor(spec, resolved)
        check_follows(following.options, following.source)
        return following

    with plan(spec.name, _in_its_stores(spec, asked), make) as planned:
        serve(planned, moving=pool, progress=False)


def refresh(pool: Pool) -> None:
    """Serve what the source means now, as `Model.update()` does."""
    spec, _ = pool.spec()
    asked = _in_its_stores(spec, asked_again(spec))
    with plan(spec.name, asked, functools.partial(successor, spec)) as planned:
        serve(planned, moving=pool, progress=False)


def configure(pool: Pool, options: Mapping[str, Any], unset: Sequence[str] = ()) -> None:
    """Serve the same model with other options: those that are given, and the defaults of those that are unset.

    Raises:
        InvalidOptionError: an unknown one, or one that a pool keeps for life.
        ResultTypeChangedError: it would change the type of the registered function.
    """
    spec, _ = pool.spec()
    before = settings_of(spec)
    after = before.without(unset).with_options(options)
    _check(spec, after)
    changes: dict[str, Any] = {
        "options": after.pool,
        "params": after.params,
        "model_config": after.model_config,
        "method": after.method,
    }
    if after.pool.env_manager != before.pool.env_manager:
        changes["requirements"] = _requirements(spec, after.pool.env_manager)
    pool.reconfigure(changes)


def _check(spec: ModelSpec, after: Settings) -> None:
    what = f"Cannot alter model '{spec.name}'"
    for key in _FOR_LIFE:
        if getattr(after.pool, key) != getattr(spec.options, key):
            raise InvalidOptionError(what, f"option '{key}' is settled when the model is created", _CREATE)
    is_same = answer_type(spec.result_type, after.pool.on_error) == answer_type(spec.result_type, spec.options.on_error)
    if after.result_type is not None or after.method != spec.method or not is_same:
        key = "on_error" if not is_same else "method" if after.method != spec.method else "result_type"
        raise ResultTypeChangedError(what, f"option '{key}' makes the registered function another one", _CREATE)
    check_follows(after.pool, spec.source)
    check_params(spec.name, after.params, spec.signature)


def _requirements(spec: ModelSpec, env_manager: str) -> tuple[str, ...]:
    if spec.source.shipped and env_manager != "local":
        raise InvalidOptionError(
            f"Cannot alter model '{spec.name}'", "its files are not at hand to read their requirements", _CREATE
        )
    with stores(spec.source.tracking_uri, spec.source.registry_uri):
        return requirements_of(spec.name, Resolved(spec.source, spec.signature), env_manager)


def _in_its_stores(spec: ModelSpec, asked: Asked) -> Asked:
    """With the stores that the model was registered from, whatever this process has now."""
    return dataclasses.replace(asked, tracking_uri=spec.source.tracking_uri, registry_uri=spec.source.registry_uri)
