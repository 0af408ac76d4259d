# SPDX-License-Identifier: Apache-2.0
"""A pool that speaks TLS, from registration to SQL, and what others find at its ports."""

from __future__ import annotations

import dataclasses
import pickle
import socket
import ssl
from collections.abc import Callable

import pytest
from pyspark.sql import SparkSession

import sparkmodel as sm
from sparkmodel.errors import AuthenticationError, InvalidOptionError, PoolGoneError
from sparkmodel.wire.client import PoolClient
from sparkmodel.wire.connection import Connection
from tests.models import DoubleModel

Register = Callable[..., sm.Model]


def served_certificate(endpoint: tuple[str, int]) -> str:
    """What a port shows to whoever asks."""
    return ssl.get_server_certificate(endpoint)


@pytest.mark.slow
def test_a_pool_with_tls_is_called_as_any_other(spark: SparkSession, register: Register) -> None:
    model = register("over_tls", DoubleModel(), result_type="double", workers=2, tls=True)
    for path in ("true", "false"):  # the bridge, which has a client of its own, and the Python path
        spark.conf.set("spark.sparkmodel.bridge.enabled", path)
        total = spark.sql("SELECT sum(over_tls(id)) AS x FROM range(0, 10000, 1, 4)").first()
        assert total is not None
        assert total.x == 10000 * 9999
        (plan,) = spark.sql("EXPLAIN SELECT over_tls(id) FROM range(3)").collect()
        assert ("ArrowEvalPython" in plan[0]) is (path == "false")
    spark.conf.unset("spark.sparkmodel.bridge.enabled")
    assert list(model.predict([{"x": 4.0}])) == [8.0]
    handle = model._pool.handle()
    in_plain = dataclasses.replace(handle.credential, tls=None)
    endpoints = [handle.pool.master, *handle.pool.directory.endpoints]
    assert len(endpoints) == 3
    for endpoint in endpoints:
        assert served_certificate(endpoint).split() == (handle.credential.tls or "").split()
        with pytest.raises(AuthenticationError, match="this pool speaks TLS only"):
            Connection("over_tls", endpoint, in_plain)
    assert b"PRIVATE KEY" not in pickle.dumps(handle)
    with pytest.raises(PoolGoneError, match="speaks TLS only"):
        PoolClient(handle.pool, in_plain).locate()

    model.update(DoubleModel())
    assert spark.sql("SELECT over_tls(21) AS x").collect()[0].x == 42.0
    assert model._pool.handle().credential.tls == handle.credential.tls, "the pool's identity outlives its versions"
    with pytest.raises(InvalidOptionError, match="the pool of model 'over_tls' has True for life"):
        sm.register(spark, "over_tls", DoubleModel(), result_type="double", num_cpus=0.5, replace=True)
    assert model.version == 2


def test_a_pool_without_tls_has_no_certificate(spark: SparkSession, register: Register) -> None:
    model = register("in_plain", DoubleModel(), result_type="double")
    handle = model._pool.handle()
    assert handle.credential.tls is None
    with pytest.raises(InvalidOptionError, match="has False for life"):
        sm.register(spark, "in_plain", DoubleModel(), result_type="double", num_cpus=0.5, replace=True, tls=True)
    with socket.create_connection(handle.pool.master) as sock, pytest.raises(ssl.SSLError):
        ssl._create_unverified_context().wrap_socket(sock)
