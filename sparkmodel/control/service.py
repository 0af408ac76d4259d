# SPDX-License-Identifier: Apache-2.0
"""The commands: what SQL's statements about models do."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any

from sparkmodel.control import changes
from sparkmodel.control.cards import card_of
from sparkmodel.control.catalog import Catalog
from sparkmodel.control.columns import parse_inputs, parse_output
from sparkmodel.control.locks import Locks
from sparkmodel.control.requests import Request
from sparkmodel.control.sources import asked_of
from sparkmodel.control.sql_options import Settings, rollout_of, settings_of
from sparkmodel.control.waiting import Watch
from sparkmodel.errors import (
    InvalidOptionError,
    ModelNotFoundError,
    PoolGoneError,
    PoolNotReadyError,
    ProtocolError,
    suggest,
)
from sparkmodel.keeper import connection, early, pools
from sparkmodel.options import check_name
from sparkmodel.registration.follow import follow
from sparkmodel.registration.plan import make_spec, plan
from sparkmodel.registration.serve import find, serve
from sparkmodel.spark.session import spares_of

Json = dict[str, Any]
_VERSION_IDLE_S = 600.0
_LOOKS = 16  # pools that are asked for their state at a time


class Service:
    """Runs commands, from many threads.

    Args:
        address: Ray cluster; None is RAY_ADDRESS, or a local Ray that starts with the first model.
        namespace: Ray namespace of the pools' names.
        spares: Processes that each node keeps ready; None is what this process's Spark is set to.
    """

    def __init__(
        self, address: str | None = None, namespace: str = connection.NAMESPACE, spares: int | None = None
    ) -> None:
        self._address, self._namespace = address, namespace
        spares = spares_of(None) if spares is None else spares
        if spares is not None:
            connection.prefer(spares)
        self._locks = Locks()
        self._catalog = Catalog(self._locks)
        self._commands: Mapping[str, Callable[[Request], Json]] = {
            "check": self.check,
            "create": self.create,
            "alter": self.alter,
            "drop": self.drop,
            "card": self.card,
            "list": self.list,
            "describe": self.describe,
            "versions": self.versions,
            "catalog/list": self.catalog_list,
            "catalog/card": self.catalog_card,
        }

    def run(self, command: str, fields: Mapping[str, Any], watch: Watch) -> Json:
        """Run one command.

        Raises:
            SparkModelError: it cannot be done, or there is no such command.
            AbandonedError: it was given up meanwhile.
        """
        method = self._commands.get(command)
        if method is None:
            raise ProtocolError(
                f"Cannot run command '{command}'", "there is no such command", suggest(command, self._commands)
            )
        return method(Request(command, fields, watch))

    def check(self, request: Request) -> Json:
        """Refuse what is wrong with the options of a statement, whatever model it is about; nothing is changed."""
        _settings(request)
        rollout_of(request.mapping("rollout"))
        Settings().without(request.texts("keys"))
        return {}

    def create(self, request: Request) -> Json:
        """Serve a model under a name, as `sparkmodel.register` does."""
        name = check_name(request.text("name"))
        if not connection.is_alone(self._address):
            connection.ensure(self._address, self._namespace)
            name = _spelled(name)
        settings, output, inputs = _settings(request), request.maybe_text("output"), request.maybe_text("inputs")
        make = functools.partial(
            make_spec,
            name,
            options=settings.pool,
            result_type=parse_output(output or settings.result_type),
            params=settings.params,
            model_config=settings.model_config,
            method=settings.method,
            time_zone=request.maybe_text("time_zone") or "UTC",
            inputs=parse_inputs(inputs),
            comment=request.maybe_text("comment") or "",
            statement=request.mapping("statement") or None,
        )
        with self._locks.of(name):
            is_alone = connection.is_alone(self._address)  # then there is no pool of any name
            wait_for_ray = early.begin(self._address, self._namespace)
            existing = None if is_alone else self._served(name)
            if existing is not None and request.flag("if_not_exists"):
                return card_of(existing)
            if existing is not None and not request.flag("replace"):
                raise pools.name_taken(name)  # before anything is fetched
            asked = asked_of(
                name,
                request.maybe_text("using"),
                request.maybe_text("location"),
                code=request.maybe_text("code"),
                pieces=request.maybe_text("pieces"),
                trust_pickle=settings.pool.trust_pickle,
            )
            with plan(name, asked, make) as planned:
                wait_for_ray()
                pool = serve(planned, moving=existing, progress=False, watch=request.watch)
            if existing is not None:
                follow(pool)
            return card_of(pool)

    def alter(self, request: Request) -> Json:
        """Change a model; its callers go on meanwhile. A second change of the same model waits for the first."""
        name, action = request.text("name"), request.text("action")
        actions: Mapping[str, Callable[[pools.Pool], None]] = {
            "location": lambda pool: changes.move(
                pool, request.text("location"), request.maybe_text("pieces"), rollout_of(request.mapping("rollout"))
            ),
            "options": lambda pool: changes.configure(pool, request.mapping("options")),
            "unset": lambda pool: changes.configure(pool, {}, request.texts("keys")),
            "scale": lambda pool: changes.scale(pool, request.workers("workers")),
            "refresh": changes.refresh,
            "promote": changes.promote,
            "rollback": lambda pool: changes.roll_back(pool, request.maybe_whole("to")),
        }
        if action not in actions:
            raise ProtocolError(f"Cannot alter model '{name}'", f"no such action: '{action}'", suggest(action, actions))
        with self._locks.of(name):
            pool = self._find(name)
            actions[action](pool)
            follow(pool)
            return card_of(pool)

    def drop(self, request: Request) -> Json:
        """End a pool; by force also one that is loading or moving, which may last as long as its model likes."""
        name = request.text("name")
        if request.flag("force"):
            self._find(name).drop()
        else:
            with self._locks.of(name):
                self._find(name).drop()
        return {"name": name}

    def card(self, request: Request) -> Json:
        """What calls of a model need to know; of one version of its registered model, if that is asked for."""
        version = request.maybe_whole("version")
        params = request.mapping("params") or None
        on_error, timeout_s = request.maybe_text("on_error"), request.maybe_number("timeout_s")

        def ask(pool: pools.Pool) -> Json:
            asked = pool if version is None else self._of_version(pool, version)
            return card_of(asked, params=params, on_error=on_error, timeout_s=timeout_s)

        return self._asked(request.text("name"), ask)

    def _of_version(self, pool: pools.Pool, version: int) -> pools.Pool:
        from sparkmodel.loaders.registry import Registry, model_of

        spec, _ = pool.spec()
        model = model_of(spec.source.given)
        if model is None:
            raise InvalidOptionError(
                f"Cannot call version {version} of model '{pool.name}'",
                f"'{spec.source.given}' is no registered model of MLflow",
                "leave the version out",
            )
        settings = dataclasses.replace(settings_of(spec), pool=dataclasses.replace(spec.options, refresh_s=None))
        registry = Registry(spec.source.tracking_uri or None, spec.source.registry_uri or None)
        card = self._catalog.card(
            registry, model, version=version, alias=None, settings=settings, idle_s=_VERSION_IDLE_S
        )
        return pools.find(str(card["name"]))

    def list(self, request: Request) -> Json:
        """All models, with their states; those that go meanwhile are left out."""
        if connection.is_alone(self._address):
            return {"models": []}
        connection.ensure(self._address, self._namespace)
        with ThreadPoolExecutor(_LOOKS) as threads:
            found = list(threads.map(_look, pools.names()))
        return {"models": [entry for entry in found if entry is not None]}

    def describe(self, request: Request) -> Json:
        """All that is known of a model."""

        def ask(pool: pools.Pool) -> Json:
            card, stats = card_of(pool), pool.stats()
            latency, last_error = stats.pop("latency"), stats.pop("last_error")
            stats.pop("figures", None)  # for metrics
            return {
                **card,
                **_problem(stats),
                "latency": latency,
                "last_error": last_error and {**last_error, "at": _iso(last_error["time"])},
                "stats": stats,
                "versions": pool.versions(),
            }

        return self._asked(request.text("name"), ask)

    def versions(self, request: Request) -> Json:
        """What a model served when, and whose wish it was; with the model's card, which says who may see it."""
        return self._asked(request.text("name"), lambda pool: {**card_of(pool), "versions": pool.versions()})

    def catalog_list(self, request: Request) -> Json:
        """All models of an MLflow registry."""
        from sparkmodel.loaders.registry import Registry

        registry = Registry(request.maybe_text("tracking_uri"), request.maybe_text("registry_uri"))
        return {"models": [dataclasses.asdict(entry) for entry in registry.entries()]}

    def catalog_card(self, request: Request) -> Json:
        """What calls of a model of an MLflow registry need to know; its pool is deployed if it is not there."""
        from sparkmodel.loaders.registry import Registry

        model, version, alias = request.text("model"), request.maybe_whole("version"), request.maybe_text("alias")
        if version is not None and alias is not None:
            raise ProtocolError(f"Cannot find model '{model}'", "a version and an alias were asked for", "give one")
        settings = Settings().with_options(request.mapping("options"))
        registry = Registry(request.maybe_text("tracking_uri"), request.maybe_text("registry_uri"))
        if connection.is_alone(self._address):
            registry.uri_of(model, version, alias)  # for a model that is not there no Ray is started
        connection.ensure(self._address, self._namespace)
        return self._catalog.card(
            registry, model, version=version, alias=alias, settings=settings, idle_s=request.number("idle_s")
        )

    def _served(self, name: str) -> pools.Pool | None:
        connection.ensure(self._address, self._namespace)
        return find(name)

    def _asked(self, name: str, ask: Callable[[pools.Pool], Json]) -> Json:
        try:
            return ask(self._find(name))
        except PoolGoneError:  # it was ended just now: there is none of that name, or another one already
            return ask(self._find(name))

    def _find(self, name: str) -> pools.Pool:
        if connection.is_alone(self._address):
            raise ModelNotFoundError(f"Cannot find model '{name}'", "there is no such model", suggest(name, ()))
        connection.ensure(self._address, self._namespace)
        return pools.find(_spelled(name))


