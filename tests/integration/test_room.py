# SPDX-License-Identifier: Apache-2.0
"""Pools that share a Ray that has no room for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sparkmodel.cluster import connection
from sparkmodel.errors import PoolNotPlacedError
from tests.integration.supervised import Callers, deploy, own_supervisor
from tests.models import FactorModel

CPUS = 16


@pytest.fixture(autouse=True)
def own() -> Iterator[None]:
    is_ours = not connection.is_connected()
    if is_ours:
        connection.connect(num_cpus=CPUS, log_to_driver=False)
    with own_supervisor():
        yield
    if is_ours:
        connection.shutdown()


@pytest.mark.slow
def test_idle_pools_give_way_to_those_that_are_called_and_come_back() -> None:
    most = {"num_cpus": CPUS * 0.6, "workers": (0, 1)}
    pools = {factor: deploy(FactorModel(factor), name=f"m{factor:.0f}", **most) for factor in (2.0, 3.0, 5.0)}
    for factor in (2.0, 3.0, 5.0, 3.0):
        with Callers(pools[factor], factor, count=2) as callers:
            callers.more()
        assert (callers.errors, callers.wrong) == ([], [])
    with pytest.raises(PoolNotPlacedError):
        deploy(FactorModel(7.0), name="m7", num_cpus=CPUS * 1.5)
    for pool in pools.values():
        pool.drop()
