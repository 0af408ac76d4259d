# SPDX-License-Identifier: Apache-2.0
"""Metrics of all pools from a process without a gateway, such as a driver."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from wsgiref.simple_server import WSGIServer

import prometheus_client
from prometheus_client.core import CollectorRegistry, Metric

from sparkmodel.keeper import pools
from sparkmodel.metrics.families import families
from sparkmodel.metrics.pools import Pools, Reader


class PoolCollector:
    """Collects the metrics of all pools of this process's Ray namespace when it is asked for them.

    `registry.register(PoolCollector())` adds them to a registry of your own.
    """

    def __init__(self, source: Callable[[], Pools] = lambda: pools) -> None:
        self._reader = Reader(source)

    def describe(self) -> Iterable[Metric]:
        """Their names; asks nobody."""
        return families({})

    def collect(self) -> Iterable[Metric]:
        """What pools tell now."""
        return families(self._reader.read())

    def close(self) -> None:
        """End what it asks with."""
        self._reader.close()


def start_http_server(port: int, host: str = "127.0.0.1") -> tuple[WSGIServer, threading.Thread]:
    """Serve `/metrics` of all pools from this process, until it ends.

    Nobody has to show a token: bind another address than loopback only where all who reach it may read.

    Args:
        port: Port to bind; 0 takes a free one.
        host: Address to bind.

    Returns:
        The server, whose `shutdown()` ends it, and its thread.
    """
    registry = CollectorRegistry()
    registry.register(PoolCollector())
    return prometheus_client.start_http_server(port, host, registry)
