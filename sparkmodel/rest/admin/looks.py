# SPDX-License-Identifier: Apache-2.0
"""What can be looked at: models, one model, what has happened to it, and what is known of its errors."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from sparkmodel.errors import ModelNotFoundError, PoolGoneError, PoolNotReadyError
from sparkmodel.keeper import pools
from sparkmodel.keeper.pools import Pool
from sparkmodel.rest.admin.cards import card_of, details_of, iso, problem_of, without_values
from sparkmodel.rest.models import ask

Json = dict[str, Any]
_LOOKS = 16  # pools that are asked at a time


class Looks:
    """Answers questions, from threads."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_LOOKS, thread_name_prefix="sparkmodel-admin-card")

    def all(self, only: Container[str] | None = None) -> Json:
        """The cards of all models, or of some; those that go meanwhile, or still load, are left out."""
        found = self._threads.map(_look, [name for name in pools.names() if only is None or name in only])
        return {"models": [card for card in found if card is not None]}

    def one(self, name: str) -> Json:
        """All that is known of a model."""
        return ask(name, details_of)

    def events(self, name: str, changes: Iterable[Mapping[str, Any]]) -> Json:
        """What has happened to a model, newest first: changes, versions, deaths of workers, errors.

        Args:
            name: The model.
            changes: Of all models, through this gateway.
        """
        own = [one for one in list(changes) if one["model"] == name]

        def read(pool: Pool) -> Json:
            found = [*_of_changes(own), *_of_versions(pool.versions()), *_of_workers(pool.stats())]
            found.sort(key=lambda event: event["seconds"], reverse=True)
            return {"events": [{"time": iso(event.pop("seconds")), **event} for event in found]}

        return ask(name, read)

    def logs(self, name: str, lines: int) -> Json:
        """What is known of a model's errors: the last one with its details, and how workers ended, newest last.

        What models print is in Ray's log files on each node, which are not read here.
        """

        def read(pool: Pool) -> Json:
            stats = pool.stats()
            found = sorted(_of_workers(stats), key=lambda event: float(event["seconds"]))
            texts = [f"{iso(event['seconds'])} {event['kind']}: {event['text']}" for event in found]
            if error := stats.get("last_error"):
                texts += [str(error["message"]), *str(error.get("details") or "").splitlines()]
            return {"lines": texts[-lines:]}

        return ask(name, read)


def _look(name: str) -> Json | None:
    try:
        return card_of(pools.find(name))
    except (ModelNotFoundError, PoolGoneError, PoolNotReadyError):
        return None


def _event(seconds: float, kind: str, text: str) -> Json:
    return {"seconds": seconds, "kind": kind, "text": text}


def _of_changes(changes: Iterable[Mapping[str, Any]]) -> Iterator[Json]:
    for one in changes:
        yield _event(one["time"], "change", one["text"])


def _of_versions(versions: Iterable[Mapping[str, Any]]) -> Iterator[Json]:
    for one in versions:
        kind = "canary" if one["state"] in ("canary", "rolled back") else "version"
        note = f": {one['note']}" if one["note"] else ""
        text = f"version {one['version']} ({one['source']}) by {one['by']}"
        yield _event(_seconds(one["since"]), kind, f"{text} began")
        if one["state"] != "serving" and (until := one["until"] or note):
            at = _seconds(until) if one["until"] else _seconds(one["since"])
            yield _event(at, kind, f"{text} is {one['state']}{note}")


def _of_workers(stats: Mapping[str, Any]) -> Iterator[Json]:
    ends = [worker.get("last_end") for worker in stats["workers"]] + [stats.get("last_end")]
    for end in {(one["pid"], one["time"]): one for one in ends if one}.values():
        cause = f" ({end['cause']})" if end["cause"] else ""
        yield _event(end["time"], "worker", f"process {end['pid']}: {end['fact']}{cause}")
    if error := stats.get("last_error"):
        yield _event(error["time"], "error", without_values(str(error["message"])))
    if problem := problem_of(stats):
        yield _event(stats["restart_since"], "restart", f"a worker starts in vain {problem}")


def _seconds(iso_time: str) -> float:
    return datetime.fromisoformat(iso_time).timestamp()
