# SPDX-License-Identifier: Apache-2.0
"""Modules of the user's own that are not, in this process, what their files say."""

from __future__ import annotations

import ast
import importlib.util
import os
import pathlib
import sys
import types
from collections.abc import Iterable, Iterator
from importlib.machinery import SourceFileLoader
from typing import Any

from sparkmodel.loaders.own_modules import source_of
from sparkmodel.loaders.syntax import parse


def edited(names: Iterable[str]) -> list[str]:
    """The user's own modules among the named ones that were edited since, or set from outside."""
    return [name for name in sorted(set(names)) if _is_edited(sys.modules.get(name))]


def _is_edited(module: types.ModuleType | None) -> bool:
    source = source_of(module)
    if module is None or source is None or type(module.__loader__) is not SourceFileLoader:
        return False
    if _cache_is_older(module):
        return True
    try:
        tree = parse(source)
        there = set(_codes(compile(source, str(module.__file__), "exec", dont_inherit=True)))
    except (SyntaxError, ValueError):  # a zero byte is a ValueError
        return True
    changed = any(vars(module).get(name, value) != value for name, value in _constants(tree))
    return changed or any(code not in there for code in _codes_of(module))


def _cache_is_older(module: types.ModuleType) -> bool:
    """Whether Python compiled the module from a file of another time or size, as the cache says that it wrote then."""
    cache = pathlib.Path(getattr(module, "__cached__", None) or "")
    if not cache.is_file():
        return False
    with cache.open("rb") as file:
        head = file.read(16)
    if head[:4] != importlib.util.MAGIC_NUMBER or int.from_bytes(head[4:8], "little"):  # a hash and no time
        return False
    now = os.stat(str(module.__file__))
    then = tuple(int.from_bytes(head[i : i + 4], "little") for i in (8, 12))
    return then != (int(now.st_mtime) & 0xFFFFFFFF, now.st_size & 0xFFFFFFFF)


def _constants(tree: ast.Module) -> Iterator[tuple[str, Any]]:
    """Numbers and texts that are set at the top of a module, and nowhere else in it."""
    names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and node.value.value is not None:
            for target in node.targets:
                if isinstance(target, ast.Name) and names.count(target.id) == 1:
                    yield target.id, node.value.value


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _codes(inner)


def _codes_of(module: types.ModuleType) -> Iterator[types.CodeType]:
    """The code of a module's functions and methods, of those which its file defines."""
    for value in list(vars(module).values()):
        if getattr(value, "__module__", None) != module.__name__:
            continue
        for function in [*vars(value).values()] if isinstance(value, type) else [value]:
            if isinstance(function, types.FunctionType) and function.__code__.co_filename == module.__file__:
                yield function.__code__
