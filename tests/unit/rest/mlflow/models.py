# SPDX-License-Identifier: Apache-2.0
"""Models that tell what they were given, and how to ask them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa

from sparkmodel.schema import Column, Signature
from tests.unit.rest.toys import ToyPools

Serve = Callable[..., httpx.Client]


class Told:
    """Gives the repr of each row's values, which shows each digit and each type."""

    def predict(self, data: Any) -> list[str]:
        if isinstance(data, dict):
            return [repr([np.asarray(one).tolist() for one in row]) for row in zip(*data.values(), strict=True)]
        rows = data.itertuples(index=False, name=None) if isinstance(data, pd.DataFrame) else data
        return [repr(_plain(row)) for row in rows]


class Sum:
    """The sum of each row."""

    def predict(self, data: Any) -> Any:
        return np.asarray(data, dtype=float).sum(axis=1)


class Broken:
    """Has a fault of its own."""

    def predict(self, data: Any) -> Any:
        raise RuntimeError("out of paper")


class Empty:
    """Gives what there is no number for."""

    def predict(self, data: Any) -> Any:
        return np.array([np.nan, np.inf, 1.0])[: len(data)]


def told(pools: ToyPools, *types: pa.DataType, names: tuple[str, ...] | None = None, required: bool = True) -> None:
    """Serves `told`, which takes columns a, b, ... of these types."""
    inputs = [
        Column(name=name, type=type_, required=required) for name, type_ in zip(names or "abcdefg", types, strict=False)
    ]
    pools.add("told", Told(), signature=Signature(inputs=tuple(inputs), params=()), result_type=pa.string())


def score(client: httpx.Client, body: Any, path: str = "/invocations") -> Any:
    """The predictions for a JSON body."""
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()["predictions"]


def failed(client: httpx.Client, body: Any, path: str = "/invocations") -> dict[str, Any]:
    """The error that a JSON body, or a text, meets."""
    text = {"content": body} if isinstance(body, bytes) else {"json": body}
    headers = {"Content-Type": "application/json"}
    response = client.post(path, headers=headers, **text)  # type: ignore[arg-type]
    return {"status": response.status_code, **response.json()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return [_plain(one) for one in value]
    if value is pd.NA or value is pd.NaT:
        return None
    return value
