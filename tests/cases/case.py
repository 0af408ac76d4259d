# SPDX-License-Identifier: Apache-2.0
"""A row of the tables: a small input, the value that is wanted, and where the wish comes from."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

ENTRIES = ("bridge", "python", "columns", "transform", "predict", "drop_in")


@dataclasses.dataclass(frozen=True)
class Refused:
    """The wanted end is an error.

    Attributes:
        condition: Its condition, such as `SCHEMA_MISMATCH`.
        words: Something that its message says.
    """

    condition: str
    words: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One row.

    Attributes:
        name: In a few words.
        wish: Where the wish comes from, in one line: a public report's number, a documentation's promise, a finding.
        source: Makes what is registered, given an empty directory: an object, or the path of an MLflow model.
        columns: Name and Spark type of the input's columns, in the table's order.
        rows: The table, as tuples.
        wanted: The prediction of each row, or the error. NaN is equal to NaN, and not to None.
        call: SQL's argument list, such as `b, a` or `struct(*)`; for the entries `bridge` and `python`.
        names: Names that `model(...)` and the drop-in's function are given; None where the arguments are no plain
            columns: those entries are left out then.
        result_type: None takes the signature's.
        options: Further arguments of `sm.register`.
        conf: Session settings while the case runs.
        local: The input of `predict` where it is not the rows as a pandas frame.
        entries: The entries that the row is run through; those that cannot have it are left out, with the reason in a
            comment.
    """

    name: str
    wish: str
    source: Callable[[pathlib.Path], Any]
    columns: Mapping[str, str]
    rows: Sequence[tuple[Any, ...]]
    wanted: Sequence[Any] | Refused
    call: str
    names: tuple[str, ...] | None = None
    result_type: str | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    conf: Mapping[str, str] = dataclasses.field(default_factory=dict)
    local: Callable[[], Any] | None = None
    entries: Sequence[str] = ENTRIES

    def __str__(self) -> str:
        return self.name.replace(" ", "-")
