# SPDX-License-Identifier: Apache-2.0
"""Python's own parser, for several threads at once."""

from __future__ import annotations

import ast

_TRIES = 20


def parse(source: str | bytes) -> ast.Module:
    """As `ast.parse`, which CPython before 3.13 disturbs if another thread parses meanwhile.

    How deep it is counts once for all threads, and the garbage collector may give another one its turn amid the tree
    (https://github.com/python/cpython/issues/106905).

    Raises:
        SyntaxError, ValueError: as `ast.parse`.
    """
    for _ in range(_TRIES - 1):
        try:
            return ast.parse(source)
        except SystemError:
            continue
    return ast.parse(source)
