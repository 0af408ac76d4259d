# SPDX-License-Identifier: Apache-2.0
"""What may be registered through REST: a registry's models; other sources only where the gateway's starter said so."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import unquote

from sparkmodel.errors import InvalidOptionError, UnsupportedSourceError

_REGISTRY = re.compile(r"(models|runs):/[^/]")  # with an authority it would be another registry's
_PYTHON = "python:"
# these bring code, or have other code taken, whatever the model is
_CODE = ("runtime_env", "extra_env")


def check_source(name: str, source: str, allowed: Collection[str]) -> str:
    """Return a source if it may be registered; a path without links and dots.

    Args:
        name: The model's name, for messages.
        source: As it was sent.
        allowed: See `Settings.allow_sources`.

    Raises:
        UnsupportedSourceError: it may not.
    """
    what = f"Cannot register model '{name}' from '{source}'"
    plain = unquote(source)
    if "%" in plain or any(ord(sign) < 32 for sign in plain) or {"\\", "?", "#"} & set(plain):
        raise UnsupportedSourceError(what, "it has signs that no source needs", "write it plain: models:/wine@champion")
    if _REGISTRY.match(source):
        if ".." in plain.split("/"):
            raise UnsupportedSourceError(what, "it leads out of the registry", "name the model: models:/wine@champion")
        return source
    if source.startswith(_PYTHON):
        if _PYTHON in allowed:
            return source
    elif "://" in source and not source.startswith("file://"):
        begins = [one if one.endswith("/") else one + "/" for one in allowed if "://" in one]
        if ".." not in plain.split("/") and any(source.startswith(begin) for begin in begins):
            return source
    else:
        path = os.path.realpath(plain.removeprefix("file://"))
        for root in map(os.path.realpath, (one for one in allowed if os.path.isabs(one))):
            if os.path.commonpath([path, root]) == root:
                return path
    raise UnsupportedSourceError(
        what,
        "this gateway takes models of an MLflow registry, models:/ and runs:/, and what it was started to take",
        "log it with MLflow and register models:/name@alias, or start the gateway with --allow-source",
    )


def check_options(options: Mapping[str, Any], allowed: Collection[str]) -> None:
    """Refuse options that run code of the caller's own, unless import paths are taken too.

    Raises:
        InvalidOptionError: there is one.
    """
    for given in options:
        key = given.partition(".")[0].lower()
        if key in _CODE and _PYTHON not in allowed:
            raise InvalidOptionError(
                f"Cannot use option '{key}'",
                "it would run other code than the registry's in the workers",
                "start the gateway with --allow-source python:",
            )
