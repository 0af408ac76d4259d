# SPDX-License-Identifier: Apache-2.0
"""Scenes to look at."""

from __future__ import annotations

import copy
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from sparkmodel.doctor.facts import PACKAGES
from sparkmodel.doctor.scene import Scene

_FACTS: dict[str, Any] = {
    "host": "one",
    "machine": "one",
    "python": "3.11.7",
    "executable": "/python",
    "packages": {name: "1.2.3" for name in PACKAGES},
    "java": {"home": "", "path": "/java", "version": "17.0.1", "error": ""},
    "reach": [],
    "token_files": [],
    "scratch": [],
    "orphans": [],
    "listening": [],
}


@pytest.fixture
def facts_of() -> Callable[..., dict[str, Any]]:
    """`facts_of(**other)` are those of a place where all is well, but for what is named."""
    return lambda **other: copy.deepcopy({**_FACTS, **other})


@pytest.fixture
def scene(facts_of: Callable[..., dict[str, Any]], tmp_path: pathlib.Path) -> Callable[..., Scene]:
    """`scene(facts={...}, **parts)` is one where all is well here, but for those facts."""

    def make(facts: dict[str, Any] | None = None, **parts: Any) -> Scene:
        return Scene(here=facts_of(**(facts or {})), **{"environ": {}, "home": tmp_path, **parts})

    return make
