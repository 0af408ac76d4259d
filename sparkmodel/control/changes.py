# SPDX-License-Identifier: Apache-2.0
"""`ALTER MODEL`: a pool changes while its callers go on. A change is told as it was said, not as what comes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from sparkmodel.control.sources import asked_of, using_of
from sparkmodel.control.sql_options import Settings, said, settings_of
from sparkmodel.errors import InvalidOptionError, ResultTypeChangedError
from sparkmodel.keeper.pools import Pool
from sparkmodel.loaders import Resolved
from sparkmodel.loaders.environment import requirements_of
from sparkmodel.loaders.stores import stores
from sparkmodel.options import FOR_LIFE, Workers, check_workers
from sparkmodel.pool.intents import Applied, Intent
from sparkmodel.registration import serve
from sparkmodel.registration.calls import check_params, check_version
from sparkmodel.registration.plan import check_follows
from sparkmodel.registration.rollout import Rollout
from sparkmodel.registration.settle import Asked, asked_again
from sparkmodel.spec import ModelSpec, answer_type
from sparkmodel.wire.directory import Revision

_CREATE = "CREATE OR REPLACE MODEL changes it"


def move(pool: Pool, location: str, pieces: str | None, rollout: Rollout) -> None:
    """Serve what is at another location, of the kind that is served."""

    def asked(spec: ModelSpec) -> Asked:
        using, trusted = using_of(spec.source), spec.options.trust_pickle
        return _in_its_stores(spec, asked_of(spec.name, using, location, pieces=pieces, trust_pickle=trusted))

    serve.move(pool, asked, rollout=rollout, progress=False)


def refresh(pool: Pool) -> None:
    """Serve what the source means now, as `Model.update()` does."""

    def asked(spec: ModelSpec) -> Asked:
        return _in_its_stores(spec, asked_again(spec))

    serve.again(pool, lambda seen: serve.move(pool, asked, expect=seen, progress=False))


def configure(pool: Pool, options: Mapping[str, Any], unset: Sequence[str] = ()) -> None:
    """Serve the same model with other options: those that are given, and the defaults of those that are unset.

    Raises:
        InvalidOptionError: an unknown one, or one that a pool keeps for life.
        ResultTypeChangedError: it would change the type of the registered function.
    """
    keys = said([*unset, *options])

    def change(seen: Revision) -> Applied:
        spec, _ = pool.spec()
        before = settings_of(spec)
        after = before.without(unset).with_options(options)
        _check(spec, after)
        fields = {key: getattr(after, key) for key in keys if key in _FIELDS}
        if after.pool.env_manager != before.pool.env_manager:
            fields["requirements"] = _requirements(spec, after.pool.env_manager)
        values = {key: getattr(after.pool, key) for key in keys if hasattr(after.pool, key)}
        # of a mapping, entries were said, and of requirements nothing: what comes of these rests on what was read
        rests = "requirements" in fields or any(keys.values())
        return pool.change(Intent(kind="options", options=values, fields=fields, expect=seen if rests else None))

    serve.again(pool, change)


def scale(pool: Pool, workers: Workers) -> None:
    """Have another number of workers."""
    pool.change(Intent(kind="size", workers=check_workers(f"Cannot scale model '{pool.name}'", workers)))


def promote(pool: Pool) -> None:
    """Give all new queries to the canary."""
    pool.change(Intent(kind="promote"))


def roll_back(pool: Pool, to: int | None) -> None:
    """Serve the version before, or another one that the pool still knows; end a canary."""
    pool.change(Intent(kind="rollback", to=check_version(pool.name, to)))


_FIELDS = ("params", "model_config", "method")


def _check(spec: ModelSpec, after: Settings) -> None:
    what = f"Cannot alter model '{spec.name}'"
    for key in sorted(FOR_LIFE):
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
