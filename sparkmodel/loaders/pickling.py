# SPDX-License-Identifier: Apache-2.0
"""Pickling what is shipped to workers."""

from __future__ import annotations

import collections
import contextlib
import io
import logging
import pickle
import sys
import threading
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cloudpickle

from sparkmodel.loaders.arrivals import arrive
from sparkmodel.loaders.edits import edited
from sparkmodel.loaders.own_modules import OwnModule, imports_of, own_modules

_log = logging.getLogger(__name__)
_lock = threading.Lock()


def dumps(target: Any) -> bytes:
    """The pickle of an object, functions of the user's own included, and the text of his modules that it leads to.

    cloudpickle writes '<dynamic-code>' for the files of functions since 3.1.3; with their names a traceback of the
    model quotes its lines.
    """
    data, named = _dump(target)
    named -= cloudpickle.list_registry_pickle_by_value()
    changed = edited(named)
    modules = own_modules(named)
    if not modules:
        return data
    if not changed:
        return _dump(_Travelling(modules, target))[0]
    _log.warning(
        "The modules %s were edited since they were imported here; the model goes with what was imported. "
        "importlib.reload them, and make the model anew, to serve what their files say.",
        changed,
    )
    try:
        with _by_value(changed):
            return _dump(_Travelling(modules, target))[0]
    except Exception as error:  # what a module holds raises what it likes
        fact = f"the modules {changed} were edited since they were imported, and need importlib.reload: {error}"
        raise pickle.PicklingError(fact) from error


def _dump(target: Any) -> tuple[bytes, set[str]]:
    """The pickle, and the names of modules that it leads to."""
    with io.BytesIO() as file:
        pickler = _Pickler(file)
        pickler.dump(target)
        return file.getvalue(), pickler.named


@contextlib.contextmanager
def _by_value(names: Sequence[str]) -> Iterator[None]:
    """Let cloudpickle take the content of these modules, and not their names."""
    with _lock:
        modules = [sys.modules[name] for name in names]
        for module in modules:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in modules:
                cloudpickle.unregister_pickle_by_value(module)


class _Travelling:
    """Its pickle makes the modules known before the object, which needs them, is made."""

    def __init__(self, modules: Mapping[str, OwnModule], target: Any) -> None:
        self._parts = _Modules(modules), target

    def __reduce__(self) -> tuple[Any, ...]:
        return _second, self._parts


class _Modules:
    def __init__(self, modules: Mapping[str, OwnModule]) -> None:
        self._modules = modules

    def __reduce__(self) -> tuple[Any, ...]:
        return arrive, (self._modules,)


def _second(first: Any, second: Any) -> Any:
    return second


def _reduce_code(code: types.CodeType) -> tuple[Any, ...]:
    make, *rest = cloudpickle.Pickler.dispatch_table[types.CodeType](code)
    return _named, (code.co_filename, make, *rest)


def _named(file: str, make: Any, arguments: Any) -> types.CodeType:
    code: types.CodeType = make(*arguments)
    return code.replace(co_filename=file)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    dispatch_table = collections.ChainMap({types.CodeType: _reduce_code}, cloudpickle.Pickler.dispatch_table)

    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self.named: set[str] = set()

    def reducer_override(self, obj: Any) -> Any:
        """Note the modules of what goes by name, and what functions import that go by value."""
        if isinstance(obj, types.ModuleType):
            self.named.add(obj.__name__)
        elif isinstance(obj, type | types.FunctionType):
            self.named.add(str(obj.__module__))
            if isinstance(obj, types.FunctionType):
                self.named.update(imports_of(obj.__code__))
        return super().reducer_override(obj)
