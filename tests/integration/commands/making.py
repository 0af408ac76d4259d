# SPDX-License-Identifier: Apache-2.0
"""What tests of the commands say again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import sparkmodel as sm

Call = Callable[..., dict[str, Any]]
DOUBLE = "def predict(frame):\n    return frame['x'] * 2\n"
SMALL = {"num_cpus": 0.1}


def create(control: Call, name: str, **fields: Any) -> dict[str, Any]:
    return control("create", name=name, **{"options": SMALL, **fields})


def create_code(control: Call, name: str, code: str = DOUBLE, **fields: Any) -> dict[str, Any]:
    return create(control, name, **{"using": "python", "code": code, "output": "double", **fields})


def predict(name: str, x: float = 2.0) -> Any:
    (value,) = sm.get(name).predict([{"x": x}])
    return value if isinstance(value, str) else pytest.approx(value)
