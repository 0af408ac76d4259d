# SPDX-License-Identifier: Apache-2.0
"""From what a user calls a source to what a pool deploys; files that only the driver can reach are fetched."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pyspark.sql import SparkSession

from sparkmodel.cluster.scratch import Scratch
from sparkmodel.errors import InvalidOptionError, ModelNotFoundError
from sparkmodel.loaders import Resolved, bundle, resolve
from sparkmodel.loaders.bundle import Piece
from sparkmodel.loaders.resolve import resolve_directory
from sparkmodel.spark.tables import read_pieces

Functions = tuple[Callable[..., Any], Callable[..., Any]]


@contextlib.contextmanager
def fetch(
    spark: SparkSession | None, name: str, source: Any, functions: Functions | None, trust_pickle: bool
) -> Iterator[Resolved]:
    """Settle a source; what was fetched for it is removed at the end of the block, when it has been shipped.

    Args:
        spark: Reads a `table:` source.
        name: The model's name, for messages.
        source: See `sparkmodel.register`.
        functions: `load` and `predict` for a directory or table.
        trust_pickle: Whether a loose pickle file may be loaded.
    """
    text = str(source) if isinstance(source, str | pathlib.PurePath) else ""
    if text.startswith("table:"):
        if spark is None:
            raise InvalidOptionError(
                f"Cannot read model '{name}' from '{text}'",
                "no Spark session is at hand to read the table",
                "take the model with sm.get(name, spark)",
            )
        with unpacked(name, text, read_pieces(spark, name, text), functions) as resolved:
            yield resolved
    elif functions is not None:
        directory = pathlib.Path(text.removeprefix("file://"))
        if not text or not directory.is_dir():
            raise ModelNotFoundError(
                f"Cannot register model '{name}' from '{source}'",
                "load= and predict= take a directory or a table, and there is no such directory",
            )
        digest = next(bundle.pack(directory)).digest
        yield resolve_directory(name, text, directory, digest, functions)
    else:
        yield resolve(name, source, trust_pickle=trust_pickle)


@contextlib.contextmanager
def unpacked(name: str, given: str, pieces: Iterable[Piece], functions: Functions | None = None) -> Iterator[Resolved]:
    """A model from its pieces, in a directory that is removed at the end of the block.

    Args:
        name: The model's name, for messages.
        given: The source as the user wrote it.
        pieces: What a table holds.
        functions: `load` and `predict`; None for an MLflow model.
    """
    scratch = Scratch()
    try:
        target = scratch.path / "model"
        target.mkdir()
        digest = bundle.unpack(pieces, target, f"Cannot register model '{name}' from '{given}'")
        yield resolve_directory(name, given, target, digest, functions)
    finally:
        scratch.remove()
