# SPDX-License-Identifier: Apache-2.0
"""Pickling what is shipped to workers."""

from __future__ import annotations

import collections
import io
import types
from typing import Any

import cloudpickle


def dumps(target: Any) -> bytes:
    """The pickle of an object, functions of the user's own included.

    cloudpickle writes '<dynamic-code>' for the files of functions since 3.1.3; with their names a traceback of the
    model quotes its lines.
    """
    with io.BytesIO() as file:
        _Pickler(file).dump(target)
        return file.getvalue()


def _reduce_code(code: types.CodeType) -> tuple[Any, ...]:
    make, *rest = cloudpickle.Pickler.dispatch_table[types.CodeType](code)
    return _named, (code.co_filename, make, *rest)


def _named(file: str, make: Any, arguments: Any) -> types.CodeType:
    code: types.CodeType = make(*arguments)
    return code.replace(co_filename=file)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    dispatch_table = collections.ChainMap({types.CodeType: _reduce_code}, cloudpickle.Pickler.dispatch_table)
