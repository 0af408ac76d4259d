# SPDX-License-Identifier: Apache-2.0
"""Which MLflow stores a model is looked up in: MLflow knows one pair for the whole process."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

_lock = threading.RLock()


@contextlib.contextmanager
def stores(tracking_uri: str | None = None, registry_uri: str | None = None) -> Iterator[None]:
    """Look models up in these stores within the block; nobody else who uses this changes them meanwhile.

    Args:
        tracking_uri: None is the process's own.
        registry_uri: None is the one that goes with the tracking URI, or the process's own.
    """
    with _lock:
        if not tracking_uri and not registry_uri:
            yield
            return
        import mlflow

        before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
        wanted = store_uris(tracking_uri, registry_uri)
        if wanted == before:
            yield
            return
        mlflow.set_tracking_uri(wanted[0])
        mlflow.set_registry_uri(wanted[1])
        try:
            yield
        finally:
            mlflow.set_tracking_uri(before[0])
            mlflow.set_registry_uri(before[1])


def store_uris(tracking_uri: str | None, registry_uri: str | None) -> tuple[str, str]:
    """The URIs of both stores, with the process's own in place of None."""
    import mlflow

    with _lock:
        return (
            tracking_uri or mlflow.get_tracking_uri(),
            registry_uri or tracking_uri or mlflow.get_registry_uri(),
        )
