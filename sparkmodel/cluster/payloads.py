# SPDX-License-Identifier: Apache-2.0
"""What is shipped to workers: by way of Ray's object store to a node's directory, where it outlives who shipped it."""

from __future__ import annotations

import hashlib
import itertools
import pathlib
import shutil
import tempfile
import threading
from typing import Any

import numpy as np
import ray

from sparkmodel.cluster.node_files import NodeFiles
from sparkmodel.errors import ModelLoadError
from sparkmodel.loaders import bundle
from sparkmodel.spec import ModelSpec

_PIECES = 32  # of 1 MiB: an object of Ray's
_PICKLE, _FILES = "pickle", "files"


def box(payload: bytes | None, directory: pathlib.Path | None) -> list[Any]:
    """Put it there. It comes in a list, so that Ray hands over references and not the bytes.

    Returns:
        A reference to the pickle or None, then references to lists of the pieces of shipped files.
    """
    if payload is None and directory is None:
        return []
    boxed: list[Any] = [None if payload is None else ray.put(np.frombuffer(payload, np.uint8))]
    pieces = bundle.pack(directory) if directory is not None else iter(())
    while some := list(itertools.islice(pieces, _PIECES)):  # the driver holds no more than these at a time
        boxed.append(ray.put(some))
    return boxed


class Kept:
    """What was shipped for one pool, as files of its supervisor's node: an object of Ray's is lost with its owner.

    Args:
        directory: Where; made with the first that is kept.
        what: For errors: `Cannot <verb> <object> '<value>'`.
    """

    def __init__(self, directory: pathlib.Path, what: str) -> None:
        self._directory, self._what = directory, what
        self._lock = threading.Lock()
        self._boxed: dict[str, list[Any]] = {}

    def keep(self, key: str, boxed: list[Any]) -> str:
        """Keep what `box` made; the same key again is the same thing again. Nothing at all has the key ''.

        Raises:
            ModelLoadError: there is no room for it, or it cannot be written; nothing of it stays.
        """
        if not boxed:
            return ""
        with self._lock:
            if not (self._directory / key).exists():
                self._directory.mkdir(mode=0o700, exist_ok=True)
                made = pathlib.Path(tempfile.mkdtemp(prefix=".", dir=self._directory))
                try:
                    self._write(made, *boxed)
                    made.rename(self._directory / key)
                except OSError as error:
                    raise ModelLoadError(self._what, f"what was shipped cannot be written: {error}") from error
                finally:
                    shutil.rmtree(made, ignore_errors=True)  # of one that was renamed there is nothing
        return key

    def _write(self, made: pathlib.Path, head: Any, *files: Any) -> None:
        if head is not None:
            with (made / _PICKLE).open("wb") as file:
                file.write(memoryview(ray.get(head)))
        if files:
            (made / _FILES).mkdir()
            bundle.unpack((piece for ref in files for piece in ray.get(ref)), made / _FILES, self._what)

    def path(self, key: str) -> pathlib.Path | None:
        """Where it is, for workers of this node; None for nothing.

        Raises:
            ModelLoadError: it is not there any more.
        """
        if not key:
            return None
        path = self._directory / key
        if not path.exists():
            raise ModelLoadError(self._what, "what was shipped is lost with the node that kept it", "register it again")
        return path

    def boxed(self, key: str) -> list[Any]:
        """As `box` made it, for workers of other nodes."""
        path = self.path(key)
        if path is None:
            return []
        with self._lock:
            if key not in self._boxed:
                pickle, files = path / _PICKLE, path / _FILES
                data = pickle.read_bytes() if pickle.exists() else None
                self._boxed[key] = box(data, files if files.exists() else None)
            return self._boxed[key]

    def forget(self, key: str) -> None:
        """It is not needed any more."""
        with self._lock:
            self._boxed.pop(key, None)
            if key:
                shutil.rmtree(self._directory / key, ignore_errors=True)

    def close(self) -> None:
        """Nothing of it is needed any more."""
        with self._lock:
            self._boxed.clear()
            shutil.rmtree(self._directory, ignore_errors=True)


class Here:
    """What `Kept` has on this node.

    Args:
        path: What `Kept.path` gave.

    Attributes:
        data: The pickle's bytes, or None.
        directory: The shipped files, or None.
    """

    def __init__(self, path: pathlib.Path | None) -> None:
        self.data: bytes | memoryview | None = None
        self.directory: pathlib.Path | None = None
        if path is not None:
            self.data = (path / _PICKLE).read_bytes() if (path / _PICKLE).exists() else None
            self.directory = path / _FILES if (path / _FILES).exists() else None

    def release(self) -> None:
        """Nothing is held."""


class Unboxed:
    """What was shipped, on this node.

    Args:
        boxed: What `box` made.
        spec: Whose it is.
        token: The pool's secret: with it nobody else on the node can know or foresee the name of the files.
        root: Where the files go; workers of one version share them.

    Attributes:
        data: The pickle's bytes, or None.
        directory: The shipped files, or None.
    """

    def __init__(self, boxed: list[Any], spec: ModelSpec, token: str, root: pathlib.Path) -> None:
        head, *files = boxed or [None]
        self.data: bytes | memoryview | None = None if head is None else memoryview(ray.get(head))
        self._files: NodeFiles | None = None
        if files:
            what = f"Cannot load model '{spec.name}' from '{spec.source.given}'"
            key = hashlib.sha256(f"{token}{spec.source.uri}".encode()).hexdigest()[:24]

            def fill(target: pathlib.Path) -> None:
                bundle.unpack((piece for ref in files for piece in ray.get(ref)), target, what)

            self._files = NodeFiles(root, key, fill)

    @property
    def directory(self) -> pathlib.Path | None:
        """Where the files are, until `release`."""
        return self._files.path if self._files is not None else None

    def release(self) -> None:
        """Give up the share in the files. Calling it twice does nothing."""
        if self._files is not None:
            self._files.release()
