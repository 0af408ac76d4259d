# SPDX-License-Identifier: Apache-2.0
"""The user's own modules, which a live object needs where it is unpickled: found on the driver.

A pickle names the modules of its classes and functions. A worker finds those of libraries; those next to a notebook, or
written after Ray began, it may not find at all, or in another state. So the text of each module that the object leads
to travels with it. By value, as cloudpickle can, would be less: a module's globals may hold what cannot be pickled (a
lock, a session), what happens when it is imported would not happen, and an import within a function would find another
class of the same name. By value goes only what was edited since it was imported and not reloaded: its text says
something else than the object that is handed over.
"""

from __future__ import annotations

import ast
import dataclasses
import dis
import importlib.util
import os
import pathlib
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator

from sparkmodel.loaders.syntax import parse

_OTHERS = frozenset({"sparkmodel", "pyspark", "py4j", "ray", "__main__", "__mp_main__"})
_INSTALLED = ("site-packages", "dist-packages")
_LIBRARIES = tuple({sysconfig.get_paths()[kind] + os.sep for kind in ("stdlib", "platstdlib", "purelib", "platlib")})


@dataclasses.dataclass(frozen=True)
class OwnModule:
    """A module as a worker needs it.

    Attributes:
        file: Where it is on the driver, for tracebacks and for files beside it; empty for a package without a file.
        search: Directories of its submodules, None if it is no package.
        source: Its text, None for a package without a file.
    """

    file: str
    search: tuple[str, ...] | None
    source: bytes | None


def own_path() -> tuple[str, ...]:
    """Where the driver looks for modules beside the installed ones, as absolute paths."""
    paths = (os.path.abspath(entry) for entry in sys.path)
    return tuple(dict.fromkeys(path for path in paths if os.path.exists(path) and not _is_installed(path + os.sep)))


def own_modules(names: Iterable[str]) -> dict[str, OwnModule]:
    """Those of the named modules that are the user's own, with all that they import, as far as it was imported here."""
    found: dict[str, OwnModule] = {}
    waiting = sorted(set(names), reverse=True)
    while waiting:
        name = waiting.pop()
        module = sys.modules.get(name)
        source = None if name in found else source_of(module)
        if module is None or source is None:
            continue
        search = tuple(module.__path__) if hasattr(module, "__path__") else None
        found[name] = OwnModule(str(module.__file__), search, source)
        for parent in _parents(name):
            if parent not in found and _is_namespace(sys.modules.get(parent)):
                found[parent] = OwnModule("", tuple(sys.modules[parent].__path__), None)
            waiting.append(parent)
        waiting.extend(_imported(source, name if search is not None else name.rpartition(".")[0]))
    return dict(sorted(found.items()))


def source_of(module: types.ModuleType | None) -> bytes | None:
    """The text of a module of the user's own; None for others, and for what has no text."""
    if module is None or module.__name__.partition(".")[0] in _OTHERS:
        return None
    file = getattr(module, "__file__", None)
    if not file or not file.endswith(".py") or _is_installed(file):
        return None
    if os.path.isfile(file):
        return pathlib.Path(file).read_bytes()
    get_source = getattr(getattr(module, "__loader__", None), "get_source", None)  # in a zip file
    text = get_source(module.__name__) if get_source else None
    return None if text is None else text.encode()


def imports_of(code: types.CodeType) -> Iterator[str]:
    """Names of modules that a function imports when it is called."""
    base = ""
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_NAME":
            base = step.argval
            yield from (base, *_parents(base))
        elif step.opname == "IMPORT_FROM":
            yield f"{base}.{step.argval}"
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from imports_of(inner)


def _is_installed(path: str) -> bool:
    return path.startswith(_LIBRARIES) or any(f"{os.sep}{part}{os.sep}" in path for part in _INSTALLED)


def _is_namespace(module: types.ModuleType | None) -> bool:
    return module is not None and getattr(module, "__file__", None) is None and hasattr(module, "__path__")


def _parents(name: str) -> Iterator[str]:
    while name := name.rpartition(".")[0]:
        yield name


def _imported(source: bytes, package: str) -> Iterator[str]:
    """Names that may be modules which a text imports, anywhere in it."""
    try:
        tree = parse(source)
    except (SyntaxError, ValueError):  # in the middle of an edit: the worker tells
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from (alias.name, *_parents(alias.name))
        elif isinstance(node, ast.ImportFrom):
            dots = "." * node.level
            if node.level > package.count(".") + bool(package):
                continue  # it would fail here too
            base = importlib.util.resolve_name(f"{dots}{node.module or ''}", package) if dots else str(node.module)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
