# SPDX-License-Identifier: Apache-2.0
"""The changes: what `sparkmodel.register`, `Model.update` and the like do, for who calls over HTTP."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

from sparkmodel.keeper import pools
from sparkmodel.options import check_name, check_workers, parse_workers
from sparkmodel.pool.intents import Intent
from sparkmodel.registration.apart import plan_apart
from sparkmodel.registration.calls import check_version
from sparkmodel.registration.rollout import Rollout
from sparkmodel.registration.serve import again, find, move, serve
from sparkmodel.registration.settle import Asked, asked_again
from sparkmodel.rest.admin.cards import card_of
from sparkmodel.rest.admin.fields import Fields
from sparkmodel.rest.admin.sources import check_options, check_source
from sparkmodel.rest.admin.specs import wanted_of
from sparkmodel.rest.settings import Settings
from sparkmodel.spec import ModelSpec

Json = dict[str, Any]


class Actions:
    """Changes models, from threads; who runs them sees that there is one change of a model at a time.

    Args:
        settings: Of the gateway.
    """

    def __init__(self, settings: Settings) -> None:
        self._allowed = settings.allow_sources
        self._actions: Mapping[str, Callable[[str, Fields], Json]] = {
            "register": self.register,
            "update": self.update,
            "scale": self.scale,
            "rollback": self.rollback,
            "promote": self.promote,
            "drop": self.drop,
        }

    def run(self, action: str, name: str, fields: Fields) -> Json:
        """Make one change; returns the model's card after it.

        Raises:
            SparkModelError: it cannot be made; nothing has changed then.
        """
        return self._actions[action](name, fields)

    def register(self, name: str, fields: Fields) -> Json:
        """Serve a model under a name that nobody has."""
        check_name(name)
        source = check_source(name, fields.text("source"), self._allowed)
        check_options(fields.mapping("options"), self._allowed)
        asked, make = wanted_of(name, source, fields)
        if find(name) is not None:
            raise pools.name_taken(name)  # before anything is fetched
        with plan_apart(name, asked, make) as planned:
            return card_of(serve(planned, progress=False))

    def update(self, name: str, fields: Fields) -> Json:
        """Serve another source, or what the present one means now; with `traffic` as a canary."""
        pool, rollout = pools.find(name), Rollout.of(fields.rollout())
        source = fields.maybe_text("source")

        def asked(spec: ModelSpec) -> Asked:
            if source is None:
                new = asked_again(spec)
            else:
                new = Asked(source=check_source(name, source, self._allowed), trust_pickle=spec.options.trust_pickle)
            # from the stores that the model was registered from
            uris = spec.source.tracking_uri, spec.source.registry_uri
            return dataclasses.replace(new, tracking_uri=uris[0], registry_uri=uris[1])

        go = functools.partial(move, pool, asked, rollout=rollout, progress=False, planner=plan_apart)
        if source is None:  # rests on what is served, which somebody else may change meanwhile
            again(pool, lambda seen: go(expect=seen))
        else:
            go()
        return card_of(pool)

    def scale(self, name: str, fields: Fields) -> Json:
        """Have another number of workers: a number, or the least and the most."""
        workers = fields.given("workers").get("workers")
        if isinstance(workers, str):
            workers = parse_workers(workers) or workers
        wanted = check_workers(f"Cannot scale model '{name}'", workers)
        return self._changed(name, Intent(kind="size", workers=wanted))

    def rollback(self, name: str, fields: Fields) -> Json:
        """Serve the version before, or another that the pool still knows; end a canary."""
        return self._changed(name, Intent(kind="rollback", to=check_version(name, fields.given("to").get("to"))))

    def promote(self, name: str, fields: Fields) -> Json:
        """Give all new queries to the canary."""
        return self._changed(name, Intent(kind="promote"))

    def drop(self, name: str, fields: Fields) -> Json:
        """End the pool."""
        pools.find(name).drop()
        return {"name": name}

    def _changed(self, name: str, intent: Intent) -> Json:
        pool = pools.find(name)
        pool.change(intent)
        return card_of(pool)
