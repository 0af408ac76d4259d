# SPDX-License-Identifier: Apache-2.0
"""After a pool has moved, what this process has that calls it is told.

Callers find the pool's new workers by themselves. But Spark keeps the results of a cached query by its plan, in which a
model is what its function was when the plan was made: a function that stays what it was gets the old version's values.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol
from weakref import WeakSet

from sparkmodel.keeper.pools import Pool
from sparkmodel.spark import functions, registered
from sparkmodel.spec import ModelSpec, answer_type
from sparkmodel.wire.client import client_of
from sparkmodel.wire.handle import Handle


class Follower(Protocol):
    """Whoever keeps a copy of what a pool serves."""

    @property
    def handle(self) -> Handle:
        """The pool as it was when it was last told."""

    def follow(self, spec: ModelSpec, version: int, handle: Handle) -> None:
        """Take what the pool serves now."""


_followers: WeakSet[Follower] = WeakSet()


def join(follower: Follower) -> None:
    """Have somebody told for as long as it lives."""
    _followers.add(follower)


def follow(pool: Pool) -> None:
    """Tell the functions of this process's sessions, and its models, what the pool serves now."""
    (spec, version), handle = pool.spec(), pool.handle()
    client_of(handle)  # it learns the way: who calls next, by whatever handle, goes to what serves now
    for follower in list(_followers):
        if follower.handle.pool.pool_id == handle.pool.pool_id:
            follower.follow(spec, version, handle)
    for spark, name, before in registered.of_pool(handle.pool.pool_id):
        functions.register_function(spark, _moved(before, handle, spec), name)


def _moved(before: Handle, now: Handle, spec: ModelSpec) -> Handle:
    """A function's handle with what it asks for itself, and all else of the pool as it is now."""
    asked = before.call
    return dataclasses.replace(
        now,
        contract=dataclasses.replace(
            now.contract, result_type=answer_type(spec.result_type, asked.on_error or spec.options.on_error)
        ),
        call=dataclasses.replace(asked, limits=now.call.limits),
    )
