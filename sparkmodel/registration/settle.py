# SPDX-License-Identifier: Apache-2.0
"""The first step: from a source as it was asked for to what it is; files that only the driver reaches are fetched."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from sparkmodel.cluster.scratch import Scratch
from sparkmodel.errors import InvalidOptionError, ModelNotFoundError
from sparkmodel.loaders import Resolved, bundle, resolve
from sparkmodel.loaders.bundle import Piece
from sparkmodel.loaders.own_modules import own_path
from sparkmodel.loaders.resolve import resolve_code, resolve_directory
from sparkmodel.loaders.successor import source_again
from sparkmodel.spec import ModelSpec

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Functions = tuple[Callable[..., Any], Callable[..., Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """A source as it was asked for, with what is needed to settle it.

    Attributes:
        source: See `sparkmodel.register`; with `is_code` the text of a module.
        is_code: Whether `source` is source text.
        functions: `load` and `predict` for a directory or table.
        spark: Reads a `table:` source.
        pieces: What a `table:` source holds, where somebody else has read it.
        trust_pickle: Whether a loose pickle file may be loaded.
        tracking_uri, registry_uri: MLflow's, where others than the process has are meant.
    """

    source: Any
    is_code: bool = False
    functions: Functions | None = None
    spark: SparkSession | None = None
    pieces: Iterable[Piece] | None = None
    trust_pickle: bool = False
    tracking_uri: str | None = None
    registry_uri: str | None = None


def asked_again(spec: ModelSpec) -> Asked:
    """What is served, asked for once more: a name that moves may mean another model now.

    Raises:
        InvalidOptionError: it was shipped, and is not at hand any more.
    """
    return Asked(source=source_again(spec), trust_pickle=spec.options.trust_pickle)


@contextlib.contextmanager
def settle(name: str, asked: Asked) -> Iterator[Resolved]:
    """Settle a source; what was fetched for it is removed at the end of the block, when it has been shipped.

    Args:
        name: The model's name, for messages.
        asked: The source.

    Raises:
        SparkModelError: as `sparkmodel.loaders.resolve`, or the table cannot be read.
    """
    with _settled(name, asked) as resolved:
        yield dataclasses.replace(resolved, source=dataclasses.replace(resolved.source, path=own_path()))


@contextlib.contextmanager
def _settled(name: str, asked: Asked) -> Iterator[Resolved]:
    source, functions = asked.source, asked.functions
    text = str(source) if isinstance(source, str | pathlib.PurePath) else ""
    if asked.is_code:
        yield resolve_code(name, text)
    elif text.startswith("table:"):
        with _unpacked(_pieces(name, text, asked), f"Cannot register model '{name}' from '{text}'") as (files, digest):
            yield resolve_directory(name, text, files, digest, functions)
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
        yield resolve(name, source, trust_pickle=asked.trust_pickle)


def _pieces(name: str, table: str, asked: Asked) -> Iterable[Piece]:
    if asked.pieces is not None:
        return asked.pieces
    if asked.spark is None:
        raise InvalidOptionError(
            f"Cannot read model '{name}' from '{table}'",
            "no Spark session is at hand to read the table",
            "take the model with sm.get(name, spark)",
        )
    from sparkmodel.spark.tables import read_pieces

    return read_pieces(asked.spark, name, table)


@contextlib.contextmanager
def _unpacked(pieces: Iterable[Piece], what: str) -> Iterator[tuple[pathlib.Path, str]]:
    """The files of a model that a table holds, and their digest, until the end of the block."""
    scratch = Scratch()
    try:
        target = scratch.path / "model"
        target.mkdir()
        yield target, bundle.unpack(pieces, target, what)
    finally:
        scratch.remove()
