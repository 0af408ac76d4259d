# SPDX-License-Identifier: Apache-2.0
"""Ray's skin over Worker: one process that holds the model."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import tempfile
import threading
from typing import Any

import ray

from sparkmodel.cluster.answers import host, wrap
from sparkmodel.cluster.node_files import NodeFiles
from sparkmodel.cluster.scratch import ROOT, Scratch
from sparkmodel.loaders import bundle
from sparkmodel.loaders.threads import limit_imports, limit_loaded, limit_threads
from sparkmodel.spec import ModelSpec
from sparkmodel.wire.service import Directory
from sparkmodel.wire.tls import Identity

_HUNG = 70  # exit code of a worker whose model hangs: EX_SOFTWARE


class WorkerProcess:
    """One process that holds the model. It dies with its master."""

    def __init__(self, spec: ModelSpec, version: int, token: str, scratch: str, identity: Identity | None) -> None:
        # before numpy and the model's libraries are imported: they read it once
        self._threads = max(1, int(spec.options.num_cpus))
        theirs = {**(spec.options.runtime_env or {}).get("env_vars", {}), **(spec.options.extra_env or {})}
        os.environ.update({**limit_threads(self._threads), **theirs})
        limit_imports(self._threads)
        root = pathlib.Path(scratch) if scratch else ROOT
        self._scratch = Scratch(root)
        self._root, self._spec, self._token = root, spec, token
        self._files: NodeFiles | None = None
        tempfile.tempdir = str(self._scratch.path)  # MLflow downloads to it and never cleans up
        os.environ.setdefault("SPARK_LOCAL_DIRS", str(self._scratch.path))  # of the Spark that a Spark ML model starts
        from sparkmodel.pool.worker import Worker

        self._worker = Worker(
            spec,
            version=version,
            token=token,
            host=host(scratch),
            identity=identity,
            on_hang=self._exit,
        )

    def start(self, payload: list[Any]) -> dict[str, Any]:
        """Load and serve. The payload comes in a list, so that Ray hands over references and not the bytes.

        Args:
            payload: A reference to the pickle or None, then references to lists of the pieces of shipped files.
        """
        return wrap(self._start, payload)

    def _start(self, payload: list[Any]) -> tuple[str, int]:
        head, *files = payload or [None]
        data = None if head is None else memoryview(ray.get(head))
        if files:
            # nobody else on the node can know or foresee the name
            key = hashlib.sha256(f"{self._token}{self._spec.source.uri}".encode()).hexdigest()[:24]
            self._files = NodeFiles(self._root, key, lambda target: self._unpack(files, target))
        endpoint = self._worker.start(data, self._files.path if self._files else None)
        limit_loaded(self._threads)
        return endpoint

    def _unpack(self, files: list[Any], target: pathlib.Path) -> None:
        pieces = (piece for ref in files for piece in ray.get(ref))
        bundle.unpack(pieces, target, f"Cannot load model '{self._spec.name}' from '{self._spec.source.given}'")

    def publish(self, directory: Directory) -> None:
        self._worker.publish(directory)

    def stats(self) -> dict[str, Any]:
        return dataclasses.asdict(self._worker.stats())

    def close(self, drain_s: float) -> None:
        self._worker.close(drain_s)
        self._clean()

    def park(self) -> None:
        """Never return: the master waits on this call, and Ray ends it when the process dies."""
        threading.Event().wait()

    def _clean(self) -> None:
        if self._files is not None:
            self._files.release()
        self._scratch.remove()

    def _exit(self) -> None:
        self._clean()
        os._exit(_HUNG)


_remote: Any = ray.remote  # Ray's stubs know neither actor options nor .options()
# max_restarts: the master replaces a dead worker, within a budget that forgets; Ray's own count is for life
WorkerActor: Any = _remote(num_cpus=0, max_restarts=0, max_concurrency=8)(WorkerProcess)