def _settings(request: Request) -> Settings:
    settings = Settings().with_options(request.mapping("options"))
    if request.maybe_text("output") is not None and settings.result_type is not None:
        raise InvalidOptionError("Cannot use option 'result_type'", "the statement has an output", "give one")
    return settings


def _spelled(name: str) -> str:
    """The name as the pool that it means has it: SQL's names are the same in upper and lower case."""
    if find(name) is not None:
        return name
    alike = [other for other in pools.names() if other.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else name


def _look(name: str) -> Json | None:
    try:
        pool = pools.find(name)
        card, stats = card_of(pool), pool.stats()
    except (ModelNotFoundError, PoolGoneError, PoolNotReadyError):  # dropped meanwhile, or still loading
        return None
    # of a range, what there are now; an old version may still have some for queries that began with it
    running = sum(worker["answers"] and worker["version"] == stats["version"] for worker in stats["workers"])
    return {**card, **_problem(stats), "state": stats["state"], "rows": stats["rows"], "running": running}


def _problem(stats: Json) -> Json:
    """Why workers are missing, and since when: nothing if none starts in vain."""
    error, since = stats.get("restart_error"), stats.get("restart_since")
    if not error or since is None:
        return {}
    return {"problem": f"since {_iso(since)}, {stats['restart_attempts']} times: {error}"}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
