# SPDX-License-Identifier: Apache-2.0
"""What is shipped to workers, by way of Ray's object store: from there each node fetches it once."""

from __future__ import annotations

import hashlib
import itertools
import pathlib
from typing import Any

import numpy as np
import ray

from sparkmodel.cluster.node_files import NodeFiles
from sparkmodel.loaders import bundle
from sparkmodel.spec import ModelSpec

_PIECES = 32  # of 1 MiB: an object of Ray's


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


def put_again(boxed: list[Any]) -> list[Any]:
    """The same, owned by this process: what the driver put is lost with the driver."""
    return [ref and ray.put(ray.get(ref)) for ref in boxed]


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
        self.data: memoryview | None = None if head is None else memoryview(ray.get(head))
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
