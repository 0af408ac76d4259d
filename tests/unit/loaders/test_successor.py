# SPDX-License-Identifier: Apache-2.0
"""What a pool serves next."""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import Any

import mlflow
import pyarrow as pa
import pytest

from sparkmodel.loaders import Resolved
from sparkmodel.loaders import successor as module
from sparkmodel.options import PoolOptions
from sparkmodel.schema import Signature
from sparkmodel.spec import ModelSpec, Source


def test_pools_of_two_stores_are_followed_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow has one tracking URI for all threads: what one pool means must not be looked up in another one's store."""
    wrong: list[tuple[str, str]] = []

    def resolve(name: str, source: Any, trust_pickle: bool) -> Resolved:
        for _ in range(20):
            if (seen := mlflow.get_tracking_uri()) != f"sqlite:////nowhere/{name}.db":
                wrong.append((name, seen))
            time.sleep(0.001)
        return Resolved(Source(kind="mlflow", given=source), Signature())

    monkeypatch.setattr(module, "resolve", resolve)
    before = mlflow.get_tracking_uri()

    def follow(name: str) -> None:
        uri = f"sqlite:////nowhere/{name}.db"
        source = Source(kind="mlflow", given="models:/m@a", tracking_uri=uri, registry_uri=uri)
        options = PoolOptions(refresh_s=1.0)
        spec = ModelSpec(name=name, source=source, signature=Signature(), result_type=pa.float64(), options=options)
        for _ in range(3):
            following, _ = module.refreshed(spec)
            assert following == dataclasses.replace(spec, source=following.source)

    threads = [threading.Thread(target=follow, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert mlflow.get_tracking_uri() == before
