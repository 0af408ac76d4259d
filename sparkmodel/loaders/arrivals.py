# SPDX-License-Identifier: Apache-2.0
"""The user's own modules in a worker: imported from the text that came with the model, before what is on its disk."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pathlib
import sys
from collections.abc import Iterable, Mapping
from importlib.machinery import ModuleSpec, SourceFileLoader
from typing import Any

from sparkmodel.loaders.own_modules import OwnModule


def extend_path(paths: Iterable[str]) -> None:
    """Look for modules where the driver does too, after all places of this process."""
    new = [path for path in paths if path not in sys.path and os.path.exists(path)]
    sys.path.extend(new)
    if new:
        importlib.invalidate_caches()


def arrive(modules: Mapping[str, OwnModule]) -> None:
    """Import modules of these names from these texts from now on; what was imported from others is forgotten.

    What this process has imported from its own file, with the same text, stays that file's: a driver that unpickles its
    own model is to see the next edit.
    """
    for name in sorted(modules, reverse=True):  # submodules before their packages
        here = sys.modules.get(name)
        if here is not None and not _is_same(here, modules[name]):
            del sys.modules[name]
        elif here is not None and modules[name].source is not None and not isinstance(here.__loader__, _Text):
            _known.pop(name, None)
            continue
        _known[name] = modules[name]
    if _texts not in sys.meta_path:
        sys.meta_path.insert(0, _texts)
        sys.meta_path.append(_spaces)


def _is_same(module: Any, arrived: OwnModule) -> bool:
    """Whether a module that is here already is that one: then it is left alone."""
    if arrived.source is None:
        return True
    if isinstance(module.__loader__, _Text):
        return bool(module.__loader__.source == arrived.source)
    file = pathlib.Path(getattr(module, "__file__", None) or "")
    return file.is_file() and file.read_bytes() == arrived.source


class _Text(SourceFileLoader):
    """Loads a text as if it were in its file."""

    def __init__(self, name: str, arrived: OwnModule) -> None:
        super().__init__(name, arrived.file)
        self.source = arrived.source or b""

    def get_data(self, path: str) -> bytes:
        return self.source if path == self.path else super().get_data(path)

    def path_stats(self, path: str) -> Any:
        raise OSError("what was compiled from the file may be of another text")


class _Texts:
    """Python's finder of modules that came as text."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        arrived = _known.get(name)
        if arrived is None or arrived.source is None:
            return None
        return importlib.util.spec_from_file_location(
            name,
            arrived.file,
            loader=_Text(name, arrived),
            submodule_search_locations=None if arrived.search is None else list(arrived.search),
        )


class _Spaces:
    """Python's finder of packages without a file, which a worker may have no directory of; it is asked last."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        arrived = _known.get(name)
        if arrived is None or arrived.source is not None:
            return None
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = list(arrived.search or ())
        return spec


_known: dict[str, OwnModule] = {}
_texts: Any = _Texts()
_spaces: Any = _Spaces()
